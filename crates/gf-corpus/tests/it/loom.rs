//! `.loom` files: real ones, small ones of every kind, and broken ones.

use std::{collections::BTreeSet, fs, path::PathBuf};

use gf_corpus::{SourceGene, SourceOptions, open_source};
use rust_hdf5::{DatatypeMessage, H5File, H5Type};

use crate::support::{SYMBOLS, Triplets, column, lenient, pad, scramble, shared, triplets, vector};

/// Cells of the small file, and of its chunks.
const N_CELLS: usize = 5;

/// A small loom file to be bent out of shape.
struct Loom<T> {
    shape: [usize; 2],
    chunk: Option<[usize; 2]>,
    values: Vec<T>,
    genes: Vec<String>,
    cells: Option<Vec<String>>,
}

/// The count of a gene row in a cell of the small file.
fn count(gene: usize, cell: usize) -> u8 {
    if (gene + cell).is_multiple_of(3) { (gene * N_CELLS + cell + 1) as u8 } else { 0 }
}

impl<T: H5Type> Loom<T> {
    fn new(number: impl Fn(u8) -> T) -> Self {
        let all = (0..SYMBOLS.len()).flat_map(|g| (0..N_CELLS).map(move |c| count(g, c)));
        Self {
            shape: [SYMBOLS.len(), N_CELLS],
            chunk: Some([4, 2]),
            values: all.map(number).collect(),
            genes: SYMBOLS.map(str::to_owned).to_vec(),
            cells: Some((0..N_CELLS).map(|cell| format!("CELL{cell}")).collect()),
        }
    }

    fn write(&self, path: PathBuf) -> PathBuf {
        let file = H5File::create(&path).unwrap();
        for group in ["row_attrs", "col_attrs", "layers"] {
            file.create_group(group).unwrap();
        }
        let root = file.root_group();
        self.matrix(&root, "matrix");
        self.matrix(&root.group("layers").unwrap(), "spliced");
        let genes: Vec<&str> = self.genes.iter().map(String::as_str).collect();
        if !genes.is_empty() {
            root.group("row_attrs").unwrap().write_vlen_strings("Gene", &genes).unwrap();
        }
        if let Some(cells) = &self.cells {
            fixed(&file, "col_attrs", "CellID", cells);
            vector(&file, "col_attrs/n", &vec![7i32; cells.len()]);
        }
        file.close().unwrap();
        path
    }

    fn matrix(&self, group: &rust_hdf5::H5Group, name: &str) {
        let dataset = group.new_dataset::<T>().shape(self.shape);
        let dataset = match &self.chunk {
            Some(chunk) => dataset.chunk(chunk).shuffle_deflate(4),
            None => dataset,
        };
        dataset.create(name).unwrap().write_raw(&self.values).unwrap();
    }
}

/// Writes strings of a fixed width.
fn fixed(file: &H5File, group: &str, name: &str, words: &[String]) {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend(word.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let group = file.root_group().group(group).unwrap();
    let dataset = group.new_dataset::<u8>().datatype(DatatypeMessage::fixed_string(8));
    dataset.shape([words.len()]).create(name).unwrap().write_raw_bytes(&bytes).unwrap();
}

fn in_folder<O>(run: impl FnOnce(PathBuf) -> O) -> O {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path().join("cells.loom"))
}

#[track_caller]
fn read<T: H5Type>(loom: &Loom<T>, layer: Option<&str>) -> Triplets {
    in_folder(|path| {
        let (_folder, corpus, ledger) = lenient(&[loom.write(path)], layer).unwrap();
        assert_eq!(ledger.files[0].cells.read, N_CELLS as u64);
        if loom.cells.is_some() {
            assert_eq!(column(&corpus, "n"), vec![Some("7".to_owned()); N_CELLS]);
        }
        triplets(&corpus)
    })
}

fn ensembl(symbol: &str) -> String {
    // As the shipped annotation has them.
    let ids = [
        "ENSG00000075624",
        "ENSG00000111640",
        "ENSG00000167286",
        "ENSG00000198851",
        "ENSG00000156738",
        "ENSG00000105374",
        "ENSG00000090382",
        "ENSG00000170458",
        "ENSG00000153563",
        "ENSG00000010610",
    ];
    ids[SYMBOLS.iter().position(|s| *s == symbol).unwrap()].to_owned()
}

fn expected(cell_name: impl Fn(usize) -> String) -> Triplets {
    let mut all = Triplets::new();
    for (gene, symbol) in SYMBOLS.iter().enumerate() {
        for cell in (0..N_CELLS).filter(|&cell| count(gene, cell) > 0) {
            all.insert((cell_name(cell), ensembl(symbol)), u64::from(count(gene, cell)));
        }
    }
    all
}

