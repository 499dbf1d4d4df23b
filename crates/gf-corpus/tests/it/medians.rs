//! Medians against brute force, golden vectors and their own table.

use gf_corpus::{
    CountMatrix, Corpus, Error, IngestOptions, MEDIAN_SKETCH_ERROR, MedianSketch, Medians, Selection, cp10k, nonzero_medians,
};
use proptest::prelude::*;

use crate::support::{Mex, SYMBOLS, every_cell, go_on, immune, lenient, run, shared};

fn brute_force(rows: &[Vec<u32>]) -> Vec<Option<f64>> {
    let median = |gene: usize| {
        let total = |row: &Vec<u32>| row.iter().map(|&n| u64::from(n)).sum();
        let detected = rows.iter().filter(|row| row[gene] > 0);
        let mut values: Vec<f64> = detected.map(|row| cp10k(row[gene], total(row))).collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
    };
    (0..SYMBOLS.len()).map(median).collect()
}

/// Cells × genes as a corpus, through a MEX folder.
fn medians_of(rows: &[Vec<u32>]) -> ((tempfile::TempDir, Corpus), Medians) {
    let texts: Vec<(usize, usize, String)> = rows
        .iter()
        .enumerate()
        .flat_map(|(cell, row)| {
            row.iter().enumerate().map(move |(gene, n)| (gene, cell, n.to_string()))
        })
        .collect();
    let entries: Vec<(usize, usize, &str)> =
        texts.iter().map(|(g, c, n)| (*g, *c, n.as_str())).collect();
    let folder = tempfile::tempdir().unwrap();
    let input = Mex::new(&SYMBOLS, rows.len(), &entries).write(folder.path(), "");
    let options = IngestOptions { keep_copies: true, ..every_cell() };
    let (folder, corpus, _) = run(&[input], &options).unwrap();
    let medians = nonzero_medians(&corpus, Selection::ALL, &mut go_on).unwrap();
    ((folder, corpus), medians)
}

fn sketch(corpus: &Corpus) -> MedianSketch {
    MedianSketch::of(corpus, Selection::ALL, &mut go_on).unwrap()
}

#[test]
fn sketches_of_parts_are_the_sketch_of_the_whole() {
    let rows: Vec<Vec<u32>> = (0..40u32).map(|cell| (0..10).map(|gene| (cell * 7 + gene * 3) % 11).collect()).collect();
    let (whole, _) = medians_of(&rows);
    let parts = [&rows[..15], &rows[15..]].map(|rows| sketch(&medians_of(rows).0.1));
    let folder = tempfile::tempdir().unwrap();
    let mut sum = MedianSketch::default();
    // The order of the parts changes nothing, nor does the way over a file.
    for part in parts.iter().rev() {
        let path = folder.path().join("part.sketch");
        part.write(&path).unwrap();
        let read = MedianSketch::read(&path).unwrap();
        assert_eq!(&read, part);
        sum.merge(&read).unwrap();
    }
    assert_eq!(sum, sketch(&whole.1));
    assert_eq!(sum.n_cells(), 40);
}

#[test]
fn broken_sketches_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.sketch");
    let header = "#gf-corpus median sketch\tversion 1\t7 mantissa bits\t3 cells";
    let refuse = |text: &str, line: u64| {
        std::fs::write(&path, text).unwrap();
        let error = MedianSketch::read(&path).unwrap_err();
        assert!(matches!(error, Error::Line { line: l, .. } if l == line), "{text:?}: {error}");
    };
    refuse("ensembl_id\tnonzero_median\n", 1);
    refuse("", 0);
    let good = "ENSG00000000003\t131000\t1 0 2";
    std::fs::write(&path, format!("{header}\n{good}\n")).unwrap();
    assert_eq!(MedianSketch::read(&path).unwrap().medians().len(), 1);
    refuse(&format!("{header}\n{good}\n{good}\n"), 3);
    refuse(&format!("{header}\nENSG00000000003\t131000\t0 0\n"), 2);
    refuse(&format!("{header}\nENSG00000000003\t18446744073709551615\t1\n"), 2);
    refuse(&format!("{header}\nENSG00000000003\t131000\t4294967296\n"), 2);
    refuse(&format!("{header}\nENSG00000000003\t131000\t-1\n"), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn medians_equal_brute_force(
        rows in prop::collection::vec(
            prop::collection::vec(prop_oneof![3 => Just(0u32), 3 => 1u32..4, 1 => 1u32..100_000], SYMBOLS.len()),
            1..40,
        )
    ) {
        let (corpus, medians) = medians_of(&rows);
        let sketched = sketch(&corpus.1).medians();
        for (gene, expected) in corpus.1.genes().iter().zip(brute_force(&rows)) {
            prop_assert_eq!(medians.get(gene.id), expected);
            let found = sketched.get(gene.id);
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some(expected)) = (found, expected) {
                prop_assert!((found / expected - 1.0).abs() <= MEDIAN_SKETCH_ERROR, "{} {}", found, expected);
            }
        }
    }
}

