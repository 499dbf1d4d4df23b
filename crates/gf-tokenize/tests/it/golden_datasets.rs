//! Folders written by Python's `datasets` 3.1.0 and 4.8.5 (shared/golden/INDEX.md, A7), row by row.

use std::{fs, ops::Range, path::Path};

use gf_tokenize::{Dataset, Error, MetadataValue};
use serde_json::Value;

use crate::support::shared;

const VERSIONS: [&str; 2] = ["hf_datasets_3.1.0", "hf_datasets_4.8.5"];

/// Which columns a folder has.
#[derive(Clone, Copy, PartialEq)]
enum Columns {
    All,
    Four,
}

#[test]
fn every_folder() {
    for version in VERSIONS {
        let Some(root) = shared(&format!("golden/dataset/{version}")) else { return };
        let golden: Value =
            serde_json::from_slice(&fs::read(root.join("expected_rows.json")).unwrap()).unwrap();
        let rows = golden["rows"].as_array().unwrap();
        let check = |folder: &str, expected: &[Value], columns| {
            check(&root.join(folder), expected, columns)
        };
        let part = |range: Range<usize>| &rows[range];
        check("one_shard_int32", rows, Columns::All);
        check("three_shards_int32", rows, Columns::All);
        check("many_record_batches", rows, Columns::All);
        check("int64_ids", part(0..10), Columns::All);
        check("large_list_int32", part(0..10), Columns::All);
        check("large_list_int64_two_shards", part(0..10), Columns::All);
        check("large_string", part(0..8), Columns::Four);
        check("arrow_dictionary_column", part(0..10), Columns::Four);
        check("empty", &[], Columns::All);
        check("dataset_dict/train", part(0..8), Columns::All);
        check("dataset_dict/test", part(8..12), Columns::All);
        let order: Vec<usize> =
            serde_json::from_value(golden["shuffle_seed42_order"].clone()).unwrap();
        let shuffled: Vec<Value> = order.iter().map(|&row| rows[row].clone()).collect();
        check("shuffled_seed42", &shuffled, Columns::All);
    }
}

fn check(folder: &Path, expected: &[Value], columns: Columns) {
    let place = folder.display();
    let dataset = Dataset::open(folder).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(dataset.len(), expected.len(), "{place}");
    assert_eq!(dataset.is_empty(), expected.is_empty());
    assert!(dataset.vocabulary().is_none() && dataset.manifest().is_none());
    for (row, expected) in expected.iter().enumerate() {
        let tokens: Vec<i32> = serde_json::from_value(expected["input_ids"].clone()).unwrap();
        assert_eq!(*dataset.tokens(row).unwrap(), tokens, "{place}, row {row}");
        assert_eq!(dataset.length(row).unwrap(), tokens.len());
        assert_eq!(dataset.cell_id(row).unwrap(), format!("row {row}"));
    }
    dataset.check_tokens(0..dataset.len(), 20_275).unwrap();
    check_column(&dataset, expected, "cell_type", "cell_type");
    check_column(&dataset, expected, "donor", "donor");
    check_column(&dataset, expected, "length", "length");
    if columns == Columns::All {
        check_column(&dataset, expected, "disease", "disease_name");
        check_column(&dataset, expected, "score", "score");
        check_column(&dataset, expected, "flag", "flag");
        assert_eq!(dataset.unread_columns()[0].0, "counts");
        let lists = dataset.column("counts").unwrap_err();
        assert!(
            matches!(&lists, Error::UnreadColumn { found, .. } if found.ends_with("list<float64>")),
            "{lists}"
        );
    }
}

fn check_column(dataset: &Dataset, expected: &[Value], column: &str, key: &str) {
    let value = |row: &'_ Value| match &row[key] {
        Value::Null => "Missing".to_owned(),
        Value::String(text) => format!("{:?}", MetadataValue::Text(text)),
        Value::Bool(value) => format!("{:?}", MetadataValue::Boolean(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => format!("{:?}", MetadataValue::Integer(number)),
            None => format!("{:?}", MetadataValue::Float(number.as_f64().unwrap())),
        },
        other => panic!("{other}"),
    };
    let expected: Vec<String> = expected.iter().map(value).collect();
    let column = dataset.column(column).unwrap();
    let found: Vec<String> = column.iter().map(|value| format!("{:?}", value.unwrap())).collect();
    assert_eq!(found, expected, "{}, column {}", dataset.path().display(), column.name());
}

#[test]
fn the_reference_tokenizer_wrote_them() {
    for (folder, expected) in [
        ("tokens/toy_v2.dataset", "tokens/toy_v2_tokens.json"),
        ("small/small_v2.dataset", "small/small_v2.json"),
    ] {
        let Some(root) = shared("golden/ref") else { return };
        let expected: Vec<Value> =
            serde_json::from_slice(&fs::read(root.join(expected)).unwrap()).unwrap();
        let dataset = Dataset::open(&root.join(folder)).unwrap();
        assert_eq!(dataset.len(), expected.len());
        for (row, expected) in expected.iter().enumerate() {
            let tokens: Vec<i32> = serde_json::from_value(expected["input_ids"].clone()).unwrap();
            assert_eq!(*dataset.tokens(row).unwrap(), tokens);
        }
        check_column(&dataset, &expected, "unique_cell_id", "unique_cell_id");
    }
}

#[test]
fn a_dictionary_of_data_sets_names_its_splits() {
    let Some(folder) = shared("golden/dataset/hf_datasets_4.8.5/dataset_dict") else { return };
    let error = Dataset::open(&folder).unwrap_err();
    assert!(
        matches!(&error, Error::DatasetDict { splits, .. } if splits == &["train", "test"]),
        "{error}"
    );
}
