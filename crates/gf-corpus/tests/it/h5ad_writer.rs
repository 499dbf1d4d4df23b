//! What is written as `.h5ad` reads back equal, and nothing half-written stays.

use std::{fs, ops::ControlFlow, path::Path};

use gf_corpus::{
    Corpus, CountMatrix, Error, Gene, H5adWriter, MetadataColumn, MetadataField, MetadataKind,
    MetadataValue, Selection, SourceBlock, SourceOptions, export_h5ad, open_source,
};
use proptest::prelude::*;
use rust_hdf5::H5File;

use crate::support::{immune, lenient, texts};

/// More distinct values than a categorical column may have.
const MANY: usize = (1 << 16) + 3;

fn genes(n: usize) -> Vec<Gene> {
    let biotype = gf_corpus::Biotype::ProteinCoding;
    let gene = |at: usize| Gene {
        id: format!("ENSG{:011}", 100 + at).parse().unwrap(),
        symbol: format!("SYMBOL{at}"),
        biotype,
    };
    (0..n).map(gene).collect()
}

fn counts(n_genes: usize, rows: &[Vec<(u32, u32)>]) -> CountMatrix {
    let mut counts = CountMatrix::new(n_genes);
    for row in rows {
        counts.push_row(row.clone()).unwrap();
    }
    counts
}

/// A whole file, as this crate reads it.
fn read(path: &Path) -> (Vec<String>, SourceBlock) {
    let mut source = open_source(path, &SourceOptions::default()).unwrap();
    assert_eq!(source.unread_columns(), &[] as &[String]);
    let fields = source.columns().to_vec();
    let mut all = SourceBlock {
        cell_ids: Vec::new(),
        counts: CountMatrix::new(source.genes().len()),
        columns: fields.iter().map(|field| MetadataColumn::missing(field.kind, 0)).collect(),
    };
    while let Some(block) = source.next_block(100).unwrap() {
        all.cell_ids.extend(block.cell_ids);
        all.counts.append(&block.counts);
        for (column, values) in all.columns.iter_mut().zip(block.columns) {
            extend(column, values);
        }
    }
    (fields.into_iter().map(|field| field.name).collect(), all)
}

fn extend(column: &mut MetadataColumn, more: MetadataColumn) {
    use MetadataColumn as M;
    match (column, more) {
        (M::Text(values), M::Text(more)) => values.extend(more),
        (M::Integers(values), M::Integers(more)) => values.extend(more),
        (M::Floats(values), M::Floats(more)) => values.extend(more),
        (M::Booleans(values), M::Booleans(more)) => values.extend(more),
        (column, more) => panic!("{more:?} in a column of {:?}", column.kind()),
    }
}

fn field(name: &str) -> MetadataField {
    MetadataField::new(name, MetadataKind::Text)
}

fn entries() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let count = prop_oneof![1u32..50, Just(i32::MAX as u32)];
    prop::collection::btree_map(0u32..9, count, 0..9).prop_map(|row| row.into_iter().collect())
}

/// Entries, and a value of each kind.
type Cell = (Vec<(u32, u32)>, Option<String>, Option<i64>, Option<f64>, Option<bool>);