#[test]
fn immune_cells_against_brute_force() {
    let (_folder, corpus, _) = lenient(&[immune()], None).unwrap();
    let medians = nonzero_medians(&corpus, Selection::ALL, &mut go_on).unwrap();
    let mut values = vec![Vec::new(); corpus.genes().len()];
    for block in corpus.blocks().map(Result::unwrap) {
        for ((genes, counts), &total) in block.counts.rows().zip(&block.totals) {
            for (&gene, &count) in genes.iter().zip(counts) {
                values[gene as usize].push(cp10k(count, total));
            }
        }
    }
    let mut n_detected = 0;
    for (gene, mut values) in corpus.genes().iter().zip(values) {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let expected = (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0);
        assert_eq!(medians.get(gene.id), expected, "{gene:?}");
        n_detected += usize::from(n > 0);
    }
    assert_eq!(medians.len(), n_detected);
}

#[test]
fn table_reads_back_as_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("medians.tsv");
    let id = |n: u64| format!("ENSG{n:011}").parse().unwrap();
    let medians =
        Medians::new(vec![(id(7), 0.1 + 0.2), (id(3), 7.158424271565943e-07), (id(5), 255.0)])
            .unwrap();
    medians.write_tsv(&path).unwrap();
    assert_eq!(Medians::read_tsv(&path).unwrap(), medians);
    assert!(medians.iter().is_sorted_by_key(|(id, _)| id));
    assert!(Medians::new(vec![(id(7), 1.0), (id(7), 1.0)]).is_err());
    let refuse = |row: &str, found: &str| {
        std::fs::write(&path, format!("ensembl_id\tnonzero_median\n{row}\n")).unwrap();
        let error = Medians::read_tsv(&path).unwrap_err();
        assert!(matches!(&error, Error::Line { line: 2, found: f, .. } if f == found), "{error}");
    };
    refuse("ENSG00000000003\t0", "ENSG00000000003\t0");
    refuse("ENSG00000000003\tinf", "ENSG00000000003\tinf");
    refuse("TP53\t1.0", "TP53\t1.0");
}

#[test]
fn the_reference_tables_are_read() {
    let check = |name: &str, n_genes, id: &str, expected| {
        let Some(path) = shared(&format!("dicts/gene_median_dictionary_{name}.tsv.gz")) else {
            return;
        };
        let medians = Medians::read_tsv(&path).unwrap();
        assert_eq!(medians.len(), n_genes);
        assert_eq!(medians.get(id.parse().unwrap()), Some(expected));
    };
    // Spot values of REFERENCE §0.2: GATA4.
    check("gc104M", 42_005, "ENSG00000136574", 3.211_414_166_546_493_5);
    let Some(path) = shared("dicts/gene_median_dictionary_gc30M.tsv.gz") else { return };
    assert_eq!(Medians::read_tsv(&path).unwrap().len(), 25_424);
}

#[test]
fn a_caller_may_stop() {
    let (_folder, corpus, _) = lenient(&[immune()], None).unwrap();
    let stop = &mut |_| std::ops::ControlFlow::Break(());
    assert!(matches!(nonzero_medians(&corpus, Selection::ALL, stop), Err(Error::Cancelled)));
}

#[test]
fn matrices_refuse_broken_parts() {
    let check = |indptr: &[usize], indices: &[u32], values: &[u32], reason: &str| {
        let made = CountMatrix::from_parts(indptr.to_vec(), indices.to_vec(), values.to_vec(), 4);
        let message = made.unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    };
    check(&[], &[], &[], "row offsets do not span");
    check(&[0, 1], &[0, 1], &[1, 1], "row offsets do not span");
    check(&[0, 2], &[0, 1], &[1], "as many genes as counts");
    check(&[0, 2, 1, 2], &[0, 1], &[1, 1], "cell 1: row offsets descend");
    check(&[0, 1, 3], &[0, 2, 1], &[1, 1, 1], "cell 1: gene indices do not ascend");
    check(&[0, 2], &[1, 1], &[1, 1], "cell 0: gene indices do not ascend");
    check(&[0, 1], &[4], &[1], "cell 0: a gene index is out of range");
    check(&[0, 1, 1, 2], &[0, 1], &[1, 0], "cell 2: a stored count is zero");
}
