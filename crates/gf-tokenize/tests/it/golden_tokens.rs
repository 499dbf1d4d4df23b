//! Token for token what the reference writes.
//!
//! `toy_v2_tokens.json` and `toy_v1_tokens.json` were written by the reference tokenizer (Geneformer at
//! 05fcbeb) from the cells of `toy_counts.csv`; see shared/golden/INDEX.md, A8. The reference maps a
//! few of the toy's columns by its alias dictionary (`ensembl_mapping_dict_gc104M.pkl`); the table
//! below is that part of it, so that this test is about the encoding alone.

use std::{collections::HashMap, fs, path::Path};

use arrow2::{
    array::{ListArray, PrimitiveArray},
    io::ipc::read::{StreamReader, StreamState, read_stream_metadata},
};
use gf_corpus::{GeneId, Medians};
use gf_tokenize::{Arithmetic, CellCounts, Dataset, RankEncoder, Vocabulary};
use serde_json::Value;

use crate::support::{encode, shared};

/// Columns that the reference maps to another gene of its vocabulary.
pub const ALIASES: [(&str, &str); 17] = [
    ("ENSG00000225986", "ENSG00000187980"),
    ("ENSG00000284598", "ENSG00000181323"),
    ("ENSG00000291811", "ENSG00000176230"),
    ("ENSG00000275564", "ENSG00000186431"),
    ("NEM4", "ENSG00000198467"),
    ("SEPTD1", "ENSG00000184640"),
    ("ENSG00000278516", "ENSG00000105617"),
    ("MGAT4B", "ENSG00000161013"),
    ("ENSG00000237216", "ENSG00000204632"),
    ("ENSG00000230060", "ENSG00000204420"),
    ("ENSG00000226165", "ENSG00000232629"),
    ("ENSG00000233210", "ENSG00000204438"),
    ("CD27LG", "ENSG00000125726"),
    ("ENSG00000285248", "ENSG00000196497"),
    ("ENSG00000251603", "ENSG00000164142"),
    ("ENSG00000274955", "ENSG00000189013"),
    ("CD302", "ENSG00000241399"),
];

#[test]
fn v2_tokens() {
    let aliases = ALIASES.into_iter().collect();
    check("gc104M", "toy_v2_tokens.json", RankEncoder::MAX_LEN_V2, &aliases);
}

/// V1 knows no aliases, no `<cls>`, no `<eos>` and 2,048 positions.
#[test]
fn v1_tokens() {
    check("gc30M", "toy_v1_tokens.json", RankEncoder::MAX_LEN_V1, &HashMap::new());
}

/// Column `counts` of the reference's own data set of the toy (`keep_counts`), to the last bit.
#[test]
fn counts_beside_v2_tokens() {
    let (Some(dicts), Some(golden)) = (shared("dicts"), shared("golden/ref/tokens")) else {
        return;
    };
    let vocabulary = Vocabulary::read_tsv(&dicts.join("token_dictionary_gc104M.tsv.gz")).unwrap();
    let medians = Medians::read_tsv(&dicts.join("gene_median_dictionary_gc104M.tsv.gz")).unwrap();
    let encoder = RankEncoder::new(vocabulary, &medians, RankEncoder::MAX_LEN_V2).unwrap();
    let (columns, cells) = read_counts(&golden.join("toy_counts.csv"));
    let aliases: HashMap<&str, &str> = ALIASES.into_iter().collect();
    let genes: Vec<Option<GeneId>> = columns
        .iter()
        .map(|name| aliases.get(name.as_str()).map_or(name.as_str(), |id| id).parse().ok())
        .collect();
    let folder = golden.join("toy_v2.dataset");
    let dataset = Dataset::open(&folder).unwrap();
    let ids = dataset.column("unique_cell_id").unwrap();
    let expected = reference_counts(&folder.join("data-00000-of-00001.arrow"));
    assert_eq!(expected.len(), 43);
    for (row, expected) in expected.iter().enumerate() {
        let id = ids.get(row).unwrap().text().unwrap();
        let (genes, counts) = collapsed(&encoder, &genes, &cells[&id]);
        let places: Vec<u32> = (0..counts.len() as u32).collect();
        let total = counts.iter().map(|&count| u64::from(count)).sum();
        let cell = CellCounts { genes: &places, counts: &counts, total };
        let columns = encoder.gene_columns(genes);
        let encoding = encoder.encode(&columns, cell).unwrap();
        assert_eq!(
            &encoder.normalised(&columns, cell, &encoding, Arithmetic::default()),
            expected,
            "cell {id}"
        );
    }
}

