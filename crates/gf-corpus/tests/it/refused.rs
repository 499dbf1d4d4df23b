//! Files that are not raw human counts, and what is said about them.

use std::{fs, path::PathBuf};

use crate::support::{Ad, Mex, SYMBOLS, immune, lenient, text, write};

/// Checks that reading fails and the message holds all the words.
#[track_caller]
fn check(input: PathBuf, layer: Option<&str>, words: &[&str]) {
    let file = input.file_name().unwrap().to_str().unwrap().to_owned();
    let message = match lenient(&[input], layer) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    };
    for word in words.iter().chain([&file.as_str()]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[track_caller]
fn mex(bend: impl FnOnce(&mut Mex), words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut mex = Mex::small();
    bend(&mut mex);
    check(mex.write(&folder.path().join("sample"), ""), None, words);
}

#[test]
fn mex_values() {
    let expected = "expected raw counts";
    mex(
        |m| m.matrix = m.matrix.replace("4 2 1\n", "4 2 -1\n"),
        &["CELL1-1", "CD3E", "found -1", expected],
    );
    mex(
        |m| m.matrix = m.matrix.replace("2 1 1\n", "2 1 0.5\n"),
        &["CELL0-1", "GAPDH", "found 0.5", expected],
    );
    mex(
        |m| m.matrix = m.matrix.replace("2 1 1\n", "2 1 nan\n"),
        &["CELL0-1", "GAPDH", "found nan", expected],
    );
    mex(
        |m| m.matrix = m.matrix.replace("2 1 1\n", "2 1 4294967296\n"),
        &["GAPDH", "found 4294967296"],
    );
}

#[test]
fn a_zarr_folder_of_other_things() {
    let folder = tempfile::tempdir().unwrap();
    for (name, mark) in [("cells.zarr", "zarr.json"), ("older.zarr", ".zgroup")] {
        let store = folder.path().join(name);
        fs::create_dir(&store).unwrap();
        write(&store.join(mark), "{}");
        check(store, None, &["obs", "found nothing, expected a table"]);
    }
}

#[test]
fn mex_structure() {
    let to = |from: &'static str, to: &'static str| {
        move |m: &mut Mex| {
            assert!(m.matrix.contains(from));
            m.matrix = m.matrix.replacen(from, to, 1);
        }
    };
    mex(to("4 2 1\n", "11 2 1\n"), &["line 8", "found \"11 2 1\"", "a gene row from 1 to 10"]);
    mex(to("4 2 1\n", "0 2 1\n"), &["line 8", "a gene row from 1 to 10"]);
    mex(to("4 2 1\n", "4 3 1\n"), &["line 8", "a cell column from 1 to 2"]);
    mex(to("4 2 1\n", "4 2\n"), &["line 8", "row, column and count"]);
    mex(to("4 2 1\n", ""), &["entries of the matrix", "found 4, expected 5"]);
    mex(to("10 2 5", "10 2 4"), &["line 8", "the end after 4 entries"]);
    mex(to("10 2 5", "12 2 5"), &["gene rows", "found 12, expected 10"]);
    mex(to("10 2 5", "10 3 5"), &["cell columns", "found 3, expected 2"]);
    mex(to("10 2 5", "ten 2 5"), &["line 3", "numbers of rows, columns and entries"]);
    mex(to("general", "symmetric"), &["line 1", "coordinate integer (or real) general"]);
    mex(|m| m.matrix.clear(), &["line 0", "%%MatrixMarket"]);
}

#[test]
fn a_late_entry_of_an_early_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries: Vec<(usize, usize, &str)> = (0..600).map(|cell| (0, cell, "1")).collect();
    entries.extend((0..70_000).map(|_| (1, 599, "1")));
    entries.push((2, 0, "1"));
    let mex = Mex::new(&SYMBOLS, 600, &entries);
    check(
        mex.write(&folder.path().join("sample"), ""),
        None,
        &["line 70604", "CELL0-1", "sorted by column"],
    );
}

#[test]
fn missing_and_unknown_files() {
    for name in ["barcodes.tsv", "features.tsv", "matrix.mtx"] {
        let folder = tempfile::tempdir().unwrap();
        let sample = Mex::small().write(&folder.path().join("sample"), "");
        fs::remove_file(sample.join(name)).unwrap();
        check(sample, None, &["found no", name]);
    }
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.xlsx");
    fs::write(&table, "x").unwrap();
    check(
        table,
        None,
        &[
            "neither a folder with a matrix.mtx or an AnnData zarr nor an .h5ad, .loom, 10x .h5",
            ".csv, .tsv or .txt file",
        ],
    );
    check(folder.path().join("absent"), None, &["No such file"]);
}