/// Cells of which some lack a value, or none of a whole file does.
fn blocks() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let cell = (
        entries(),
        prop::option::of("[ -~é☃]{0,5}"),
        prop::option::of(any::<i64>()),
        prop::option::of(prop::num::f64::NORMAL),
        prop::option::of(any::<bool>()),
    );
    let blocks = prop::collection::vec(prop::collection::vec(cell, 0..7), 1..5);
    (blocks, any::<bool>()).prop_map(|(mut blocks, are_whole)| {
        for cell in blocks.iter_mut().flatten().filter(|_| are_whole) {
            cell.1.get_or_insert_default();
            cell.2.get_or_insert_default();
            cell.3.get_or_insert_default();
            cell.4.get_or_insert_default();
        }
        blocks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn files_read_back_equal(blocks in blocks()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.h5ad");
        let kinds = [MetadataKind::Text, MetadataKind::Integer, MetadataKind::Float, MetadataKind::Boolean];
        // Columns are read by name.
        let names = ["a word", "b number", "c share", "d truth"];
        let columns: Vec<_> = names.into_iter().zip(kinds).map(|(n, kind)| MetadataField::new(n, kind)).collect();
        let values = |cells: &[Cell]| [
            MetadataColumn::Text(cells.iter().map(|cell| cell.1.clone()).collect()),
            MetadataColumn::Integers(cells.iter().map(|cell| cell.2).collect()),
            MetadataColumn::Floats(cells.iter().map(|cell| cell.3).collect()),
            MetadataColumn::Booleans(cells.iter().map(|cell| cell.4).collect()),
        ];
        let mut writer = H5adWriter::create(&path, &genes(9), &columns).unwrap();
        writer.add_rows("X_test", 3).unwrap();
        let mut n = 0;
        for block in &blocks {
            let ids: Vec<String> = (n..n + block.len()).map(|cell| format!("cell {cell}")).collect();
            let rows: Vec<_> = block.iter().map(|cell| cell.0.clone()).collect();
            writer.push_cells(&ids, &counts(9, &rows), &values(block)).unwrap();
            n += block.len();
        }
        let rows: Vec<f32> = (0..3 * n).map(|at| at as f32 / 7.0).collect();
        writer.push_rows("X_test", &rows[..3 * (n / 2)]).unwrap();
        writer.push_rows("X_test", &rows[3 * (n / 2)..]).unwrap();
        prop_assert_eq!(writer.finish().unwrap(), n as u64);

        let cells = blocks.concat();
        let (found_names, found) = read(&path);
        prop_assert_eq!(found_names, names);
        let expected: Vec<_> = cells.iter().map(|cell| cell.0.clone()).collect();
        prop_assert_eq!(found.counts, counts(9, &expected));
        prop_assert_eq!(found.cell_ids, (0..n).map(|cell| format!("cell {cell}")).collect::<Vec<_>>());
        prop_assert_eq!(found.columns, values(&cells));
        let file = H5File::open(&path).unwrap();
        let stored = file.dataset("obsm/X_test").unwrap();
        prop_assert_eq!(stored.shape(), [n, 3]);
        prop_assert_eq!(stored.read_raw::<f32>().unwrap(), rows);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn genes_keep_their_ids_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    let genes = genes(3);
    H5adWriter::create(&path, &genes, &[]).unwrap().finish().unwrap();
    let source = open_source(&path, &SourceOptions::default()).unwrap();
    let found = source.genes().iter().map(|gene| (gene.id.clone(), gene.symbol.clone()));
    let expected = genes.iter().map(|gene| (gene.id.to_string(), Some(gene.symbol.clone())));
    assert!(found.eq(expected));
}

/// A column of more values than categories may be is plain text, before the cap and after it.
#[test]
fn many_values_are_plain_text() {
    #[track_caller]
    fn check(missing: Option<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.h5ad");
        let columns = [field("many"), field("few")];
        let mut writer = H5adWriter::create(&path, &genes(1), &columns).unwrap();
        let ids: Vec<String> = (0..MANY).map(|cell| format!("c{cell}")).collect();
        let value = |cell: usize| (Some(cell) != missing).then(|| ids[cell].clone());
        for block in (0..MANY).collect::<Vec<_>>().chunks(10_000) {
            let many = MetadataColumn::Text(block.iter().map(|&cell| value(cell)).collect());
            let few = MetadataColumn::Text(vec![Some("same".to_owned()); block.len()]);
            let ids: Vec<&str> = block.iter().map(|&cell| ids[cell].as_str()).collect();
            let counts = counts(1, &vec![vec![(0, 1)]; block.len()]);
            writer.push_cells(&ids, &counts, &[many, few]).unwrap();
        }
        writer.finish().unwrap();
        let (names, found) = read(&path);
        assert_eq!(names, ["few", "many"]);
        let expected = MetadataColumn::Text((0..MANY).map(value).collect());
        assert!(found.columns[1] == expected, "missing {missing:?}");
        let file = H5File::open(&path).unwrap();
        assert!(file.dataset("obs/few/codes").is_ok() && file.dataset("obs/many/codes").is_err());
    }
    check(None);
    check(Some(MANY - 1));
    check(Some(2));
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    #[track_caller]
    fn check(act: impl FnOnce(&mut H5adWriter) -> Result<(), Error>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.h5ad");
        fs::write(&path, "older").unwrap();
        let columns = [field("word")];
        let mut writer = H5adWriter::create(&path, &genes(2), &columns).unwrap();
        let error = act(&mut writer).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let one = |n_genes, count| counts(n_genes, &[vec![(0, count)]]);
    let word = || [MetadataColumn::Text(vec![Some("a".to_owned())])];
    check(|w| w.push_cells(&["a"], &one(2, 1 << 31), &word()), "a count of 2147483648");
    check(
        |w| w.push_cells(&["a"], &one(3, 1), &word()),
        "genes of the counts: found 3, expected 2",
    );
    check(|w| w.push_cells(&["a", "b"], &one(2, 1), &word()), "cells of the counts: found 1");
    check(|w| w.push_cells(&["a"], &one(2, 1), &[]), "columns of obs: found 0, expected 1");
    check(|w| w.push_cells(&["a\0"], &one(2, 1), &word()), "text without zero bytes");
    let wrong = || [MetadataColumn::Integers(vec![Some(1)])];
    check(|w| w.push_cells(&["a"], &one(2, 1), &wrong()), "found Integer for \"word\"");
    let long = || [MetadataColumn::Text(vec![None, None])];
    check(|w| w.push_cells(&["a"], &one(2, 1), &long()), "values of obs/word: found 2");
    check(|w| w.push_rows("X", &[1.0]), "expected the name of a declared matrix");
    check(|w| w.add_rows("X", 0), "width 0");
    check(|w| w.add_rows("a/b", 1), "without slashes");
    check(|w| w.add_rows("X", 1).and_then(|()| w.add_rows("X", 1)), "a new name");
    check(|w| w.add_rows("X", 2).and_then(|()| w.push_rows("X", &[1.0])), "found 1, expected 0");
}

#[test]
fn an_embedding_needs_a_row_a_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = H5adWriter::create(&folder.path().join("c.h5ad"), &genes(1), &[]).unwrap();
    writer.add_rows("X", 1).unwrap();
    writer.push_rows("X", &[1.0, 2.0]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("rows of obsm/X: found 2, expected 0"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_of_columns_are_checked() {
    #[track_caller]
    fn check(names: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let columns: Vec<_> = names.iter().map(|&name| field(name)).collect();
        let made = H5adWriter::create(&folder.path().join("c.h5ad"), &genes(1), &columns);
        assert!(matches!(made.err(), Some(Error::Setting { name: "obs column", .. })), "{names:?}");
    }
    check(&[""]);
    check(&["a/b"]);
    check(&["_index"]);
    check(&["a", "a"]);
    check(&vec!["a"; gf_corpus::MAX_OBS_COLUMNS + 1]);
}

/// The shipped cells: through a corpus into a file, and back, and the same bytes again.
#[test]
fn a_corpus_is_exported_whole() {
    let (_corpus_folder, corpus, ledger) = lenient(&[immune()], None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    let go_on = &mut |_: gf_corpus::Progress| ControlFlow::Continue(());
    let report = export_h5ad(&corpus, &path, Selection::ALL, go_on).unwrap();
    assert_eq!((report.cells, report.counts), (559, ledger.totals().counts_kept));
    let (names, found) = read(&path);
    let column = |name: &str| {
        let at = names.iter().position(|found| found == name);
        &found.columns[at.unwrap_or_else(|| panic!("{names:?} lack {name}"))]
    };
    assert_eq!(names.len(), 3 + corpus.columns().len());
    assert!(texts(column("study")).iter().all(|study| study.as_deref() == Some("immune_559")));
    let mut row = 0;
    for block in corpus.blocks() {
        let block = block.unwrap();
        for cell in 0..block.cell_ids.len() {
            assert_eq!(found.cell_ids[row], block.cell_ids[cell]);
            assert_eq!(found.counts.row(row), block.counts.row(cell));
            let total = MetadataValue::Integer(block.totals[cell] as i64);
            assert_eq!(column("n_counts").get(row), total);
            let n_genes = block.counts.row(cell).0.len();
            assert_eq!(column("n_genes").get(row), MetadataValue::Integer(n_genes as i64));
            for (field, values) in corpus.columns().iter().zip(&block.columns) {
                assert_eq!(column(&field.name).get(row), values.get(cell));
            }
            row += 1;
        }
    }
    assert_eq!(row, found.cell_ids.len());
    let again = folder.path().join("again.h5ad");
    export_h5ad(&corpus, &again, Selection::ALL, go_on).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap());
}

#[test]
fn a_cancelled_export_leaves_what_was_there() {
    let (_corpus_folder, corpus, _): (_, Corpus, _) = lenient(&[immune()], None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    fs::write(&path, "older").unwrap();
    let stop = &mut |_: gf_corpus::Progress| ControlFlow::Break(());
    let error = export_h5ad(&corpus, &path, Selection::ALL, stop).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "older");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