#[test]
fn every_number_type_and_layout() {
    fn check<T: H5Type>(number: impl Fn(u8) -> T) {
        let expected = expected(|cell| format!("CELL{cell}"));
        let mut loom = Loom::new(number);
        assert_eq!(read(&loom, None), expected);
        assert_eq!(read(&loom, Some("spliced")), expected);
        for chunk in [None, Some([1, 5]), Some([10, 1]), Some([10, 5])] {
            loom.chunk = chunk;
            assert_eq!(read(&loom, None), expected, "{chunk:?}");
        }
    }
    check(|v| v);
    check(u16::from);
    check(i32::from);
    check(i64::from);
    check(u64::from);
    check(f32::from);
    check(f64::from);
}

#[test]
fn metadata_of_every_type() {
    in_folder(|path| {
        let loom = Loom { cells: None, ..Loom::new(|v| v) };
        let path = loom.write(path);
        let file = H5File::open_rw(&path).unwrap();
        let names = ["A", "B", "C", "D", "E"].map(str::to_owned);
        fixed(&file, "col_attrs", "obs_names", &names);
        let group = file.root_group().group("col_attrs").unwrap();
        group.write_vlen_strings("text", &["", "\u{b5}", "x y", "4", "5"]).unwrap();
        vector(&file, "col_attrs/i8", &[-1i8, 2, 3, 4, 5]);
        vector(&file, "col_attrs/u64", &[u64::MAX, 2, 3, 4, 5]);
        vector(&file, "col_attrs/f32", &[0.1f32, f32::NAN, 3.0, 4.0, 5.0]);
        vector(&file, "col_attrs/f64", &[0.1f64, f64::NAN, 3.0, 4.0, 5.0]);
        group.new_dataset::<f64>().shape([5, 2]).create("pca").unwrap();
        file.close().unwrap();
        let (_folder, corpus, ledger) = lenient(&[path], None).unwrap();
        assert_eq!(ledger.files[0].unread_columns, ["pca"]);
        assert_eq!(triplets(&corpus), expected(|cell| names[cell].clone()));
        let check = |name: &str, values: [Option<&str>; 2]| {
            let values = values.map(|value| value.map(str::to_owned));
            assert_eq!(column(&corpus, name)[..2], values, "{name}");
        };
        check("text", [Some(""), Some("\u{b5}")]);
        check("i8", [Some("-1"), Some("2")]);
        check("u64", [Some("18446744073709551615"), Some("2")]);
        check("f32", [Some("0.10000000149011612"), None]);
        check("f64", [Some("0.1"), None]);
    });
}

/// The file of [`Loom::new`] after `change`, read; what was left unread of it.
#[track_caller]
fn unread(change: impl FnOnce(&H5File), words: &[&str]) {
    in_folder(|path| {
        let path = Loom::new(u16::from).write(path);
        let file = H5File::open_rw(&path).unwrap();
        change(&file);
        file.close().unwrap();
        let (_folder, corpus, ledger) = lenient(&[path], None).unwrap();
        assert_eq!(ledger.files[0].unread_columns, words);
        assert_eq!(triplets(&corpus), expected(|cell| format!("CELL{cell}")));
    });
}

#[test]
fn attributes_that_name_nothing_are_reported() {
    unread(|_| (), &[]);
    unread(|file| vector(file, "row_attrs/Selected", &[1i32; 10]), &["row_attrs/Selected"]);
    unread(|file| vector(file, "row_attrs/Score", &[0.5f64; 10]), &["row_attrs/Score"]);
    let chromosome = |file: &H5File| {
        fixed(file, "row_attrs", "Chromosome", &["7"; 10].map(str::to_owned));
    };
    unread(chromosome, &["row_attrs/Chromosome"]);
    let tables = |file: &H5File| {
        for name in ["col_attrs", "row_attrs"] {
            let group = file.root_group().group(name).unwrap();
            group.new_dataset::<f64>().shape([10, 2]).create("table").unwrap();
            group.create_group("folder").unwrap();
        }
    };
    unread(tables, &["folder", "table", "row_attrs/folder", "row_attrs/table"]);
    // An id beside the symbols: both name the gene.
    let with_ids = |file: &H5File| {
        let ids = SYMBOLS.map(ensembl);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let group = file.root_group().group("row_attrs").unwrap();
        group.write_vlen_strings("Accession", &ids).unwrap();
    };
    unread(with_ids, &[]);
}

