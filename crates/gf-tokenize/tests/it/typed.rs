//! Metadata of every kind and counts: written, read, filtered, split.

use std::path::{Path, PathBuf};

use gf_tokenize::{
    Arithmetic, CellCounts, Dataset, DatasetWriter, Error, Fractions, MetadataKind,
    MetadataValue as V, ModelTokens, RankEncoder, Split, Vocabulary, WriterOptions,
};
use proptest::{collection::vec, option, prelude::*};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::Value;

use crate::support::{gene, nine_genes, sequence};

#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    integer: Option<i64>,
    float: Option<f64>,
    boolean: Option<bool>,
    n_genes: usize,
}

impl Row {
    fn values(&self) -> [V<'_>; 4] {
        [
            self.text.as_deref().map_or(V::Missing, V::Text),
            self.integer.map_or(V::Missing, V::Integer),
            self.float.map_or(V::Missing, V::Float),
            self.boolean.map_or(V::Missing, V::Boolean),
        ]
    }

    fn counts(&self) -> Vec<f64> {
        (0..self.n_genes + 2).map(|idx| idx as f64 / 3.0).collect()
    }
}

const KINDS: [(&str, MetadataKind); 4] = [
    ("donor", MetadataKind::Text),
    ("age", MetadataKind::Integer),
    ("score", MetadataKind::Float),
    ("healthy", MetadataKind::Boolean),
];

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        option::of("[abc]{0,1}"),
        option::of(prop_oneof![0i64..4, any::<i64>()]),
        option::of(prop_oneof![Just(0.5), -1e300..1e300, Just(2.0)]),
        option::of(any::<bool>()),
        1usize..6,
    );
    let row = row.prop_map(|(text, integer, float, boolean, n_genes)| Row {
        text,
        integer,
        float,
        boolean,
        n_genes,
    });
    vec(row, 0..60)
}

