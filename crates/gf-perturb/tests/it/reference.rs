//! Models, cells and runs of the reference (shared/golden, INDEX.md A8).

use std::{fs, io::Read, path::Path};

use burn_flex::{Flex, FlexDevice};
use flate2::read::GzDecoder;
use gf_model::{Encoder, EncoderConfig, checkpoint::load_encoder};
use gf_perturb::stats::Observations;
use gf_tokenize::{
    Dataset, DatasetWriter, MetadataKind, MetadataValue, TokenId, TokenSequence, Vocabulary,
    WriterOptions,
};
use serde_json::Value;

/// A tiny model and the nine cells that the reference perturbed with it.
pub struct Reference {
    pub config: EncoderConfig,
    pub encoder: Encoder<Flex>,
    pub dataset: Dataset,
    pub vocabulary: Vocabulary,
    /// The runs by name, with their arguments.
    pub runs: serde_json::Map<String, Value>,
    _scratch: tempfile::TempDir,
}

/// Folder of the runs, dictionary and model of each version.
pub const VERSIONS: [(&str, &str, &str); 2] = [
    ("isp_v2_more", "token_dictionary_gc104M.tsv.gz", "tiny_v2"),
    ("isp_v1", "token_dictionary_gc30M.tsv.gz", "tiny_v1"),
];

impl Reference {
    pub fn open(golden: &Path, (folder, dictionary, model): (&str, &str, &str)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dictionary = golden.parent().unwrap().join("dicts").join(dictionary);
        let vocabulary = Vocabulary::read_tsv(&dictionary).unwrap();
        let folder = golden.join("ref").join(folder);
        write_cells(&folder.join("cells.json"), &scratch.path().join("cells"), &vocabulary);
        let dataset = Dataset::open(&scratch.path().join("cells")).unwrap();
        let model = unpacked(&golden.join("ref/model").join(model), &scratch.path().join("model"));
        let (config, encoder) = load_encoder::<Flex>(&model, &FlexDevice).unwrap();
        let runs = json(&folder.join("run_log.json"))["runs"].as_object().unwrap().clone();
        Self { config, encoder, dataset, vocabulary, runs, _scratch: scratch }
    }
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn unpacked(packed: &Path, model: &Path) -> std::path::PathBuf {
    fs::create_dir(model).unwrap();
    fs::copy(packed.join("config.json"), model.join("config.json")).unwrap();
    let mut weights = Vec::new();
    match fs::File::open(packed.join("model.safetensors.gz")) {
        Ok(file) => drop(GzDecoder::new(file).read_to_end(&mut weights).unwrap()),
        Err(_) => weights = fs::read(packed.join("model.safetensors")).unwrap(),
    }
    fs::write(model.join("model.safetensors"), weights).unwrap();
    model.to_owned()
}

fn write_cells(cells: &Path, folder: &Path, vocabulary: &Vocabulary) {
    let columns = vec![("state".to_owned(), MetadataKind::Text)];
    let options = WriterOptions { columns, ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(folder, options).unwrap();
    for row in json(cells)["rows"].as_array().unwrap() {
        let tokens = TokenSequence::new(tokens(&row["input_ids"])).unwrap();
        let state = [MetadataValue::Text(row["state"].as_str().unwrap())];
        writer.push(row["cell_id"].as_str().unwrap(), &tokens, &state).unwrap();
    }
    writer.finish(vocabulary, "no medians", 2048).unwrap();
}

/// A token, or a list of tokens.
pub fn tokens(value: &Value) -> Vec<TokenId> {
    let token = |value: &Value| TokenId(value.as_u64().unwrap() as u32);
    value.as_array().map_or_else(|| vec![token(value)], |list| list.iter().map(token).collect())
}

/// The pickles of a run, written down as JSON.
pub fn observations(path: &Path) -> Observations {
    let mut observations = Observations::default();
    for entries in json(path).as_object().unwrap().values() {
        for entry in entries.as_array().unwrap() {
            match entry[0].as_str() {
                None => add(&mut observations, None, entry),
                Some(state) => {
                    let entries = entry[1].as_array().unwrap().iter();
                    entries.for_each(|entry| add(&mut observations, Some(state), entry));
                }
            }
        }
    }
    observations
}

fn add(observations: &mut Observations, state: Option<&str>, entry: &Value) {
    let numbers = entry[1].as_array().unwrap().iter();
    let numbers: Vec<f64> = numbers.map(|x| x.as_f64().unwrap()).collect();
    let genes = tokens(&entry[0][0]);
    match &entry[0][1] {
        Value::String(_) => observations.add_cells(genes, state, &numbers),
        gene => observations.add_affected(genes, tokens(gene)[0], &numbers),
    }
}
