//! `gf embed` in its modes and formats, and what is made of embeddings.

use std::{fs, path::Path, thread::sleep, time::Duration};

use crate::run::{CONFIG, gf, json, ok, run, tokenized};

const MODEL: &str = "--model pretrain/model --data cells.dataset";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tokenized(folder.path());
    fs::write(folder.path().join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    ok(folder.path(), "pretrain --config c.toml --data cells.dataset -o pretrain --quiet");
    folder
}

fn read(folder: &Path, file: &str) -> Vec<Vec<String>> {
    let mut csv =
        csv::ReaderBuilder::new().has_headers(false).from_path(folder.join(file)).unwrap();
    csv.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn modes_formats_and_what_is_made_of_them() {
    let folder = folder();
    let folder = folder.path();

    let cells = json(folder, &format!("embed {MODEL} --mode cell --labels length -o c.csv"));
    assert_eq!((&cells["rows"], &cells["dimensions"]), (&559.into(), &16.into()));
    let table = read(folder, "c.csv");
    assert_eq!(table[0][..2], ["cell_id", "0"]);
    assert_eq!(table[0][17..], ["length"]);
    assert_eq!(table.len(), 560);
    ok(folder, &format!("embed {MODEL} --mode cell -o again.csv --threads 1"));
    let again = read(folder, "again.csv");
    assert!(table.iter().zip(&again).all(|(a, b)| a[..17] == b[..]), "threads change the numbers");

    // The order of the reference: the longest first.
    ok(
        folder,
        &format!("embed {MODEL} --labels length --compat reference --max-cells 30 -o r.csv"),
    );
    let reference = read(folder, "r.csv");
    assert_eq!(
        (reference.len(), reference[0][0].as_str(), reference[30][0].as_str()),
        (31, "", "29")
    );
    let lengths: Vec<u32> = reference[1..].iter().map(|row| row[17].parse().unwrap()).collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");

    let genes = json(folder, &format!("embed {MODEL} --mode gene --max-cells 20 -o g.csv"));
    let table = read(folder, "g.csv");
    assert_eq!(table[0][..3], ["gene", "symbol", "n_cells"]);
    assert_eq!(genes["rows"], table.len() - 1);
    assert!(table[1][0].starts_with("ENSG"), "{:?}", table[1]);
    let line = format!("embed {MODEL} --mode gene --max-cells 20 --precision int8 -o q.csv");
    let quantised = json(folder, &line);
    assert_eq!(quantised["rows"], genes["rows"]);
    let cosine = quantised["agreement"]["mean_cosine"].as_f64().unwrap();
    assert!(cosine > 0.99 && cosine < 1.0, "{quantised}");
    let line = format!("embed {MODEL} --mode gene --gene-style all --max-cells 20 -o a.csv");
    let every = json(folder, &line);
    let n_cells: u64 = table[1..].iter().map(|row| row[2].parse::<u64>().unwrap()).sum();
    assert_eq!(every["rows"], n_cells);

    ok(folder, &format!("embed {MODEL} --states length --summary median -o s.json"));
    let states: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("s.json")).unwrap()).unwrap();
    assert!(states.as_object().unwrap().values().all(|v| v.as_array().unwrap().len() == 16));
    for file in ["c.arrow", "c.feather", "c.h5ad"] {
        ok(folder, &format!("embed {MODEL} --labels length -o {file}"));
        assert!(folder.join(file).is_file(), "{file}");
    }

    let pairs = json(
        folder,
        "similarity c.csv --label length --batch length --pairs 50 -o p.csv --figure p.svg",
    );
    assert!(!pairs["classes"].as_array().unwrap().is_empty());
    let found = json(folder, "separability a.csv --min-detections 5");
    let share = found["share_of_embeddings"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{share}");
    ok(folder, "map c.csv --colour length,cell_id --method pca -o m.html");
    ok(folder, "map c.csv --colour length -o m.svg");
    let svg = fs::read_to_string(folder.join("m.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<circle").count() >= 559, "{}", svg.len());
    assert_eq!(fs::read_to_string(folder.join("m.html")).unwrap().matches("<svg").count(), 2);
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
}

#[test]
fn what_makes_no_table_is_refused() {
    let folder = folder();
    let folder = folder.path();
    let t = |line: &str, code: i32, expected: &str| {
        let output = run(folder, &line.replace("MODEL", MODEL));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "gf {line}: {error}");
        assert!(error.contains(expected), "gf {line}: {error}");
    };
    t("embed MODEL -o e.txt", 2, "expected the extension .csv");
    t("embed MODEL -o e.json", 2, "a .json without --states");
    t("embed MODEL --states length -o e.csv", 2, "expected -o FILE.json");
    t("embed MODEL --compat reference -o e.arrow", 2, "expected a .csv");
    t("embed MODEL --mode gene --labels length -o e.csv", 2, "--labels with means over cells");
    t("embed MODEL --mode gene --gene-style all -o e.h5ad", 2, "every gene of every cell");
    t("embed MODEL --labels donor -o e.csv", 1, "donor");
    t("embed MODEL --filter length=1 -o e.csv", 1, "no cell is left");
    t("similarity c.toml --label x", 1, "c.toml: found no column \"0\"");
    t("map c.toml --colour a,b -o m.svg", 2, "expected .html");
    assert!(!folder.join("e.csv").exists());
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_and_gives_the_same_bytes() {
    let folder = folder();
    let folder = folder.path();
    for style in ["all", "mean"] {
        let line = format!("embed {MODEL} --mode gene --gene-style {style}");
        ok(folder, &format!("{line} -o whole.csv"));
        let mut child =
            gf(folder).args(line.split(' ')).args(["-o", "killed.csv", "--quiet"]).spawn().unwrap();
        let partial = folder.join(".killed.csv.partial");
        // The key alone is 16 bytes.
        while child.try_wait().unwrap().is_none()
            && fs::metadata(&partial).map_or(0, |file| file.len()) <= 16
        {
            sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        let was_killed = !child.wait().unwrap().success();
        let resumed = json(folder, &format!("{line} -o killed.csv"));
        assert!(!was_killed || resumed["resumed"].as_u64() > Some(0), "{style}: {resumed}");
        let bytes = |file: &str| fs::read(folder.join(file)).unwrap();
        assert!(bytes("whole.csv") == bytes("killed.csv"), "{style}: not the same bytes");
        assert!(!partial.exists());
    }
}
