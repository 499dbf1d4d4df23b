//! From counts on disk through a corpus to a data set.

use std::{
    collections::HashMap,
    fmt::Write,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use gf_corpus::{Corpus, CorpusCells, Found, IngestOptions, Medians, QcOptions, Selection, ingest};
use gf_tokenize::{
    Dataset, Error, RankEncoder, TokenizeOptions, TokenizeReport, Vocabulary, tokenize,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    golden_tokens::ALIASES,
    support::{encode, gene, shared},
};

const N_GENES: u64 = 40;
const N_CELLS: u64 = 2_500;

pub fn corpus_of(input: PathBuf) -> (TempDir, Corpus) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("corpus");
    let qc = QcOptions { min_protein_coding: 0, ..Default::default() };
    // The made cells repeat themselves.
    let options = IngestOptions { qc, keep_copies: true, ..Default::default() };
    let catalogue = Found::under(&[input]).unwrap().catalogue;
    let go_on = &mut |_: &_, _| ControlFlow::Continue(());
    ingest(&catalogue, &folder, &options, go_on).unwrap();
    let corpus = Corpus::open(&folder).unwrap();
    (scratch, corpus)
}

/// Counts of cell `cell`: gene 0 in every cell, others in some.
fn count(cell: u64, gene: u64) -> u32 {
    match (gene, cell) {
        (0, _) => 5,
        (_, 17 | 2_400) => 0,
        _ => ((cell * 31 + gene * 17) % 7 * ((cell + gene * gene) % 3)) as u32,
    }
}

fn counts(cell: u64) -> Vec<u32> {
    (0..N_GENES).map(|gene| count(cell, gene)).collect()
}

/// A corpus of cells `c0`, `c1` … over genes 1, 2 …, made through a MatrixMarket folder.
pub fn synthetic() -> (TempDir, Corpus) {
    let scratch = tempfile::tempdir().unwrap();
    let mut entries = String::new();
    let mut n_entries = 0;
    for (cell, gene) in (0..N_CELLS).flat_map(|cell| (0..N_GENES).map(move |gene| (cell, gene))) {
        if count(cell, gene) > 0 {
            n_entries += 1;
            writeln!(entries, "{} {} {}", gene + 1, cell + 1, count(cell, gene)).unwrap();
        }
    }
    let header = format!(
        "%%MatrixMarket matrix coordinate integer general\n{N_GENES} {N_CELLS} {n_entries}\n"
    );
    let genes: String = (1..=N_GENES).map(|number| format!("{0}\t{0}\n", gene(number))).collect();
    let barcodes: String = (0..N_CELLS).map(|cell| format!("c{cell}\n")).collect();
    fs::write(scratch.path().join("matrix.mtx"), header + &entries).unwrap();
    fs::write(scratch.path().join("genes.tsv"), genes).unwrap();
    fs::write(scratch.path().join("barcodes.tsv"), barcodes).unwrap();
    corpus_of(scratch.path().to_owned())
}

/// Knows every gene but the first, so that cells 17 and 2,400 have none.
pub fn encoder() -> RankEncoder {
    let genes = (2..=N_GENES).map(gene);
    let medians = genes.clone().zip((0..).map(|idx| 1.0 + f64::from(idx % 5)));
    RankEncoder::from_medians(Vocabulary::from_genes(genes), medians, 12).unwrap()
}

