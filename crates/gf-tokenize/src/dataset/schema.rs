//! Names, types and JSON files of a data set folder, as `datasets` 2.14 to 5 read them.

use arrow2::{
    array::ListArray,
    datatypes::{DataType, Field, Schema},
};
use gf_corpus::MetadataKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::writer::WriterOptions;
use crate::error::{Error, Result};

pub(super) const INPUT_IDS: &str = "input_ids";
pub(super) const CELL_ID: &str = "cell_id";
pub(super) const COUNTS: &str = "counts";
pub(super) const LENGTH: &str = "length";
pub(super) const STATE_FILE: &str = "state.json";
pub(super) const INFO_FILE: &str = "dataset_info.json";
pub(super) const DICT_FILE: &str = "dataset_dict.json";
/// Name of the vocabulary in a data set folder, and in the folder of a model trained on it.
pub const VOCABULARY_FILE: &str = "vocabulary.tsv";

/// `state.json`. All seven keys must be there for Python to open the folder.
#[derive(Serialize)]
pub(super) struct State {
    #[serde(rename = "_data_files")]
    pub(super) data_files: Vec<DataFile>,
    #[serde(rename = "_fingerprint")]
    pub(super) fingerprint: String,
    #[serde(rename = "_format_columns")]
    pub(super) format_columns: Option<Vec<String>>,
    #[serde(rename = "_format_kwargs")]
    pub(super) format_kwargs: Map<String, Value>,
    #[serde(rename = "_format_type")]
    pub(super) format_type: Option<String>,
    #[serde(rename = "_output_all_columns")]
    pub(super) output_all_columns: bool,
    #[serde(rename = "_split")]
    pub(super) split: Option<String>,
}

/// What a reader needs of `state.json`.
#[derive(Deserialize)]
pub(super) struct SavedState {
    #[serde(rename = "_data_files")]
    pub(super) data_files: Vec<DataFile>,
    /// Before 2.0, `datasets` could leave the rows in their old order and list the new one here.
    #[serde(rename = "_indices_data_files", default)]
    pub(super) index_files: Option<Vec<DataFile>>,
}

/// A shard's name.
#[derive(Serialize, Deserialize)]
pub(super) struct DataFile {
    pub(super) filename: String,
}

impl State {
    pub(super) fn new(data_files: Vec<DataFile>, fingerprint: String) -> Self {
        Self {
            data_files,
            fingerprint,
            format_columns: None,
            format_kwargs: Map::new(),
            format_type: None,
            output_all_columns: false,
            split: None,
        }
    }
}

/// Refuses metadata columns that would collide with our own or with each other.
pub(super) fn check_columns(columns: &[(String, MetadataKind)]) -> Result<()> {
    for (idx, (column, _)) in columns.iter().enumerate() {
        let ours = [INPUT_IDS, CELL_ID, COUNTS, LENGTH].contains(&column.as_str());
        if ours || columns[..idx].iter().any(|(earlier, _)| earlier == column) {
            return Err(Error::ReservedColumn { column: column.clone() });
        }
    }
    Ok(())
}

/// The Arrow schema: tokens, cell id, counts if asked for, metadata, length.
pub(super) fn arrow_schema(options: &WriterOptions) -> Schema {
    let list = |name, item| Field::new(name, ListArray::<i32>::default_datatype(item), true);
    let metadata = |(name, kind): &(String, _)| Field::new(name, arrow_type(*kind), true);
    let mut fields =
        vec![list(INPUT_IDS, DataType::Int32), Field::new(CELL_ID, DataType::Utf8, true)];
    fields.extend(options.counts.then(|| list(COUNTS, DataType::Float64)));
    fields.extend(options.columns.iter().map(metadata));
    fields.push(Field::new(LENGTH, DataType::Int64, true));
    fields.into()
}

/// `dataset_info.json`. A list is a `Sequence`, which every version of `datasets` knows.
pub(super) fn dataset_info(options: &WriterOptions) -> Value {
    let value = |dtype: &str| json!({ "dtype": dtype, "_type": "Value" });
    let list = |dtype: &str| json!({ "feature": value(dtype), "_type": "Sequence" });
    let mut features = Map::new();
    features.insert(INPUT_IDS.into(), list("int32"));
    features.insert(CELL_ID.into(), value("string"));
    features.extend(options.counts.then(|| (COUNTS.into(), list("float64"))));
    let metadata = options.columns.iter();
    features.extend(metadata.map(|(name, kind)| (name.clone(), value(dtype(*kind)))));
    features.insert(LENGTH.into(), value("int64"));
    json!({ "citation": "", "description": "", "features": features, "homepage": "", "license": "" })
}

fn arrow_type(kind: MetadataKind) -> DataType {
    match kind {
        MetadataKind::Text => DataType::Utf8,
        MetadataKind::Integer => DataType::Int64,
        MetadataKind::Float => DataType::Float64,
        MetadataKind::Boolean => DataType::Boolean,
    }
}

/// The name `datasets` has for a kind.
fn dtype(kind: MetadataKind) -> &'static str {
    match kind {
        MetadataKind::Text => "string",
        MetadataKind::Integer => "int64",
        MetadataKind::Float => "float64",
        MetadataKind::Boolean => "bool",
    }
}

/// The names behind the numbers of a `ClassLabel` column.
pub(super) fn class_names(info: &Value, column: &str) -> Option<Vec<String>> {
    let feature = info.get("features")?.get(column)?;
    let names = feature
        .get("names")
        .filter(|_| feature.get("_type").is_some_and(|kind| kind == "ClassLabel"))?;
    serde_json::from_value(names.clone()).ok()
}