fn write(parent: &Path, rows: &[Row], shard_rows: usize) -> PathBuf {
    let folder = parent.join("a.dataset");
    let columns = KINDS.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    let options = WriterOptions { columns, counts: true, shard_rows };
    let mut writer = DatasetWriter::create(&folder, options).unwrap();
    for (idx, row) in rows.iter().enumerate() {
        let tokens: Vec<u32> = (0..row.n_genes as u32 + 2).map(|token| token + 2).collect();
        let id = format!("cell {idx}");
        writer.push_counted(&id, &sequence(&tokens), &row.counts(), &row.values()).unwrap();
    }
    let encoder = nine_genes();
    writer.finish(encoder.vocabulary(), encoder.medians_hash(), encoder.max_len()).unwrap();
    folder
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_kind_comes_back(rows in rows(), shard_rows in 1usize..20) {
        let scratch = tempfile::tempdir().unwrap();
        let dataset = Dataset::open(&write(scratch.path(), &rows, shard_rows)).unwrap();
        let names = ["input_ids", "cell_id", "counts", "donor", "age", "score", "healthy", "length"];
        prop_assert_eq!(dataset.columns(), names);
        prop_assert_eq!(dataset.unread_columns(), [("counts", "list<float64>".to_owned())]);
        for (idx, (name, kind)) in KINDS.into_iter().enumerate() {
            let column = dataset.column(name).unwrap();
            prop_assert_eq!(column.kind(), kind);
            for (row, value) in rows.iter().zip(column.iter()) {
                prop_assert_eq!(value.unwrap(), row.values()[idx]);
            }
        }
    }

    /// A filter keeps what a loop keeps, a longest-first order is a stable sort, and a split by
    /// group parts no group and loses no row.
    #[test]
    fn selections_are_what_loops_say(rows in rows(), seed in any::<u64>(), valid in 0.0f64..0.5, test in 0.0f64..0.5) {
        let scratch = tempfile::tempdir().unwrap();
        let dataset = Dataset::open(&write(scratch.path(), &rows, 7)).unwrap();
        let all = 0..rows.len();
        let check = |column: &str, wanted: &[V<'_>], keeps: &dyn Fn(&Row) -> bool| {
            let expected: Vec<usize> = all.clone().filter(|&row| keeps(&rows[row])).collect();
            assert_eq!(dataset.filter(column, wanted).unwrap(), expected);
        };
        check("donor", &[V::Text("a"), V::Missing], &|row| row.text.as_deref().is_none_or(|text| text == "a"));
        check("age", &[V::Text("2"), V::Float(3.0)], &|row| matches!(row.integer, Some(2 | 3)));
        check("score", &[V::Integer(2), V::Text("0.5")], &|row| matches!(row.float, Some(2.0 | 0.5)));
        check("healthy", &[V::Text("True")], &|row| row.boolean == Some(true));
        check("healthy", &[V::Boolean(false), V::Text("false")], &|row| row.boolean == Some(false));
        check("cell_id", &[], &|_| false);

        let mut expected: Vec<usize> = all.clone().rev().collect();
        expected.sort_by_key(|&row| std::cmp::Reverse(rows[row].n_genes));
        prop_assert_eq!(dataset.longest_first(all.clone().rev()).unwrap(), expected);
        let lengths = dataset.lengths(all.clone()).unwrap();
        for (length, cells) in lengths.iter() {
            let same = rows.iter().filter(|row| row.n_genes + 2 == length).count();
            prop_assert_eq!(cells, same as u64);
        }

        let fractions = Fractions { valid, test };
        let draw = || Split::by_group(&dataset, "donor", fractions, &mut ChaCha8Rng::seed_from_u64(seed));
        let Ok(split) = draw() else { return Ok(()) };
        prop_assert_eq!(&split, &draw().unwrap());
        let mut whole = [&split.train[..], &split.valid, &split.test].concat();
        whole.sort_unstable();
        prop_assert!(whole.into_iter().eq(all));
        let donors = |part: &[usize]| part.iter().map(|&row| rows[row].text.clone()).collect::<std::collections::BTreeSet<_>>();
        let [train, valid_donors, test_donors] = [&split.train, &split.valid, &split.test].map(|part| donors(part));
        prop_assert!(train.is_disjoint(&valid_donors) && train.is_disjoint(&test_donors) && valid_donors.is_disjoint(&test_donors));
        prop_assert!(!split.train.is_empty());
        prop_assert_eq!((split.valid.is_empty(), split.test.is_empty()), (valid == 0.0, test == 0.0));
    }
}

#[test]
fn groups_are_held_out_near_their_share() {
    let donor = |idx: usize| Some(format!("{}", idx % 10));
    let row = |idx| Row { text: donor(idx), integer: None, float: None, boolean: None, n_genes: 1 };
    let rows: Vec<Row> = (0..100).map(row).collect();
    let scratch = tempfile::tempdir().unwrap();
    let dataset = Dataset::open(&write(scratch.path(), &rows, 100)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let fractions = Fractions { valid: 0.2, test: 0.1 };
    let split = Split::by_group(&dataset, "donor", fractions, &mut rng).unwrap();
    assert_eq!([split.train.len(), split.valid.len(), split.test.len()], [70, 20, 10]);
    let refused = Split::by_group(&dataset, "age", fractions, &mut rng).unwrap_err();
    assert!(matches!(refused, Error::FewGroups { n_groups: 1, n_parts: 3, .. }), "{refused}");
    let refused = Split::by_row(9, Fractions { valid: 0.9, test: 0.2 }, &mut rng).unwrap_err();
    assert!(matches!(refused, Error::Fractions { .. }), "{refused}");
    let refused = dataset.filter("age", &[V::Text("old")]).unwrap_err();
    assert!(matches!(refused, Error::WantedValue { .. }), "{refused}");
    let refused = dataset.tokens(100).unwrap_err();
    assert!(matches!(refused, Error::NoSuchRow { row: 100, n_rows: 100, .. }), "{refused}");
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let columns = vec![("age".to_owned(), MetadataKind::Integer)];
    let options = WriterOptions { columns, ..Default::default() };
    let mut writer = DatasetWriter::create(&scratch.path().join("a"), options).unwrap();
    let mut check = |counts: &[f64], value: V<'_>| {
        writer.push_counted("c", &sequence(&[2, 3]), counts, &[value]).unwrap_err()
    };
    assert!(matches!(check(&[], V::Text("31")), Error::ValueKind { .. }));
    assert!(matches!(check(&[], V::Float(31.0)), Error::ValueKind { .. }));
    assert!(matches!(check(&[1.0], V::Integer(1)), Error::RowCounts { found: 1, expected: 0, .. }));
}