pub fn run(
    corpus: &Corpus,
    encoder: &RankEncoder,
    out: &Path,
    options: &TokenizeOptions,
) -> gf_tokenize::Result<TokenizeReport> {
    let mut cells = CorpusCells::new(corpus, Selection::ALL);
    tokenize(&mut cells, encoder, out, options, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn every_cell_in_order_or_named() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("a.dataset");
    let encoder = encoder();
    let report = run(&corpus, &encoder, &out, &TokenizeOptions::default()).unwrap();
    let genes: Vec<_> = (1..=N_GENES).map(gene).collect();
    let expected: Vec<_> = (0..N_CELLS)
        .filter_map(|cell| Some((format!("c{cell}"), encode(&encoder, &genes, &counts(cell))?)))
        .collect();
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(dataset.len(), expected.len());
    for (row, (id, (tokens, _))) in expected.iter().enumerate() {
        assert_eq!(&dataset.cell_id(row).unwrap(), id);
        assert!(
            dataset
                .tokens(row)
                .unwrap()
                .iter()
                .map(|&token| token as u32)
                .eq(tokens.iter().copied()),
            "{id}"
        );
    }
    assert_eq!((report.cells, report.written, report.dropped), (N_CELLS, N_CELLS - 2, 2));
    assert_eq!(report.dropped_cells, ["c17", "c2400"]);
    assert_eq!(
        report.truncated,
        expected.iter().filter(|(_, (_, truncated))| *truncated).count() as u64
    );
    assert_eq!(
        report.tokens,
        expected.iter().map(|(_, (tokens, _))| tokens.len() as u64).sum::<u64>()
    );
    assert_eq!(report.lengths.iter().map(|(_, cells)| cells).sum::<u64>(), report.written);
    assert!(report.truncated > 0 && report.lengths.median() == Some(12));
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let options = TokenizeOptions { shard_rows: 999, ..Default::default() };
    let folder = |threads: usize| {
        let out = scratch.path().join(format!("{threads}.dataset"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&corpus, &encoder(), &out, &options)).unwrap();
        contents(&out)
    };
    let one = folder(1);
    assert_eq!(one.len(), 3 + 4);
    assert!(one == folder(2) && one == folder(5));
}

pub fn contents(folder: &Path) -> HashMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn breaking_off_leaves_nothing() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut progress = |progress: gf_tokenize::Progress| {
        seen.push(progress.done);
        if progress.done > 1_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let out = scratch.path().join("a.dataset");
    let mut cells = CorpusCells::new(&corpus, Selection::ALL);
    let error = tokenize(&mut cells, &encoder(), &out, &TokenizeOptions::default(), &mut progress)
        .unwrap_err();
    assert!(
        matches!(error, Error::Interrupted { done, total: N_CELLS, rows: 0, .. } if done > 1_000),
        "{error}"
    );
    assert!(seen.is_sorted() && !seen.is_empty());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn unknown_columns_are_named() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let options = TokenizeOptions { columns: vec!["age".into()], ..Default::default() };
    let error = run(&corpus, &encoder(), &scratch.path().join("a"), &options).unwrap_err();
    assert!(matches!(&error, Error::NoSuchColumn { column, .. } if column == "age"), "{error}");
}

/// A retired id and the same gene's id of today, of which gc104M has both: ours takes the latter.
const TWICE_IN_GC104M: [&str; 2] = ["ENSG00000254462", "ENSG00000288534"];

/// The reference's h5ad through our own reader and our own gene table, token for token, but for the
/// seventeen genes that the reference reaches through old ids and aliases (ours is another table) and
/// the one gene of the toy that has two tokens.
#[test]
fn the_toy_h5ad_as_the_reference_tokenises_it() {
    let (Some(dicts), Some(golden)) = (shared("dicts"), shared("golden/ref/tokens")) else {
        return;
    };
    let vocabulary = Vocabulary::read_tsv(&dicts.join("token_dictionary_gc104M.tsv.gz")).unwrap();
    let medians = Medians::read_tsv(&dicts.join("gene_median_dictionary_gc104M.tsv.gz")).unwrap();
    let encoder = RankEncoder::new(vocabulary, &medians, RankEncoder::MAX_LEN_V2).unwrap();
    let (_guard, corpus) = corpus_of(golden.join("toy.h5ad"));
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("toy.dataset");
    let options = TokenizeOptions {
        columns: vec!["cell_type".into(), "disease".into()],
        ..Default::default()
    };
    run(&corpus, &encoder, &out, &options).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let rows: HashMap<String, usize> =
        (0..dataset.len()).map(|row| (dataset.cell_id(row).unwrap(), row)).collect();
    let types = dataset.column("cell_type").unwrap();
    let aliased: Vec<i32> = ALIASES
        .iter()
        .map(|&(_, id)| id)
        .chain(TWICE_IN_GC104M)
        .map(|id| encoder.vocabulary().id(id.parse().unwrap()).unwrap().0 as i32)
        .collect();
    let others = |tokens: &[i32]| -> Vec<i32> {
        tokens.iter().copied().filter(|token| !aliased.contains(token)).collect()
    };
    let expected: Vec<Value> =
        serde_json::from_slice(&fs::read(golden.join("toy_v2_tokens.json")).unwrap()).unwrap();
    for cell in &expected {
        let id = cell["unique_cell_id"].as_str().unwrap();
        let row = rows[id];
        assert_eq!(types.get(row).unwrap().text().as_deref(), cell["cell_type"].as_str());
        let theirs: Vec<i32> = serde_json::from_value(cell["input_ids"].clone()).unwrap();
        assert_eq!(others(&dataset.tokens(row).unwrap()), others(&theirs), "cell {id}");
    }
}
