//! 10x HDF5 files: real ones, small ones of every kind, and broken ones.

use std::{fs, path::PathBuf};

use gf_corpus::{SourceOptions, open_source};
use rust_hdf5::{H5File, H5Type};

use crate::support::{Mex, SYMBOLS, Triplets, lenient, pad, scramble, shared, triplets, vector};

/// A small file to be bent out of shape: two cells over [`SYMBOLS`].
struct Tenx<T> {
    group: &'static str,
    values: Vec<T>,
    indices: Vec<i64>,
    indptr: Vec<i64>,
    shape: Vec<i32>,
    barcodes: Vec<String>,
    /// Vectors of the rows by name.
    rows: Vec<(&'static str, Vec<String>)>,
}

impl<T: H5Type> Tenx<T> {
    /// The counts of [`Mex::small`], a cell's rows not in order.
    fn new(number: impl Fn(u8) -> T) -> Self {
        let symbols = SYMBOLS.map(str::to_owned).to_vec();
        Self {
            group: "matrix",
            values: [2, 5, 1, 7, 1].map(number).to_vec(),
            indices: vec![9, 0, 1, 0, 3],
            indptr: vec![0, 3, 5],
            shape: vec![10, 2],
            barcodes: vec!["CELL0-1".to_owned(), "CELL1-1".to_owned()],
            rows: vec![
                ("features/id", symbols.clone()),
                ("features/name", symbols),
                ("features/feature_type", vec!["Gene Expression".to_owned(); 10]),
                ("features/genome", vec!["GRCh38".to_owned(); 10]),
            ],
        }
    }

    fn legacy(number: impl Fn(u8) -> T, group: &'static str) -> Self {
        let symbols = SYMBOLS.map(str::to_owned).to_vec();
        let rows = vec![("genes", symbols.clone()), ("gene_names", symbols)];
        Self { group, rows, ..Self::new(number) }
    }

    fn row(&mut self, name: &str) -> &mut Vec<String> {
        &mut self.rows.iter_mut().find(|(n, _)| *n == name).unwrap().1
    }

    fn add_to(&self, file: &H5File) {
        let group = file.create_group(self.group).unwrap();
        let name = |part: &str| format!("{}/{part}", self.group);
        vector(file, &name("data"), &self.values);
        vector(file, &name("indices"), &self.indices);
        vector(file, &name("indptr"), &self.indptr);
        vector(file, &name("shape"), &self.shape);
        let strings = |group: &rust_hdf5::H5Group, name: &str, words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            group.write_vlen_strings(name, &words).unwrap();
        };
        strings(&group, "barcodes", &self.barcodes);
        let features = self.rows.iter().any(|(name, _)| name.starts_with("features/"));
        let features = features.then(|| group.create_group("features").unwrap());
        for (name, words) in &self.rows {
            match name.strip_prefix("features/") {
                Some(leaf) => strings(features.as_ref().unwrap(), leaf, words),
                None => strings(&group, name, words),
            }
        }
    }
}

fn write<T: H5Type>(path: PathBuf, parts: &[&Tenx<T>]) -> PathBuf {
    let file = H5File::create(&path).unwrap();
    parts.iter().for_each(|part| part.add_to(&file));
    file.close().unwrap();
    path
}

fn in_folder<O>(run: impl FnOnce(PathBuf) -> O) -> O {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path().join("cells.h5"))
}

fn small() -> Triplets {
    in_folder(|path| {
        let mex = Mex::small().write(&path.with_file_name("mex"), "");
        triplets(&lenient(&[mex], None).unwrap().1)
    })
}

