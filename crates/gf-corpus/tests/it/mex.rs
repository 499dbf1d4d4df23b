//! MEX folders: layouts, orders, and what is not a gene.

use std::path::PathBuf;

use gf_corpus::Verdict;

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
