//! Exit codes and messages of what goes wrong.

use std::fs;

use crate::run::{CONFIG, run, tokenized};

fn t(folder: &std::path::Path, line: &str, code: i32, parts: &[&str]) {
    let output = run(folder, line);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "gf {line}: {error}");
    for part in parts {
        assert!(error.contains(part), "gf {line}: {error} lacks {part}");
    }
}

#[test]
fn wrong_use_exits_with_2_and_failure_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    fs::write(folder.join("typo.toml"), "[training]\nepoch = 1\n").unwrap();
    t(folder, "pretrain --config c.toml --data cells.dataset -o pretrain --quiet", 0, &[]);
    let model = "--model pretrain/model --data cells.dataset";

    t(folder, "ingest", 2, &["INPUT", "Usage"]);
    t(
        folder,
        "ingest CELLS -o c --device tpu",
        2,
        &["found \"tpu\", expected cpu, wgpu[:N] or cuda[:N]"],
    );
    t(folder, &format!("embed {model} -o e.csv --layer 3"), 2, &["found 3, expected -1"]);
    t(folder, &format!("perturb {model} -o p --genes NOSUCHGENE"), 2, &["NOSUCHGENE"]);
    t(
        folder,
        &format!("perturb {model} -o p --filter x"),
        2,
        &["found \"x\", expected COLUMN=VALUE"],
    );

    t(folder, &format!("perturb {model}"), 2, &["--output"]);
    t(folder, &format!("perturb {model} -o p --price 1"), 2, &["--plan"]);
    t(folder, &format!("perturb {model} --plan --price -1"), 2, &["--price"]);

    t(folder, "ingest nowhere -o c", 1, &["nowhere"]);
    t(folder, "medians nowhere -o m.tsv", 1, &["nowhere"]);
    t(folder, "export nowhere -o x.h5ad", 1, &["nowhere"]);
    t(folder, "tokenize corpus --medians c.toml -o d", 1, &["c.toml"]);
    t(folder, "pretrain --config typo.toml --data cells.dataset -o r", 1, &["typo.toml", "epoch"]);
    t(folder, "embed --model nowhere --data cells.dataset -o e.csv", 1, &["nowhere/config.json"]);
    t(folder, &format!("perturb {model} -o p --filter cell_type=B"), 1, &["cell_type"]);

    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/notes.txt"), "keep").unwrap();
    t(folder, &format!("perturb {model} -o full"), 1, &["found notes.txt"]);
    t(folder, "ingest CELLS -o full", 1, &["full"]);
    t(folder, "medians corpus -o full", 1, &["full: found a folder"]);
    std::fs::write(folder.join("mine.h5ad"), "mine").unwrap();
    t(folder, "export corpus -o mine.h5ad", 1, &["mine.h5ad: exists", "--overwrite"]);
    t(folder, "export corpus -o full", 1, &["full: found a folder"]);
    fs::create_dir(folder.join("full.csv")).unwrap();
    t(folder, &format!("embed {model} -o full.csv"), 1, &["full.csv: found a folder"]);
    t(folder, "report full -o page.html", 1, &["full: found none of corpus"]);
    fs::write(folder.join("corpus/notes.txt"), "keep").unwrap();
    t(folder, "ingest CELLS -o corpus", 1, &["corpus"]);
    assert_eq!(fs::read_to_string(folder.join("corpus/notes.txt")).unwrap(), "keep");
    t(folder, "ingest CELLS -o none --min-genes 100000", 1, &["no cell was kept"]);

    for left_behind in ["c", "m.tsv", "x.h5ad", "d", "r", "e.csv", "p", "page.html"] {
        assert!(!folder.join(left_behind).exists(), "{left_behind} was left behind");
    }
}

#[test]
fn a_model_of_another_vocabulary_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    t(folder, "pretrain --config c.toml --data cells.dataset -o pretrain --quiet", 0, &[]);
    let vocabulary = folder.join("pretrain/model/vocabulary.tsv");
    let text = fs::read_to_string(&vocabulary).unwrap();
    fs::write(&vocabulary, text.trim_end().rsplit_once('\n').unwrap().0).unwrap();
    let line = "embed --model pretrain/model --data cells.dataset -o e.csv";
    t(folder, line, 1, &["cells.dataset: found a vocabulary of", "tokens, hash"]);
}

/// A model whose tokens were ranked by other medians is refused, and both hashes are named.
#[test]
fn a_model_of_other_medians_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    t(folder, "pretrain --config c.toml --data cells.dataset -o pretrain --quiet", 0, &[]);
    // The medians of twice the counts, over the same vocabulary.
    let medians = fs::read_to_string(folder.join("medians.tsv")).unwrap();
    let double = |line: &str| match line.rsplit_once('\t') {
        Some((gene, median)) => match median.parse::<f64>() {
            Ok(median) => format!("{gene}\t{}\n", 2.0 * median),
            Err(_) => format!("{line}\n"),
        },
        None => format!("{line}\n"),
    };
    fs::write(folder.join("others.tsv"), medians.lines().map(double).collect::<String>()).unwrap();
    t(folder, "tokenize corpus --medians others.tsv --max-len 64 -o others.dataset", 0, &[]);
    let hash = |file: &str, key: &str| -> String {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value[key].as_str().unwrap().to_owned()
    };
    let expected = hash("pretrain/model/tokens.json", "medians");
    let found = hash("others.dataset/geneformer.json", "medians_hash");
    assert_eq!(expected, hash("cells.dataset/geneformer.json", "medians_hash"));
    assert_ne!(expected, found);
    for command in ["embed --data others.dataset -o e.csv", "perturb --data others.dataset -o p"] {
        let line = format!("{command} --model pretrain/model");
        t(folder, &line, 1, &["others.dataset", "medians", &found, &expected]);
    }
}
