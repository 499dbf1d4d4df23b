//! Which cells are kept: each limit by itself, and Seurat's cells of pbmc3k.

use std::collections::BTreeSet;

use gf_corpus::{Annotation, Biotype, CellFilter, Error, Gene, QcOptions, Verdict};
use rust_hdf5::H5File;

use crate::support::{shared, text};

const ONLY_LIMITS: QcOptions = QcOptions {
    min_protein_coding: 0,
    min_counts: None,
    max_counts: None,
    min_genes: None,
    max_genes: None,
    max_mitochondrial_share: None,
};

/// Eight protein-coding genes, a long RNA, and a mitochondrial gene at the end.
fn genes() -> Vec<Gene> {
    let gene = |n: usize| Gene {
        id: format!("ENSG{n:011}").parse().unwrap(),
        symbol: if n == 9 { "MT-CO1".to_owned() } else { format!("MTG{n}") },
        biotype: if n == 8 { Biotype::LncRna } else { Biotype::ProteinCoding },
    };
    (0..10).map(gene).collect()
}

#[track_caller]
fn check(options: QcOptions, total: u64, row: &[(u32, u32)], expected: Verdict) {
    let filter = CellFilter::new(&genes(), &options).unwrap();
    let (genes, counts): (Vec<u32>, Vec<u32>) = row.iter().copied().unzip();
    assert_eq!(filter.judge(total, (&genes, &counts)), expected, "{options:?}, {total}, {row:?}");
}

#[test]
fn seven_protein_coding_genes_are_enough() {
    let row: Vec<(u32, u32)> = (0..9).map(|gene| (gene, 1)).collect();
    let few = [&row[..6], &row[8..]].concat();
    check(QcOptions::default(), 0, &[], Verdict::Empty);
    check(QcOptions::default(), 5, &[], Verdict::FewProteinCoding);
    check(QcOptions::default(), 9, &few, Verdict::FewProteinCoding);
    check(QcOptions::default(), 9, &row[..7], Verdict::Kept);
}

#[test]
fn limits_are_inclusive() {
    let row = [(0, 3), (8, 2), (9, 5)];
    let at = |set: fn(&mut QcOptions)| {
        let mut options = ONLY_LIMITS;
        set(&mut options);
        options
    };
    check(ONLY_LIMITS, 10, &row, Verdict::Kept);
    check(at(|o| o.min_counts = Some(10)), 10, &row, Verdict::Kept);
    check(at(|o| o.min_counts = Some(11)), 10, &row, Verdict::FewCounts);
    check(at(|o| o.max_counts = Some(10)), 10, &row, Verdict::Kept);
    check(at(|o| o.max_counts = Some(9)), 10, &row, Verdict::ManyCounts);
    check(at(|o| o.min_genes = Some(3)), 10, &row, Verdict::Kept);
    check(at(|o| o.min_genes = Some(4)), 10, &row, Verdict::FewGenes);
    check(at(|o| o.max_genes = Some(3)), 10, &row, Verdict::Kept);
    check(at(|o| o.max_genes = Some(2)), 10, &row, Verdict::ManyGenes);
    check(at(|o| o.max_mitochondrial_share = Some(0.5)), 10, &row, Verdict::Kept);
    check(at(|o| o.max_mitochondrial_share = Some(0.499)), 10, &row, Verdict::Mitochondrial);
    // Rows without a gene are in the total, so they make the share smaller.
    check(at(|o| o.max_mitochondrial_share = Some(0.25)), 20, &row, Verdict::Kept);
    check(at(|o| o.max_mitochondrial_share = Some(0.0)), 5, &row[..2], Verdict::Kept);
}

#[test]
fn limits_that_no_cell_could_keep() {
    let check = |options: QcOptions, words: &str| {
        let error = CellFilter::new(&genes(), &options).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        assert_eq!(error.to_string(), words);
    };
    let counts = QcOptions { min_counts: Some(5), max_counts: Some(4), ..ONLY_LIMITS };
    check(counts, "max_counts: found 4, expected the lower limit 5 or more");
    let genes = QcOptions { min_genes: Some(5), max_genes: Some(4), ..ONLY_LIMITS };
    check(genes, "max_genes: found 4, expected the lower limit 5 or more");
    for (share, found) in [(5.0, "5"), (-0.1, "-0.1"), (f64::NAN, "NaN")] {
        let share = QcOptions { max_mitochondrial_share: Some(share), ..ONLY_LIMITS };
        let words =
            format!("max_mitochondrial_share: found {found}, expected a number from 0 to 1");
        check(share, &words);
    }
}