#[test]
fn truncated_gzip() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(immune()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let matrix = folder.path().join("matrix.mtx.gz");
    let bytes = fs::read(&matrix).unwrap();
    fs::write(&matrix, &bytes[..bytes.len() / 2]).unwrap();
    check(folder.path().to_owned(), None, &["matrix.mtx.gz"]);
}

#[test]
fn other_species() {
    let mouse = |m: &mut Mex| m.features[3] = "ENSMUSG00000029580\tActb".to_owned();
    mex(mouse, &["gene row 3", "ENSMUSG00000029580 is a gene of mouse", "expected human genes"]);
    let title = |symbol: &String| format!("{}{}", &symbol[..1], symbol[1..].to_lowercase());
    mex(
        |m| m.features = m.features.iter().map(title).collect(),
        &["for example Actb", "mouse writes them so"],
    );
    let numbers = |m: &mut Mex| m.features = (0..10).map(|n| n.to_string()).collect();
    mex(numbers, &["none of 10 gene rows", "\"0\"", "human gene id or symbol"]);
}

#[track_caller]
fn ad<T: rust_hdf5::H5Type>(ad: &Ad<T>, layer: Option<&str>, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    check(ad.write(&folder.path().join("cells.h5ad")), layer, words);
}

#[test]
fn h5ad_values() {
    let good = [3.0, 1.0, 2.0, 7.0, 1.0];
    let bent = |at: usize, value: f32| {
        let mut values = good.map(|v| v as f32).to_vec();
        values[at] = value;
        Ad::new(values)
    };
    let expected = "expected raw counts";
    ad(&bent(3, 1.386_294_4), None, &["X", "cell CELL1, gene CD3D", "found 1.3862944", expected]);
    ad(&bent(1, -2.0), None, &["X", "cell CELL0, gene MS4A1", "found -2", expected]);
    ad(&bent(4, f32::NAN), None, &["cell CELL1, gene CD4", "found NaN", expected]);
    ad(&Ad::new(vec![1i32, 2, -3, 4, 5]), None, &["cell CELL1, gene GAPDH", "found -3", expected]);
    ad(&Ad::new(vec![1u64, 2, u64::MAX, 4, 5]), None, &["cell CELL1, gene GAPDH", expected]);
}

#[test]
fn h5ad_structure() {
    let good = || Ad::new(vec![1u16, 2, 3, 4, 5]);
    ad(
        &Ad { indices: vec![0, 4, 1, 99, 9], ..good() },
        None,
        &["X/indices", "found index 99 at 3", "indices below 10"],
    );
    ad(&Ad { indices: vec![0, 4, 1, -2, 9], ..good() }, None, &["X/indices", "-2"]);
    ad(
        &Ad { indices: vec![0, 4, 1, 2], ..good() },
        None,
        &["stored values against indices", "found 5, expected 4"],
    );
    ad(&Ad { indptr: vec![0, 2, 6], ..good() }, None, &["found 5, expected 6"]);
    ad(&Ad { indptr: vec![2, 2, 5], ..good() }, None, &["X/indptr", "offsets that ascend from 0"]);
    ad(&Ad { indptr: vec![0, 5], ..good() }, None, &["row offsets", "found 2, expected 3"]);
    ad(&good(), Some("spliced"), &["found no matrix spliced", "the file has: X"]);
    ad(
        &Ad { group: "Y", ..good() },
        None,
        &["found no matrix X, raw/X or layers/counts", "has: none"],
    );
    let mouse = (0..10).map(|n| format!("ENSMUSG{n:011}")).collect();
    ad(&Ad { genes: mouse, ..good() }, None, &["ENSMUSG00000000000 is a gene of mouse"]);
}

#[test]
fn a_file_that_is_no_hdf5() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    write(&path, &text(&immune().join("barcodes.tsv.gz")));
    check(path, None, &["cells.h5ad"]);
}

#[test]
fn two_good_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        lenient(&[Mex::new(&SYMBOLS, 1, &[(0, 0, "1")]).write(folder.path(), "")], None).is_ok()
    );
    let ad = Ad::new(vec![1u16, 2, 3, 4, 5]).write(&folder.path().join("cells.h5ad"));
    assert!(lenient(&[ad], None).is_ok());
}
