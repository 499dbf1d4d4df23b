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
    Biotype, Collapse, CountMatrix, FileCells, Gene, GeneMap, H5adWriter, IngestOptions, Medians,
    MetadataColumn, MetadataField, MetadataKind, QcOptions, SourceOptions, Study,
};
use gf_tokenize::{
    Compat, Dataset, RankEncoder, TokenizeOptions, TokenizeReport, Vocabulary, tokenize,
};
use serde_json::Value;

use crate::support::{gene, nine_genes, shared};

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

/// How the reference reads files whose genes this column names.
fn reading(column: &str, mapping: Option<&Path>, encoder: &RankEncoder) -> IngestOptions {
    let genes = encoder.vocabulary().genes().map(|(gene, _)| gene);
    IngestOptions {
        source: SourceOptions { layer: None, gene_column: Some(column.into()) },
        genes: GeneMap::reference(mapping, genes).unwrap(),
        collapse: Collapse::Reference,
        qc: QcOptions { min_protein_coding: 0, ..QcOptions::default() },
        ..IngestOptions::default()
    }
}

/// Tokenises files as the reference does.
fn run(
    paths: &[PathBuf],
    mapping: Option<&Path>,
    encoder: &RankEncoder,
    kept: &[&str],
    out: &Path,
) -> gf_tokenize::Result<TokenizeReport> {
    run_as(reading("ensembl_id", mapping, encoder), paths, encoder, kept, out)
}

fn run_as(
    options: IngestOptions,
    paths: &[PathBuf],
    encoder: &RankEncoder,
    kept: &[&str],
    out: &Path,
) -> gf_tokenize::Result<TokenizeReport> {
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

/// A file of one cell whose genes have these names and ids, all counts in `n_counts`.
fn one_cell(path: &Path, genes: &[(&str, u64)], counts: &[u32]) {
    let row = |&(name, number): &(&str, u64)| Gene {
        id: gene(number),
        symbol: name.to_owned(),
        biotype: Biotype::ProteinCoding,
    };
    let genes: Vec<Gene> = genes.iter().map(row).collect();
    let total = MetadataField::new("n_counts", MetadataKind::Integer);
    let mut writer = H5adWriter::create(path, &genes, &[total]).unwrap();
    let mut matrix = CountMatrix::new(genes.len());
    matrix.push_row((0..).zip(counts.iter().copied()).collect()).unwrap();
    let sum = counts.iter().map(|&count| i64::from(count)).sum();
    let totals = MetadataColumn::Integers(vec![Some(sum)]);
    writer.push_cells(&["cell"], &matrix, &[totals]).unwrap();
    writer.finish().unwrap();
}

/// The tokens of the cell of such a file, whose genes `column` names; `alias` stands for gene 1.
fn tokens(
    column: &str,
    genes: &[(&str, u64)],
    counts: &[u32],
    collapse: Collapse,
) -> gf_tokenize::Result<Vec<i32>> {
    let scratch = tempfile::tempdir().unwrap();
    let [path, map, out] = ["cell.h5ad", "map.tsv", "out"].map(|name| scratch.path().join(name));
    one_cell(&path, genes, counts);
    let known = (1..10).map(|number| format!("{0}\t{0}\n", gene(number)));
    let map_text = format!("ALIAS\t{}\n{}", gene(1), known.collect::<String>());
    fs::write(&map, map_text).unwrap();
    let encoder = nine_genes();
    let options = IngestOptions { collapse, ..reading(column, Some(&map), &encoder) };
    run_as(options, &[path], &encoder, &[], &out)?;
    Ok(Dataset::open(&out)?.tokens(0)?.into_owned())
}

/// Genes 1 and 2 of [`nine_genes`] as tokens.
const ONE: i32 = 4;
const TWO: i32 = 5;

/// REFERENCE.md 1.3: the same id in two columns and nothing else to collapse, and a name in small
/// letters beside its own id, are not summed: a cell gets the token once for each column.
#[test]
fn columns_of_a_gene_stay_apart_where_the_reference_sees_nothing_to_sum() {
    let index = tokens("index", &[("", 1), ("", 2), ("", 1)], &[5, 3, 2], Collapse::Reference);
    assert_eq!(index.unwrap(), [2, ONE, TWO, ONE, 3]);
    let ids = [gene(1).to_string(), gene(2).to_string()];
    let small = [("alias", 7), (ids[1].as_str(), 7), (ids[0].as_str(), 7)];
    let named = tokens("gene_symbol", &small, &[2, 3, 5], Collapse::Reference);
    assert_eq!(named.unwrap(), [2, ONE, TWO, ONE, 3]);
}

/// In capitals the same name is seen: the columns are summed, and come last, which ties show.
#[test]
fn columns_of_a_gene_are_summed_where_the_reference_sees_it() {
    let ids = [gene(1).to_string(), gene(2).to_string()];
    let genes = [("ALIAS", 7), (ids[1].as_str(), 7), (ids[0].as_str(), 7)];
    let found = |counts, collapse| tokens("gene_symbol", &genes, counts, collapse).unwrap();
    assert_eq!(found(&[2, 3, 5], Collapse::Reference), [2, ONE, TWO, 3]);
    assert_eq!(found(&[1, 3, 2], Collapse::Reference), [2, TWO, ONE, 3]);
    assert_eq!(found(&[1, 3, 2], Collapse::Sum), [2, ONE, TWO, 3]);
}

/// A column that names the genes alone does; one that is not there is named with those there are.
#[test]
fn the_column_of_gene_names() {
    let ids = [gene(1).to_string(), gene(2).to_string()];
    let genes = [(ids[1].as_str(), 1), (ids[0].as_str(), 3)];
    let found = |column| tokens(column, &genes, &[5, 3], Collapse::Reference);
    assert_eq!(found("gene_symbol").unwrap(), [2, TWO, ONE, 3]);
    assert_eq!(found("index").unwrap(), [2, ONE, TWO + 1, 3]);
}

#[test]
fn a_column_of_gene_names_that_is_not_there() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cell.h5ad");
    one_cell(&path, &[("", 1)], &[5]);
    let options = reading("ensembl_id", None, &nine_genes());
    let error = FileCells::open(vec![Study::new("s", &path)], options).err().unwrap().to_string();
    for part in ["cell.h5ad", "biotype, gene_symbol", "a column ensembl_id"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
}