#[test]
fn written_and_read() {
    let options = QcOptions { max_mitochondrial_share: Some(0.05), ..QcOptions::default() };
    let json = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<QcOptions>(&json).unwrap(), options);
    assert_eq!(serde_json::from_str::<QcOptions>("{}").unwrap(), QcOptions::default());
    assert!(serde_json::from_str::<QcOptions>(r#"{"min_gene": 3}"#).is_err());
    let names = Verdict::ALL.map(|verdict| serde_json::to_string(&verdict).unwrap());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), Verdict::ALL.len());
    assert_eq!(names[8], "\"mitochondrial\"");
    assert!(Verdict::ALL.is_sorted());
}

/// The matrix of a legacy 10x HDF5 file.
struct Legacy {
    genes: Vec<Gene>,
    barcodes: Vec<String>,
    indptr: Vec<i64>,
    indices: Vec<i64>,
    data: Vec<i32>,
}

fn legacy(path: &str) -> Option<Legacy> {
    let file = H5File::open(shared(path)?).unwrap();
    let strings =
        |name: &str| file.dataset(&format!("hg19/{name}")).unwrap().read_strings().unwrap();
    let long =
        |name: &str| file.dataset(&format!("hg19/{name}")).unwrap().read_raw::<i64>().unwrap();
    let table = Annotation::shipped().unwrap();
    let gene = |(id, symbol): (String, String)| {
        let id = id.parse().unwrap();
        let unlisted = Gene { id, symbol, biotype: Biotype::Unlisted };
        table.gene(id).map_or(unlisted, Gene::from)
    };
    Some(Legacy {
        genes: strings("genes").into_iter().zip(strings("gene_names")).map(gene).collect(),
        barcodes: strings("barcodes"),
        indptr: long("indptr"),
        indices: long("indices"),
        data: file.dataset("hg19/data").unwrap().read_raw().unwrap(),
    })
}

/// INDEX.md, oracle 1: Seurat's filter keeps exactly the 2,638 labelled cells.
/// It counts a cell's genes after leaving out those of fewer than 3 cells; we
/// count all of them, which changes no verdict here.
#[test]
fn pbmc3k_keeps_the_cells_of_seurat() {
    let folder = "data/02_pbmc3k_hg19/";
    let Some(file) = legacy(&format!("{folder}pbmc3k_filtered_gene_bc_matrices_h5.h5")) else {
        return;
    };
    let labels = text(&shared(&format!("{folder}pbmc3k_seurat_annotations.csv")).unwrap());
    let labelled: BTreeSet<&str> =
        labels.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let seurat = QcOptions {
        min_genes: Some(201),
        max_genes: Some(2_499),
        max_mitochondrial_share: Some(0.05),
        ..QcOptions::default()
    };
    let filter = CellFilter::new(&file.genes, &seurat).unwrap();
    let mut tally = [0; Verdict::ALL.len()];
    let mut kept = BTreeSet::new();
    for (cell, barcode) in file.barcodes.iter().enumerate() {
        let span = file.indptr[cell] as usize..file.indptr[cell + 1] as usize;
        let genes: Vec<u32> = file.indices[span.clone()].iter().map(|&gene| gene as u32).collect();
        let counts: Vec<u32> = file.data[span].iter().map(|&count| count as u32).collect();
        let total = counts.iter().copied().map(u64::from).sum();
        let verdict = filter.judge(total, (&genes, &counts));
        tally[Verdict::ALL.iter().position(|&known| known == verdict).unwrap()] += 1;
        if verdict == Verdict::Kept {
            kept.insert(barcode.as_str());
        }
    }
    eprintln!("pbmc3k: {:?}", Verdict::ALL.iter().zip(tally).collect::<Vec<_>>());
    assert_eq!((tally[0], labelled.len()), (2_638, 2_638));
    assert!(kept == labelled);
}