/// Other feature types as (name, rows, counts).
type Others<'a> = &'a [(&'a str, u64, u64)];

#[track_caller]
fn check<T: H5Type>(parts: &[&Tenx<T>], layer: Option<&str>, taken: &str, others: Others) {
    in_folder(|path| {
        let (_folder, corpus, ledger) = lenient(&[write(path, parts)], layer).unwrap();
        let file = &ledger.files[0];
        assert_eq!(file.layer, taken);
        let found = file.other_features.iter().map(|(kind, o)| (kind.as_str(), o.rows, o.counts));
        assert_eq!(found.collect::<Vec<_>>(), others);
        assert_eq!(triplets(&corpus), small());
    });
}

#[test]
fn every_number_type() {
    fn one<T: H5Type>(number: impl Fn(u8) -> T) {
        check(&[&Tenx::new(&number)], None, "matrix", &[]);
        check(&[&Tenx::legacy(&number, "hg19")], None, "hg19", &[]);
    }
    one(|v| v);
    one(i32::from);
    one(u64::from);
    one(f32::from);
    one(f64::from);
}

#[test]
fn rows_without_ids_or_without_names() {
    let without = |name: &str| {
        let mut tenx = Tenx::new(u16::from);
        tenx.rows.retain(|(n, _)| *n != name);
        tenx
    };
    check(&[&without("features/id")], None, "matrix", &[]);
    check(&[&without("features/name")], None, "matrix", &[]);
    check(&[&without("features/feature_type")], None, "matrix", &[]);
    check(&[&without("features/genome")], None, "matrix", &[]);
}

/// Adds two rows, with three counts in the second cell.
fn with_rows(id: [&str; 2], kind: &str, genome: &str) -> Tenx<u16> {
    let mut tenx = Tenx::new(u16::from);
    for (name, words) in [
        ("features/id", id),
        ("features/name", id),
        ("features/feature_type", [kind; 2]),
        ("features/genome", [genome; 2]),
    ] {
        // First in the file, so that the genes' rows are no longer their places.
        tenx.row(name).splice(0..0, words.map(str::to_owned));
    }
    tenx.shape[0] = 12;
    tenx.indices = [11, 2, 3, 2, 5, 1].to_vec();
    tenx.values.push(3);
    tenx.indptr[2] = 6;
    tenx
}

#[test]
fn rows_that_are_no_genes() {
    let tenx = with_rows(["CD3", "CD19"], "Antibody Capture", "");
    check(&[&tenx], None, "matrix", &[("Antibody Capture", 2, 3)]);
}

#[test]
fn genes_of_another_genome() {
    let mouse = ["mm10___ENSMUSG00000051951", "mm10___ENSMUSG00000029580"];
    let mut tenx = with_rows(mouse, "Gene Expression", "mm10");
    let ids = ["ENSG00000075624", "ENSG00000111640"].map(|id| format!("GRCh38_{id}"));
    tenx.row("features/id").splice(2..4, ids);
    let plain = tenx.row("features/name").split_off(2);
    tenx.row("features/name").extend(plain.iter().map(|name| format!("GRCh38_{name}")));
    check(&[&tenx], None, "matrix", &[("Gene Expression (mm10)", 2, 3)]);
}

#[test]
fn legacy_genomes_in_groups_of_their_own() {
    let ids = |tenx: &mut Tenx<u16>, species: &str| {
        *tenx.row("genes") = (0..10).map(|n| format!("{species}{:011}", 75_624 + n)).collect();
    };
    let mut mouse = Tenx::legacy(u16::from, "mm10");
    ids(&mut mouse, "ENSMUSG");
    let mut human = Tenx::legacy(u16::from, "hg19");
    human.row("genes")[0] = "hg19_ENSG00000075624".to_owned();
    let foreign = [("Gene Expression (mm10)", 10, 16)];
    // A name with its genome's before it is found by its symbol.
    check(&[&human, &mouse], None, "hg19", &foreign);
    check(&[&mouse, &human], Some("hg19"), "hg19", &foreign);
    let mut second = Tenx::legacy(u16::from, "GRCh38");
    ids(&mut second, "ENSG");
    in_folder(|path| {
        let path = write(path, &[&human, &second]);
        refused(path, None, &["human genomes GRCh38, hg19", "named as the layer"]);
    });
    in_folder(|path| {
        let path = write(path, &[&human, &mouse]);
        refused(path, Some("rn6"), &["no matrix rn6", "hg19, mm10"]);
    });
}

#[track_caller]
fn known(path: &str, layer: &str, n_cells: u64, n_rows: u64, counts: u64) {
    let Some(path) = shared(path) else { return };
    let (_folder, _, ledger) = lenient(&[path], None).unwrap();
    let file = &ledger.files[0];
    assert_eq!((file.layer.as_str(), file.cells.read), (layer, n_cells));
    assert_eq!(file.mapped().rows + file.unmapped().rows, n_rows);
    assert_eq!(file.counts_read(), counts);
}

#[test]
fn real_files_are_what_is_known_of_them() {
    let pbmc3k = "data/02_pbmc3k_hg19/pbmc3k_filtered_gene_bc_matrices_h5.h5";
    known(pbmc3k, "hg19", 2_700, 32_697, 6_389_885);
    let chr21 = "data/10_10x_chr21_h5_mex/filtered_feature_bc_matrix.h5";
    known(chr21, "matrix", 1_107, 507, 41_549);
    // Its sum as h5py 3.16 reads /matrix/data.
    let liger = "data/16_small_symbol_matrices/liger_kang_ctrl_10xlike.h5";
    known(liger, "matrix", 300, 266, LIGER_COUNTS);
}

const LIGER_COUNTS: u64 = 323_389;

/// Entries of the cells two files share.
#[track_caller]
fn equal(h5: &str, mex: &str, n_cells: usize) {
    let (Some(h5), Some(mex)) = (shared(h5), shared(mex)) else { return };
    let (_a, h5, _) = lenient(&[h5], None).unwrap();
    let (_b, mex, _) = lenient(&[mex], None).unwrap();
    let mex = triplets(&mex);
    let cells: std::collections::BTreeSet<_> = mex.keys().map(|(cell, _)| cell).collect();
    assert_eq!(cells.len(), n_cells);
    let mut h5 = triplets(&h5);
    h5.retain(|(cell, _), _| cells.contains(cell));
    assert!(h5 == mex, "{} entries against {}", h5.len(), mex.len());
}

#[test]
fn h5_equals_the_mex_of_the_same_cells() {
    equal(
        "data/02_pbmc3k_hg19/pbmc3k_filtered_gene_bc_matrices_h5.h5",
        "data/02_pbmc3k_hg19/filtered_gene_bc_matrices/hg19",
        180,
    );
    equal(
        "data/10_10x_chr21_h5_mex/filtered_feature_bc_matrix.h5",
        "data/10_10x_chr21_h5_mex/filtered_feature_bc_matrix",
        1_107,
    );
}

#[track_caller]
fn refused(path: PathBuf, layer: Option<&str>, words: &[&str]) {
    let message = lenient(&[path], layer).map(|_| ()).unwrap_err().to_string();
    for word in words.iter().chain(&["cells.h5"]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[track_caller]
fn bent<T: H5Type>(number: impl Fn(u8) -> T, bend: impl FnOnce(&mut Tenx<T>), words: &[&str]) {
    let mut tenx = Tenx::new(number);
    bend(&mut tenx);
    in_folder(|path| refused(write(path, &[&tenx]), None, words));
}

#[test]
fn values_that_are_no_counts() {
    let at = ["matrix", "cell CELL1-1, gene CD3E", "expected raw counts"];
    bent(f64::from, |t| t.values[4] = 0.5, &[&at[..], &["found 0.5"]].concat());
    bent(f32::from, |t| t.values[4] = f32::NAN, &[&at[..], &["found NaN"]].concat());
    bent(i32::from, |t| t.values[4] = -3, &[&at[..], &["found -3"]].concat());
    bent(u64::from, |t| t.values[4] = u64::MAX, &at);
}

#[test]
fn structure() {
    let t = |bend: fn(&mut Tenx<u16>), words: &[&str]| bent(u16::from, bend, words);
    t(|t| t.indices[4] = 10, &["matrix/indices", "index 10 at 4", "below 10"]);
    t(|t| t.indices[4] = -1, &["matrix/indices", "-1"]);
    t(|t| t.indptr[1] = 6, &["matrix/indptr", "[6, 5] from 1 on", "offsets that ascend"]);
    t(|t| t.indptr[1] = -1, &["matrix/indptr", "-1"]);
    t(|t| t.indptr[2] = 4, &["against the last offset", "found 5, expected 4"]);
    t(|t| t.indptr[2] = i64::MAX, &["against the last offset", "found 5"]);
    t(|t| t.indptr[0] = 1, &["the first offset", "found 1, expected 0"]);
    t(|t| t.indptr.truncate(2), &["offsets against cells and one", "found 2, expected 3"]);
    t(|t| t.indices.truncate(4), &["stored values against indices", "found 5, expected 4"]);
    t(|t| t.shape = vec![10, 3], &["columns against the barcodes", "found 3, expected 2"]);
    t(|t| t.shape = vec![11, 2], &["rows against the features", "found 11, expected 10"]);
    t(|t| t.shape = vec![-10, 2], &["matrix/shape", "-10"]);
    t(|t| t.shape = vec![10], &["matrix/shape: numbers", "found 1, expected 2"]);
    t(|t| drop(t.barcodes.pop()), &["columns against the barcodes", "found 2, expected 1"]);
    t(|t| drop(t.row("features/name").pop()), &["vectors that describe the rows", "found 9"]);
    t(|t| t.rows.drain(..2).for_each(drop), &["neither ids nor names"]);
    t(
        |t| *t.row("features/id") = (0..10).map(|n| format!("ENSMUSG{n:011}")).collect(),
        &["ENSMUSG00000000000 is a gene of mouse"],
    );
}

/// Rows and cells of a file of 1.2 million entries, several windows long.
const LARGE: [usize; 2] = [2_000, 600];

/// The count of an entry of the large file; cell and row decide it.
fn large_count(cell: usize, row: usize) -> i32 {
    ((cell * 31 + row * 7) % 50 + 1) as i32
}

/// Writes the large file in chunks of a size, or in none; `bad` is an entry
/// that is below zero.
fn write_large(path: &PathBuf, chunk: Option<usize>, bad: Option<usize>) {
    let [n_rows, n_cells] = LARGE;
    let file = H5File::create(path).unwrap();
    let group = file.create_group("matrix").unwrap();
    let long = |name: &str, values: &[i32]| {
        let dataset = group.new_dataset::<i32>().shape([values.len()]);
        let dataset = match chunk {
            Some(chunk) => dataset.chunk(&[chunk]).deflate(1),
            None => dataset,
        };
        dataset.create(name).unwrap().write_raw(values).unwrap();
    };
    let all = (0..n_cells).flat_map(|cell| (0..n_rows).map(move |row| (cell, row)));
    let mut counts: Vec<i32> = all.clone().map(|(cell, row)| large_count(cell, row)).collect();
    bad.into_iter().for_each(|at| counts[at] = -1);
    long("data", &counts);
    long("indices", &all.map(|(_, row)| row as i32).collect::<Vec<_>>());
    let offsets: Vec<i64> = (0..=n_cells).map(|cell| (cell * n_rows) as i64).collect();
    vector(&file, "matrix/indptr", &offsets);
    vector(&file, "matrix/shape", &[n_rows as i32, n_cells as i32]);
    let words = |name: &str, n: usize| {
        let words: Vec<String> = (0..n).map(|at| format!("{name}{at}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        group.write_vlen_strings(name, &words).unwrap();
    };
    words("barcodes", n_cells);
    words("gene_names", n_rows);
    file.close().unwrap();
}

#[test]
fn chunks_of_any_size_hold_the_same_entries() {
    let [n_rows, n_cells] = LARGE;
    // Small ones, Cell Ranger's, and the one of the whole vector that R writes.
    for chunk in [None, Some(1 << 12), Some(80_000), Some(n_rows * n_cells)] {
        in_folder(|path| {
            write_large(&path, chunk, None);
            let mut source = open_source(&path, &SourceOptions::default()).unwrap();
            let mut cell = 0;
            while let Some(block) = source.next_block(100).unwrap() {
                for (rows, counts) in block.counts.rows() {
                    assert!(rows.iter().copied().eq(0..n_rows as u32));
                    let expected = (0..n_rows).map(|row| large_count(cell, row) as u32);
                    assert!(counts.iter().copied().eq(expected), "{chunk:?}, cell {cell}");
                    cell += 1;
                }
            }
            assert_eq!(cell, n_cells);
        });
    }
}

#[test]
fn a_value_that_is_no_count_beyond_the_first_window() {
    for chunk in [Some(80_000), Some(LARGE[0] * LARGE[1])] {
        in_folder(|path| {
            write_large(&path, chunk, Some(400 * LARGE[0] + 123));
            let mut source = open_source(&path, &SourceOptions::default()).unwrap();
            let mut n_cells = 0;
            let error = loop {
                match source.next_block(50) {
                    Ok(block) => n_cells += block.unwrap().cell_ids.len(),
                    Err(error) => break error.to_string(),
                }
            };
            assert_eq!(n_cells, 400);
            let place = "matrix: cell barcodes400, gene gene_names123: found -1";
            assert!(error.contains(place), "{error}");
        });
    }
}

/// A cell cannot have more entries than there are rows.
#[test]
fn more_entries_than_rows() {
    let bend = |t: &mut Tenx<u16>| {
        t.values = vec![1; 13];
        t.indices = vec![1; 13];
        t.indptr = vec![0, 11, 13];
    };
    bent(u16::from, bend, &["matrix/indptr", "[0, 11]", "ascend by at most 10"]);
}

/// A file whose vectors say they have `n` elements, in chunks of some size.
fn declared(n: usize, chunk: usize, words: &[&str]) {
    in_folder(|path| {
        let file = H5File::create(&path).unwrap();
        let group = file.create_group("matrix").unwrap();
        for name in ["data", "indices", "indptr", "barcodes", "gene_names"] {
            // Declared only: nothing of that size is written.
            let dataset = group.new_dataset::<u64>().shape([1]).chunk(&[chunk]).max_shape(&[None]);
            dataset.create(name).unwrap().extend(&[n]).unwrap();
        }
        vector(&file, "matrix/shape", &[10, 2]);
        pad(&file);
        file.close().unwrap();
        refused(path, None, words);
    });
}

#[test]
fn declared_sizes_are_not_believed() {
    declared(1 << 30, 1 << 10, &["matrix/gene_names", "fewer than 1048576 chunks"]);
    declared(1 << 25, 1 << 24, &["33554432 rows", "at most 4194304"]);
    declared(1 << 23, 1 << 20, &["8388608 rows", "at most 4194304"]);
    declared(1 << 24, 1 << 2, &["matrix/gene_names", "fewer than 4194304 chunks"]);
    declared(1 << 20, 1 << 20, &["matrix/shape: rows against the features", "found 10"]);
}

#[test]
fn files_under_another_name() {
    in_folder(|path| {
        let ad = crate::support::Ad::new(vec![1u16, 2, 3, 4, 5]).write(&path);
        assert_eq!(lenient(&[ad], None).unwrap().2.files[0].layer, "X");
    });
    in_folder(|path| {
        let file = H5File::create(&path).unwrap();
        file.create_group("weights").unwrap();
        file.close().unwrap();
        refused(path, None, &["found weights in it", "expected a 10x matrix"]);
    });
    in_folder(|path| {
        fs::write(&path, "text").unwrap();
        refused(path, None, &[]);
    });
}

/// A damaged file may be refused or read, but never ends the program.
#[test]
fn damage_is_survived() {
    let bytes = in_folder(|path| fs::read(write(path, &[&Tenx::new(i32::from)])).unwrap());
    scramble(&bytes, "cells.h5");
}