fn reference_counts(shard: &Path) -> Vec<Vec<f64>> {
    let mut file = fs::File::open(shard).unwrap();
    let metadata = read_stream_metadata(&mut file).unwrap();
    let column = metadata.schema.fields.iter().position(|field| field.name == "counts").unwrap();
    let mut rows = Vec::new();
    for state in StreamReader::new(file, metadata, None) {
        let StreamState::Some(chunk) = state.unwrap() else { break };
        let lists = chunk.arrays()[column].as_any().downcast_ref::<ListArray<i32>>().unwrap();
        for list in lists.values_iter() {
            let values = list.as_any().downcast_ref::<PrimitiveArray<f64>>().unwrap();
            rows.push(values.values().to_vec());
        }
    }
    rows
}

fn check(dictionary: &str, expected: &str, max_len: usize, aliases: &HashMap<&str, &str>) {
    let (Some(dicts), Some(golden)) = (shared("dicts"), shared("golden/ref/tokens")) else {
        return;
    };
    let vocabulary =
        Vocabulary::read_tsv(&dicts.join(format!("token_dictionary_{dictionary}.tsv.gz"))).unwrap();
    let medians =
        Medians::read_tsv(&dicts.join(format!("gene_median_dictionary_{dictionary}.tsv.gz")))
            .unwrap();
    let encoder = RankEncoder::new(vocabulary, &medians, max_len).unwrap();
    let (columns, cells) = read_counts(&golden.join("toy_counts.csv"));
    let genes: Vec<Option<GeneId>> = columns
        .iter()
        .map(|name| aliases.get(name.as_str()).map_or(name.as_str(), |id| id).parse().ok())
        .collect();
    let expected: Vec<Value> =
        serde_json::from_slice(&fs::read(golden.join(expected)).unwrap()).unwrap();
    assert_eq!(expected.len(), 43);
    for row in &expected {
        let id = row["unique_cell_id"].as_str().unwrap();
        let (genes, counts) = collapsed(&encoder, &genes, &cells[id]);
        let (tokens, _) = encode(&encoder, &genes, &counts).unwrap();
        let expected: Vec<u32> = serde_json::from_value(row["input_ids"].clone()).unwrap();
        assert_eq!(tokens, expected, "cell {id}");
    }
}

/// The reference's columns: those of one gene summed, single ones first. Every count stays in the
/// total, so counts without a gene of the vocabulary keep a column.
fn collapsed(
    encoder: &RankEncoder,
    genes: &[Option<GeneId>],
    counts: &[u32],
) -> (Vec<GeneId>, Vec<u32>) {
    let unmapped: GeneId = "ENSG99999999999".parse().unwrap();
    let known = |gene: &Option<GeneId>| {
        gene.filter(|&gene| encoder.vocabulary().id(gene).is_some()).unwrap_or(unmapped)
    };
    let ids: Vec<GeneId> = genes.iter().map(known).collect();
    let mut n_columns: HashMap<GeneId, u32> = HashMap::new();
    ids.iter().for_each(|&id| *n_columns.entry(id).or_default() += 1);
    let mut columns: Vec<GeneId> = ids.iter().copied().filter(|id| n_columns[id] == 1).collect();
    for &id in ids.iter().filter(|id| n_columns[id] > 1) {
        if !columns.contains(&id) {
            columns.push(id);
        }
    }
    let sum = |column: &GeneId| {
        ids.iter().zip(counts).filter(|(id, _)| *id == column).map(|(_, count)| count).sum()
    };
    let sums = columns.iter().map(sum).collect();
    (columns, sums)
}

/// Gene names, and the counts of every cell by its name.
fn read_counts(path: &Path) -> (Vec<String>, HashMap<String, Vec<u32>>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let columns = lines.next().unwrap().split(',').skip(1).map(str::to_owned).collect();
    let cells = lines.map(|line| {
        let (id, counts) = line.split_once(',').unwrap();
        (id.to_owned(), counts.split(',').map(|count| count.parse().unwrap()).collect())
    });
    (columns, cells.collect())
}
