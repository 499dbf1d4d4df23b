//! One call of `gf`, and cells to call it with.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The cells that ship with the repository.
pub fn cells() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/immune_559")
}

pub fn gf(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gf"));
    command.current_dir(folder);
    command
}

/// Runs `gf` with words separated by spaces; `CELLS` stands for the shipped cells.
pub fn run(folder: &Path, line: &str) -> Output {
    let cells = cells();
    let words = line.split_whitespace().map(|word| match word {
        "CELLS" => cells.to_str().unwrap(),
        word => word,
    });
    gf(folder).args(words).output().unwrap()
}

/// Runs `gf` successfully and gives its standard output.
pub fn ok(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gf {line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `gf` successfully with `--json` and parses what it prints.
pub fn json(folder: &Path, line: &str) -> serde_json::Value {
    serde_json::from_str(&ok(folder, &format!("{line} --json"))).unwrap()
}

/// Tokens of at most 64 to a cell, so that a test takes seconds.
pub fn tokenized(folder: &Path) {
    ok(folder, "ingest CELLS -o corpus");
    ok(folder, "medians corpus -o medians.tsv");
    ok(folder, "tokenize corpus --medians medians.tsv --max-len 64 -o cells.dataset");
}

/// A model of one layer's width of 16.
pub const CONFIG: &str = "
[model]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 24
max_position_embeddings = 64
[training]
batch_size = 32
";