#[test]
fn genes_named_by_ncbi_numbers_alone() {
    // NCBI's ids of SYMBOLS.
    const NCBI: [i64; 10] = [60, 2597, 915, 916, 931, 4818, 4069, 929, 925, 920];
    let alone = |numbers: &[i64]| {
        in_folder(|path| {
            let path = Loom { genes: Vec::new(), ..Loom::new(u16::from) }.write(path);
            let file = H5File::open_rw(&path).unwrap();
            vector(&file, "row_attrs/Entrez", numbers);
            vector(&file, "row_attrs/Flag", &[1i32; 10]);
            file.close().unwrap();
            lenient(&[path], None).map(|(_folder, corpus, ledger)| {
                assert_eq!(ledger.files[0].unread_columns, ["row_attrs/Flag"]);
                triplets(&corpus)
            })
        })
    };
    assert_eq!(alone(&NCBI).unwrap(), expected(|cell| format!("CELL{cell}")));
    // Numbers that repeat are no ids, and running ones count the rows.
    let check = |numbers: &[i64], word: &str| {
        let message = alone(numbers).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    };
    check(&[60; 10], "row_attrs: found no vector of strings");
    check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "none of 10 gene rows");
}

#[test]
fn cells_without_ids_are_numbered() {
    let loom = Loom { cells: None, ..Loom::new(|v| v) };
    assert_eq!(read(&loom, None), expected(|cell| format!("cell-{}", cell + 1)));
}

#[test]
fn blocks_of_any_size_hold_the_same_cells() {
    in_folder(|path| {
        let path = Loom::new(u16::from).write(path);
        let all = |max_cells: usize| {
            let mut source = open_source(&path, &SourceOptions::default()).unwrap();
            let mut rows = Vec::new();
            while let Some(block) = source.next_block(max_cells).unwrap() {
                for (id, (genes, counts)) in block.cell_ids.iter().zip(block.counts.rows()) {
                    rows.push((id.clone(), genes.to_vec(), counts.to_vec()));
                }
            }
            rows
        };
        let whole = all(usize::MAX);
        assert_eq!(whole.len(), N_CELLS);
        for max_cells in 1..7 {
            assert_eq!(all(max_cells), whole, "{max_cells}");
        }
    });
}

#[test]
fn loom_03_spec_3() {
    let Some(path) = shared("data/03_pbmc4k_loom_h5/pbmc4k_sub120_v3.loom") else { return };
    let (_folder, corpus, ledger) = lenient(&[path], None).unwrap();
    let file = &ledger.files[0];
    assert_eq!(
        (file.layer.as_str(), file.cells.read, file.counts_read()),
        ("matrix", 120, 522_226)
    );
    assert_eq!(file.mapped().rows + file.unmapped().rows, 18_368);
    assert_eq!(file.unmapped().rows, 0, "Accession holds the ids");
    let some = |values: [&str; 2]| values.map(|value| Some(value.to_owned()));
    assert_eq!(column(&corpus, "cell_type")[..2], some(["MNP", "T_CD4"]));
    assert_eq!(column(&corpus, "cluster")[..2], some(["0", "1"]));
    assert_eq!(column(&corpus, "n_counts")[..2], some(["3594", "3077"]));
}

/// Counts by cell and symbol, as the source has them.
fn by_symbol(path: PathBuf) -> Triplets {
    let mut source = open_source(&path, &SourceOptions::default()).unwrap();
    let name = |gene: &SourceGene| gene.symbol.clone().unwrap_or_else(|| gene.id.clone());
    let names: Vec<String> = source.genes().iter().map(name).collect();
    let mut all = Triplets::new();
    while let Some(block) = source.next_block(7).unwrap() {
        for (cell, (genes, counts)) in block.cell_ids.iter().zip(block.counts.rows()) {
            for (&gene, &count) in genes.iter().zip(counts) {
                let key = (cell.clone(), names[gene as usize].clone());
                *all.entry(key).or_default() += u64::from(count);
            }
        }
    }
    all
}

#[test]
fn loom_14_equals_the_mex_of_the_same_cells() {
    let (Some(loom), Some(mex)) = (
        shared("data/14_scenic_loom_mex/expr_mat.loom"),
        shared("data/14_scenic_loom_mex/filtered_gene_bc_matrices"),
    ) else {
        return;
    };
    let (mut loom, mex) = (by_symbol(loom), by_symbol(mex));
    assert_eq!(loom.values().sum::<u64>(), 388_658);
    let symbols: BTreeSet<String> = mex.keys().map(|(_, symbol)| symbol.clone()).collect();
    // The loom has ten rows, and five counts, of genes that the MEX lacks.
    loom.retain(|(_, symbol), _| symbols.contains(symbol));
    let differing: Vec<_> = mex.iter().filter(|(key, n)| loom.get(*key) != Some(n)).collect();
    assert!(loom == mex, "{} against {} entries; {differing:?}", loom.len(), mex.len());
    assert_eq!(mex.values().sum::<u64>(), 388_653);
}

