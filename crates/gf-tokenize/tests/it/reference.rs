//! Files through our readers by the reference's rules: its tokens, one by one.
//!
//! `toy_v2_tokens.json`, `toy_v1_tokens.json` and `toy_v2_loom.dataset` were written by the reference
//! (Geneformer at 05fcbeb) from `toy.h5ad` and `toy.loom`; see shared/golden/INDEX.md, A8.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use gf_corpus::{
    Collapse, FileCells, GeneMap, IngestOptions, Medians, QcOptions, SourceOptions, Study,
};
use gf_tokenize::{
    Compat, Dataset, RankEncoder, TokenizeOptions, TokenizeReport, Vocabulary, tokenize,
};
use serde_json::Value;

use crate::support::shared;

/// What the reference has for a model version.
struct Version {
    name: &'static str,
    max_len: usize,
}

const V2: Version = Version { name: "gc104M", max_len: RankEncoder::MAX_LEN_V2 };
const V1: Version = Version { name: "gc30M", max_len: RankEncoder::MAX_LEN_V1 };

fn encoder(dicts: &Path, version: &Version) -> RankEncoder {
    let open = |what: &str| dicts.join(format!("{what}_dictionary_{}.pkl", version.name));
    let vocabulary = Vocabulary::open(&open("token")).unwrap();
    RankEncoder::new(vocabulary, &Medians::open(&open("gene_median")).unwrap(), version.max_len)
        .unwrap()
}

/// Tokenises files as the reference does.
fn run(
    paths: &[PathBuf],
    mapping: Option<&Path>,
    encoder: &RankEncoder,
    kept: &[&str],
    out: &Path,
) -> gf_tokenize::Result<TokenizeReport> {
    let genes = encoder.vocabulary().genes().map(|(gene, _)| gene);
    let options = IngestOptions {
        source: SourceOptions { layer: None, gene_column: Some("ensembl_id".into()) },
        genes: GeneMap::reference(mapping, genes).unwrap(),
        collapse: Collapse::Reference,
        qc: QcOptions { min_protein_coding: 0, ..QcOptions::default() },
        ..IngestOptions::default()
    };
    let studies = paths.iter().enumerate().map(|(at, path)| Study::new(format!("s{at}"), path));
    let mut cells = FileCells::open(studies.collect(), options).unwrap();
    let columns = kept.iter().map(|&name| name.to_owned()).collect();
    let options = TokenizeOptions { columns, compat: Compat::Reference, ..Default::default() };
    tokenize(&mut cells, encoder, out, &options, &mut |_| ControlFlow::Continue(()))
}

/// Rows of a data set as JSON objects like the golden ones.
fn rows(dataset: &Dataset, kept: &[&str]) -> Vec<Value> {
    let columns: Vec<_> = kept.iter().map(|name| dataset.column(name).unwrap()).collect();
    let row = |row: usize| {
        let tokens = dataset.tokens(row).unwrap();
        let mut object = serde_json::json!({ "input_ids": &*tokens, "length": tokens.len() });
        for (name, column) in kept.iter().zip(&columns) {
            object[name] = column.get(row).unwrap().text().into();
        }
        object
    };
    (0..dataset.len()).map(row).collect()
}

#[track_caller]
fn check(file: &str, version: &Version, kept: &[&str], expected: impl FnOnce(&Path) -> Vec<Value>) {
    let (Some(dicts), Some(golden)) = (shared("dicts"), shared("golden/ref/tokens")) else {
        return;
    };
    let mapping = dicts.join(format!("ensembl_mapping_dict_{}.pkl", version.name));
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("toy.dataset");
    let encoder = encoder(&dicts, version);
    let report = run(&[golden.join(file)], Some(&mapping), &encoder, kept, &out).unwrap();
    let expected = expected(&golden);
    assert_eq!(expected.len(), 43);
    assert_eq!(report.written, 43);
    assert!(report.not_passed > 0);
    for (found, expected) in rows(&Dataset::open(&out).unwrap(), kept).iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

fn json(name: &'static str) -> impl FnOnce(&Path) -> Vec<Value> {
    move |golden| serde_json::from_slice(&fs::read(golden.join(name)).unwrap()).unwrap()
}

#[test]
fn v2_h5ad() {
    check(
        "toy.h5ad",
        &V2,
        &["cell_type", "disease", "individual", "unique_cell_id"],
        json("toy_v2_tokens.json"),
    );
}

#[test]
fn v2_loom() {
    let kept = &["unique_cell_id"];
    check("toy.loom", &V2, kept, |golden| {
        rows(&Dataset::open(&golden.join("toy_v2_loom.dataset")).unwrap(), kept)
    });
}

#[test]
fn v1_h5ad() {
    check("toy.h5ad", &V1, &["disease", "unique_cell_id"], json("toy_v1_tokens.json"));
}

/// Several files come one after the other, and the same again gives the same bytes.
#[test]
fn files_in_order() {
    let (Some(dicts), Some(golden)) = (shared("dicts"), shared("golden/ref/tokens")) else {
        return;
    };
    let encoder = encoder(&dicts, &V2);
    let mapping = dicts.join("ensembl_mapping_dict_gc104M.pkl");
    let scratch = tempfile::tempdir().unwrap();
    let written = |name: &str, files: &[&str]| {
        let out = scratch.path().join(name);
        let paths: Vec<PathBuf> = files.iter().map(|file| golden.join(file)).collect();
        run(&paths, Some(&mapping), &encoder, &[], &out).unwrap();
        rows(&Dataset::open(&out).unwrap(), &[])
    };
    let [h5ad, loom] = ["toy.h5ad", "toy.loom"].map(|file| written(file, &[file]));
    let both = written("both", &["toy.h5ad", "toy.loom"]);
    assert_eq!(both[..h5ad.len()], h5ad);
    assert_eq!(both[h5ad.len()..], loom);
}
