//! `cargo xtask demo`: the whole path on 559 human immune cells, ending with a
//! ranking of genes and a report page.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::process::{cargo, output, pretty, root, run};

/// Where the demo writes, whatever the target directory of the build is.
const OUT: &str = "target/demo";

/// The stages as `gf` sub-commands; the report lists them as they stand here.
const STAGES: [&str; 6] = [
    "ingest examples/data/immune_559 -o target/demo/corpus",
    "medians target/demo/corpus -o target/demo/medians.tsv",
    "tokenize target/demo/corpus --medians target/demo/medians.tsv --max-len 1024 -o target/demo/immune.dataset",
    "pretrain --config examples/data/demo.toml --data target/demo/immune.dataset -o target/demo/pretrain",
    "embed --model target/demo/pretrain/model --data target/demo/immune.dataset -o target/demo/embeddings.csv",
    "perturb --model target/demo/pretrain/model --data target/demo/immune.dataset -o target/demo/perturb --max-cells 12",
];
const REPORT: &str = "report target/demo -o target/demo/report.html";

/// Builds `gf` and runs every stage.
pub fn run_demo() -> Result<(), String> {
    run(&cargo(), "build --release -p gf-cli")?;
    let gf = binary()?;
    let out = root().join(OUT);
    start_afresh(&out)?;
    let start = Instant::now();
    let mut times = Vec::new();
    for stage in STAGES {
        println!();
        times.push((stage, run(&gf, stage)?));
    }
    write(&out.join("commands.txt"), &command_lines())?;
    println!();
    times.push((REPORT, run(&gf, REPORT)?));
    println!();
    for (stage, time) in times {
        println!("{:<10}{:>14}", stage.split(' ').next().unwrap_or(stage), pretty(time));
    }
    println!("{:<10}{:>14}", "total", pretty(start.elapsed()));
    println!("report: {}", out.join("report.html").display());
    Ok(())
}

fn binary() -> Result<String, String> {
    let metadata = output(&cargo(), "metadata --format-version 1 --no-deps")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let target =
        metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
    let gf =
        PathBuf::from(target).join("release").join(format!("gf{}", std::env::consts::EXE_SUFFIX));
    match gf.is_file() {
        true => Ok(gf.display().to_string()),
        false => Err(format!("{} was not built", gf.display())),
    }
}

fn start_afresh(out: &Path) -> Result<(), String> {
    match fs::remove_dir_all(out) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {e}", out.display()))
        }
        _ => fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display())),
    }
}

fn command_lines() -> String {
    STAGES.iter().chain([&REPORT]).map(|stage| format!("gf {stage}\n")).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_writes_under_the_demo_folder() {
        for stage in STAGES.iter().chain([&REPORT]) {
            let out = stage.split(" -o ").nth(1).unwrap_or_default();
            assert!(out.starts_with(OUT), "{stage}");
        }
    }

    #[test]
    fn the_report_lists_itself_last() {
        assert_eq!(
            command_lines().lines().last(),
            Some("gf report target/demo -o target/demo/report.html")
        );
    }
}
