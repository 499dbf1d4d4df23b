//! Ctrl-C while a model is pretrained.
#![cfg(unix)]

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::run::{CONFIG, gf, json, tokenized};

/// Long enough for a busy machine; the test ends as soon as the step is done.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn ctrl_c_leaves_a_model_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nepochs = 100000\n")).unwrap();
    let mut child = gf(folder)
        .args(["pretrain", "--config", "c.toml", "--data", "cells.dataset", "-o", "pretrain"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.join("pretrain/log.csv");
    let started = Instant::now();
    while fs::read_to_string(&log).map_or(0, |log| log.lines().count()) < 3 {
        assert!(started.elapsed() < PATIENCE, "no step was logged");
        sleep(Duration::from_millis(50));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let line = "embed --model pretrain/model --data cells.dataset -o embeddings.csv";
    assert_eq!(json(folder, line)["cells"], 559);
}