proptest! {
    #[test]
    fn a_split_parts_the_rows(n_rows in 0usize..2000, valid in 0.0f64..0.6, test in 0.0f64..0.4, seed: u64) {
        let draw = || Split::by_row(n_rows, Fractions { valid, test }, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        let split = draw();
        prop_assert_eq!(&split, &draw());
        let rows = |fraction: f64| (n_rows as f64 * fraction).round() as usize;
        prop_assert_eq!(split.valid.len(), rows(valid));
        prop_assert_eq!(split.test.len(), rows(test).min(n_rows - rows(valid)));
        let mut all = [split.train, split.valid, split.test].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..n_rows).collect::<Vec<_>>());
    }
}

#[test]
fn counts_are_cp10k_in_the_order_of_the_tokens() {
    let genes = [1, 2, 3].map(gene);
    let medians = genes.map(|gene| (gene, 1.0));
    let encoder = RankEncoder::from_medians(Vocabulary::from_genes(genes), medians, 4).unwrap();
    let columns = encoder.gene_columns([gene(9), genes[2], genes[0], genes[1]]);
    let cell = CellCounts { genes: &[0, 1, 2, 3], counts: &[5, 3, 0, 8], total: 16 };
    let encoding = encoder.encode(&columns, cell).unwrap();
    assert_eq!(
        encoder.normalised(&columns, cell, &encoding, Arithmetic::default()),
        [0.0, 5_000.0, 1_875.0, 0.0]
    );
}

#[test]
fn the_features_name_every_kind() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = write(scratch.path(), &[], 1);
    let info = std::fs::read(folder.join("dataset_info.json")).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    let dtype = |name: &str| info["features"][name]["dtype"].as_str().unwrap().to_owned();
    let found = KINDS.map(|(name, _)| dtype(name));
    assert_eq!(found, ["string", "int64", "float64", "bool"]);
    assert_eq!(info["features"]["counts"]["feature"]["dtype"], "float64");
}

/// Where a data set and a model meet: the same tokens and the same medians, or an error.
#[test]
fn a_model_knows_its_tokens() {
    let scratch = tempfile::tempdir().unwrap();
    let dataset = Dataset::open(&write(scratch.path(), &[], 1)).unwrap();
    let tokens = ModelTokens::of(dataset.manifest().unwrap());
    assert_eq!(ModelTokens::read(scratch.path()).unwrap(), None);
    tokens.write(scratch.path()).unwrap();
    assert_eq!(ModelTokens::read(scratch.path()).unwrap().as_ref(), Some(&tokens));
    tokens.check(&dataset).unwrap();
    let medians = ModelTokens { medians: "others".to_owned(), ..tokens.clone() };
    let refused = medians.check(&dataset).unwrap_err();
    assert!(matches!(&refused, Error::MediansHash { expected, .. } if expected == "others"));
    let vocabulary = ModelTokens { vocabulary: "other".to_owned(), ..tokens };
    let refused = vocabulary.check(&dataset).unwrap_err();
    assert!(matches!(refused, Error::VocabularyHash { .. }), "{refused}");
}
