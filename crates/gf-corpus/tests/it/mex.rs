//! MEX folders: layouts, orders, and what is not a gene.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gf_corpus::Verdict;
use proptest::prelude::*;

use crate::support::{Mex, SYMBOLS, immune, lenient, text, triplets, write};

fn read(input: PathBuf) -> crate::support::Triplets {
    triplets(&lenient(&[input], None).unwrap().1)
}

#[test]
fn gzip_and_plain_read_equal() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["barcodes.tsv", "features.tsv", "matrix.mtx"] {
        write(&folder.path().join(name), &text(&immune().join(format!("{name}.gz"))));
    }
    assert!(read(immune()) == read(folder.path().to_owned()));
}

#[test]
fn several_gzip_members_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let small = Mex::small();
    let expected = read(small.write(&folder.path().join("one"), ""));
    let split = small.write(&folder.path().join("two"), ".gz");
    let (head, tail) = small.matrix.split_at(70);
    let (a, b) = (folder.path().join("a.gz"), folder.path().join("b.gz"));
    write(&a, head);
    write(&b, tail);
    let joined = [std::fs::read(a).unwrap(), std::fs::read(b).unwrap()].concat();
    std::fs::write(split.join("matrix.mtx.gz"), joined).unwrap();
    assert_eq!(read(split), expected);
}

#[test]
fn any_order_of_entries_reads_equal() {
    let folder = tempfile::tempdir().unwrap();
    let by_cell = [(0, 0, "5"), (9, 0, "2"), (4, 1, "3"), (0, 2, "7"), (3, 2, "1")];
    let by_gene = [(0, 0, "5"), (0, 2, "7"), (3, 2, "1"), (4, 1, "3"), (9, 0, "2")];
    let within = [(9, 0, "2"), (0, 0, "5"), (4, 1, "3.0"), (3, 2, "1e0"), (0, 2, "7.0000000e+00")];
    let read = |name: &str, entries: &[(usize, usize, &str)]| {
        read(Mex::new(&SYMBOLS, 3, entries).write(&folder.path().join(name), ""))
    };
    let expected = read("by_cell", &by_cell);
    assert_eq!(expected.len(), 5);
    assert_eq!(read("by_gene", &by_gene), expected);
    assert_eq!(read("within", &within), expected);
}

#[test]
fn other_features_are_counted_apart() {
    let folder = tempfile::tempdir().unwrap();
    let features = [
        "ENSG00000075624\tACTB\tGene Expression",
        "CD3\tCD3\tAntibody Capture",
        "GAPDH\tGAPDH\tGene Expression",
    ];
    let mex = Mex::new(&features, 1, &[(0, 0, "5"), (1, 0, "90"), (2, 0, "1")]);
    let (_folder, corpus, ledger) = lenient(&[mex.write(folder.path(), "")], None).unwrap();
    let other = ledger.files[0].other_features["Antibody Capture"];
    assert_eq!((other.rows, other.counts), (1, 90));
    assert_eq!(corpus.blocks().next().unwrap().unwrap().totals, [6]);
    assert_eq!(corpus.genes().len(), 2);
}

#[test]
fn cells_without_entries_keep_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let mex = Mex::new(&SYMBOLS, 5, &[(0, 1, "1"), (1, 3, "2")]);
    let (_folder, corpus, ledger) = lenient(&[mex.write(folder.path(), "")], None).unwrap();
    let cells = &ledger.files[0].cells;
    assert_eq!((cells.read, cells.kept, cells.dropped[&Verdict::Empty]), (5, 2, 3));
    assert_eq!(corpus.blocks().next().unwrap().unwrap().cell_ids, ["CELL1-1", "CELL3-1"]);
}

/// Gives the three files of a folder a prefix.
fn prefixed(folder: &Path, prefix: &str) {
    for name in ["barcodes.tsv", "features.tsv", "matrix.mtx"] {
        fs::rename(folder.join(name), folder.join(format!("{prefix}{name}"))).unwrap();
    }
}

#[test]
fn prefixes_as_on_geo() {
    let folder = tempfile::tempdir().unwrap();
    let expected = read(Mex::small().write(&folder.path().join("plain"), ""));
    let geo = Mex::small().write(&folder.path().join("geo"), "");
    prefixed(&geo, "GSM1_");
    assert_eq!(read(geo.clone()), expected);
    fs::rename(geo.join("GSM1_features.tsv"), geo.join("GSM1_genes.tsv")).unwrap();
    assert_eq!(read(geo.join("GSM1_matrix.mtx")), expected);

    // A second sample beside it: the folder says nothing any more, a path does.
    Mex::new(&SYMBOLS, 1, &[(0, 0, "1")]).write(&geo, "");
    prefixed(&geo, "GSM2_");
    let message = lenient(std::slice::from_ref(&geo), None).err().unwrap().to_string();
    for word in ["found 2 matrices", "GSM1_matrix.mtx, GSM2_matrix.mtx"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(read(geo.join("GSM1_matrix.mtx")), expected);
    fs::remove_file(geo.join("GSM2_barcodes.tsv")).unwrap();
    let message = lenient(&[geo.join("GSM2_matrix.mtx")], None).err().unwrap().to_string();
    assert!(message.contains("GSM2_: found no barcodes.tsv"), "{message}");
}

#[test]
fn line_ends_and_marks_of_windows() {
    let folder = tempfile::tempdir().unwrap();
    let small = Mex::small();
    let expected = read(small.write(&folder.path().join("plain"), ""));
    let windows = small.write(&folder.path().join("windows"), "");
    for name in ["barcodes.tsv", "features.tsv", "matrix.mtx"] {
        let path = windows.join(name);
        write(&path, &format!("\u{feff}{}", text(&path).replace('\n', "\r\n")));
    }
    assert_eq!(read(windows), expected);
}

#[test]
fn ids_that_are_no_text() {
    #[track_caller]
    fn check(part: &str, bytes: &[u8], words: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let path = Mex::small().write(folder.path(), "");
        fs::write(path.join(part), bytes).unwrap();
        let message = lenient(&[path], None).err().unwrap().to_string();
        for word in words.iter().chain(&[part]) {
            assert!(message.contains(word), "{message:?} lacks {word:?}");
        }
    }
    check("barcodes.tsv", b"A\nB\xff\n", &["line 2", "UTF-8"]);
    check("barcodes.tsv", b"A\nB\0\n", &["line 2", "NUL"]);
    check("barcodes.tsv", b"A\n\n", &["line 2", "a barcode"]);
    check("features.tsv", b"ACTB\nC\xff\n", &["line 2", "UTF-8"]);
    check("features.tsv", b"ACTB\n\n", &["line 2", "a gene id"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any flipped bit and any cut is read or refused; packed parts are read
    /// only if nothing was lost.
    #[test]
    fn bent_folders_never_panic(
        part in 0..3usize, is_gzip: bool, at in 0.0..1.0f64, bit in 0..8u8, is_cut: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let end = if is_gzip { ".gz" } else { "" };
        let path = Mex::small().write(folder.path(), end);
        let part = ["barcodes.tsv", "features.tsv", "matrix.mtx"][part];
        let file = path.join(format!("{part}{end}"));
        let mut bytes = fs::read(&file).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(&file, bytes).unwrap();
        let is_read = lenient(&[path], None).is_ok();
        prop_assert!(!(is_read && is_gzip && is_cut));
    }
}