#[track_caller]
fn refused(path: PathBuf, layer: Option<&str>, words: &[&str]) {
    let message = lenient(&[path], layer).map(|_| ()).unwrap_err().to_string();
    for word in words.iter().chain(&["cells.loom"]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[track_caller]
fn bent<T: H5Type>(number: impl Fn(u8) -> T, bend: impl FnOnce(&mut Loom<T>), words: &[&str]) {
    let mut loom = Loom::new(number);
    bend(&mut loom);
    in_folder(|path| refused(loom.write(path), None, words));
}

#[test]
fn values_that_are_no_counts() {
    let place = 3 * N_CELLS + 4;
    let at = ["matrix", "cell CELL4, gene CD3E", "expected raw counts"];
    bent(f64::from, |l| l.values[place] = 0.5, &[&at[..], &["found 0.5"]].concat());
    bent(f32::from, |l| l.values[place] = f32::NAN, &[&at[..], &["found NaN"]].concat());
    bent(f64::from, |l| l.values[place] = f64::INFINITY, &[&at[..], &["found inf"]].concat());
    bent(i32::from, |l| l.values[place] = -1, &[&at[..], &["found -1"]].concat());
    bent(u64::from, |l| l.values[place] = u64::MAX, &at);
}

#[test]
fn parts_that_disagree() {
    bent(
        u16::from,
        |l| drop(l.genes.pop()),
        &["row_attrs/Gene against the genes of the matrix", "found 9, expected 10"],
    );
    bent(
        u16::from,
        |l| l.cells = Some(vec!["A".to_owned()]),
        &["col_attrs/CellID against the cells of the matrix", "found 1, expected 5"],
    );
    bent(
        u16::from,
        |l| l.genes = (0..10).map(|n| format!("ENSMUSG{n:011}")).collect(),
        &["ENSMUSG00000000000 is a gene of mouse"],
    );
    in_folder(|path| {
        let path = Loom::new(u16::from).write(path);
        refused(path, Some("velocity"), &["no matrix layers/velocity", "layers/spliced, matrix"]);
    });
}

/// A file with what `make` puts into it.
fn made(path: PathBuf, make: impl FnOnce(&H5File)) -> PathBuf {
    let file = H5File::create(&path).unwrap();
    make(&file);
    file.close().unwrap();
    path
}

#[test]
fn parts_that_are_missing_or_huge() {
    in_folder(|path| refused(made(path, |_| ()), None, &["no matrix matrix", "has: none"]));
    // Declared only: nothing of that size is written.
    let matrix = |grown: usize, shape: [usize; 2], chunk: [usize; 2]| {
        in_folder(|path| {
            let make = |file: &H5File| {
                let max = [0, 1].map(|axis| (axis != grown).then_some(shape[axis]));
                let mut small = shape;
                small[grown] = chunk[grown];
                let dataset = file.new_dataset::<u8>().shape(small).chunk(&chunk).max_shape(&max);
                dataset.create("matrix").unwrap().extend(&shape).unwrap();
                pad(file);
            };
            lenient(&[made(path, make)], None).map(|_| ()).unwrap_err().to_string()
        })
    };
    let check = |message: String, word: &str| assert!(message.contains(word), "{message}");
    check(matrix(0, [10, 5], [4, 4]), "row_attrs: found no vector of strings");
    check(matrix(0, [1 << 22, 5], [1 << 10, 4]), "at most 1048576 genes");
    check(matrix(1, [1, 1 << 33], [1, 1 << 20]), "genes × 2^32 cells");
    check(matrix(1, [10, 1 << 33], [10, 1 << 20]), "at most 4096 bytes for each of the file's");
    check(matrix(1, [10, 1 << 30], [10, 4]), "fewer than 268435456 chunks in such a short file");
    check(matrix(1, [10, 1 << 25], [10, 1 << 24]), "chunks of 1 to 134217728 bytes");
}

/// A damaged file may be refused or read, but never ends the program.
#[test]
fn damage_is_survived() {
    let bytes = in_folder(|path| fs::read(Loom::new(i32::from).write(path)).unwrap());
    scramble(&bytes, "cells.loom");
}
