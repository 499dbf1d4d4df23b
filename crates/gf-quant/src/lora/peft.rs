//! Adapter folders as PEFT writes and reads them: `adapter_config.json` beside
//! `adapter_model.safetensors` (PEFT 0.13–0.21).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use burn::{
    module::Param,
    tensor::{Tensor, TensorData, backend::Backend},
};
use gf_model::checkpoint::TensorStore;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{LoraAdapter, LoraConfig, LowRank, Target};
use crate::{
    Error,
    tensors::{Checked, StoredTensor, write, write_json},
};

/// File name of the hyper-parameters.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// File name of the matrices.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// How PEFT wraps a model's own names.
const PREFIX: &str = "base_model.model.";

/// What an adapter folder says beside its matrices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeftExtras {
    /// The base model's folder or name.
    pub base_model: Option<String>,
    /// PEFT's `task_type`: `TOKEN_CLS`, `SEQ_CLS`, or none for an encoder.
    pub task_type: Option<String>,
    /// Parameters trained in full beside the adapter, under the model's own names
    /// (`classifier.weight`), with their shapes.
    pub saved_modules: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// The keys of `adapter_config.json` that decide what an adapter computes.
#[derive(Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    base_model_name_or_path: Option<String>,
    task_type: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Keys that would change the computation, and the values under which they do not.
fn is_harmless(key: &str, value: &Value) -> bool {
    let is_off = matches!(value, Value::Null | Value::Bool(false))
        || value.as_object().is_some_and(|map| map.is_empty());
    match key {
        "bias" => value == "none",
        "use_dora"
        | "use_qalora"
        | "use_bdlora"
        | "fan_in_fan_out"
        | "lora_bias"
        | "rank_pattern"
        | "alpha_pattern"
        | "layer_replication"
        | "alora_invocation_tokens"
        | "target_parameters"
        | "trainable_token_indices" => is_off,
        _ => true,
    }
}

/// Reads an adapter folder. Which projections are adapted is told by the matrices.
///
/// # Errors
///
/// A file is absent or malformed, asks for a variant of LoRA that is not supported, or a
/// matrix is missing or has another shape than the rank says.
pub fn read<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(LoraAdapter<B>, PeftExtras), Error> {
    let peft = read_config(&folder.join(CONFIG_FILE))?;
    let file = TensorStore::open_file(&folder.join(WEIGHTS_FILE))?;
    let mut extras = PeftExtras {
        base_model: peft.base_model_name_or_path,
        task_type: peft.task_type,
        saved_modules: BTreeMap::new(),
    };
    let mut places = BTreeMap::new();
    for name in file.names() {
        match Matrix::parse(name) {
            Matrix::A(place, stem) => drop(places.insert(place, stem)),
            Matrix::B(stem) if file.get(&format!("{stem}.lora_A.weight")).is_some() => {}
            Matrix::Other(own) => {
                let shape = file.view(name)?.shape().to_vec();
                let values = file.finite(name, &shape)?;
                extras.saved_modules.insert(own, (shape, values));
            }
            Matrix::B(_) | Matrix::Unknown => {
                return Err(file.error(name, "there", "lora_A and lora_B of projections"));
            }
        }
    }
    let targets: BTreeSet<Target> = places.keys().map(|&(_, target)| target).collect();
    let (r, alpha, dropout) = (peft.r, peft.lora_alpha, peft.lora_dropout);
    let config = LoraConfig { r, alpha, dropout, rslora: peft.use_rslora, targets };
    config.check()?;
    let pair = |(place, stem): (_, String)| {
        let matrix = |part: &str| read_matrix(&file, &format!("{stem}.{part}.weight"), device);
        let pair = LowRank::new(matrix("lora_A")?, matrix("lora_B")?, &config);
        let fits = pair.a.dims()[0] == r && pair.b.dims()[1] == r;
        let shapes = format!("of rank {} and {}", pair.a.dims()[0], pair.b.dims()[1]);
        fits.then_some((place, pair)).ok_or_else(|| file.error(&stem, shapes, format!("rank {r}")))
    };
    let pairs = places.into_iter().map(pair).collect::<Result<_, Error>>()?;
    Ok((LoraAdapter { config, pairs }, extras))
}

fn read_config(path: &Path) -> Result<PeftConfig, Error> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let config: PeftConfig = serde_json::from_str(&text)
        .map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let refuse = |key, found: String, expected: &str| {
        Err(Error::Key { path: path.to_owned(), key, found, expected: expected.to_owned() })
    };
    if config.peft_type != "LORA" {
        return refuse("peft_type", config.peft_type, "LORA");
    }
    match config.rest.iter().find(|(key, value)| !is_harmless(key, value)) {
        None => Ok(config),
        Some((key, value)) => refuse("LoRA variant", format!("{key} {value}"), "plain LoRA"),
    }
}

/// What a tensor's name says.
enum Matrix {
    /// `lora_A` of a projection, and the name before it.
    A((usize, Target), String),
    /// `lora_B`, the name before it.
    B(String),
    /// A parameter of the model, under its own name.
    Other(String),
    Unknown,
}

impl Matrix {
    fn parse(name: &str) -> Self {
        let Some(own) = name.strip_prefix(PREFIX) else { return Self::Unknown };
        if let Some(stem) = own.strip_suffix(".lora_A.weight") {
            let named = || format!("{PREFIX}{stem}");
            return place(stem).map_or(Self::Unknown, |place| Self::A(place, named()));
        }
        if let Some(stem) = name.strip_suffix(".lora_B.weight") {
            return Self::B(stem.to_owned());
        }
        if own.contains("lora_") { Self::Unknown } else { Self::Other(own.to_owned()) }
    }
}

/// `bert.encoder.layer.3.attention.self.query`, with or without `bert.`.
fn place(stem: &str) -> Option<(usize, Target)> {
    let below = stem.strip_prefix("bert.").unwrap_or(stem).strip_prefix("encoder.layer.")?;
    let (layer, path) = below.split_once('.')?;
    let target = Target::ALL.into_iter().find(|target| target.path() == path)?;
    Some((layer.parse().ok()?, target))
}

fn read_matrix<B: Backend>(
    file: &TensorStore,
    name: &str,
    device: &B::Device,
) -> Result<Tensor<B, 2>, Error> {
    let shape = file.view(name)?.shape().to_vec();
    let [rows, columns] = shape[..] else {
        return Err(file.error(name, format!("of shape {shape:?}"), "a matrix"));
    };
    let data = TensorData::new(file.finite(name, &shape)?, [rows, columns]);
    Ok(Tensor::from_data(data, device))
}

/// Writes an adapter folder; each file is written beside its target and renamed.
///
/// # Errors
///
/// The folder cannot be made or a file cannot be written.
pub fn write_folder<B: Backend>(
    folder: &Path,
    adapter: &LoraAdapter<B>,
    extras: &PeftExtras,
) -> Result<(), Error> {
    let mut tensors = BTreeMap::new();
    for ((layer, target), pair) in &adapter.pairs {
        let stem = format!("{PREFIX}bert.encoder.layer.{layer}.{}", target.path());
        tensors.insert(format!("{stem}.lora_A.weight"), stored(&pair.a));
        tensors.insert(format!("{stem}.lora_B.weight"), stored(&pair.b));
    }
    for (name, (shape, values)) in &extras.saved_modules {
        tensors.insert(format!("{PREFIX}{name}"), StoredTensor::f32(values, shape.clone()));
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    write(&folder.join(WEIGHTS_FILE), &tensors)?;
    write_json(&folder.join(CONFIG_FILE), &config_json(&adapter.config, extras))
}

fn stored<B: Backend>(matrix: &Param<Tensor<B, 2>>) -> StoredTensor<'static> {
    let values: Vec<f32> = matrix.val().into_data().iter::<f32>().collect();
    StoredTensor::f32(&values, matrix.dims().to_vec())
}

fn config_json(config: &LoraConfig, extras: &PeftExtras) -> Value {
    let names: Vec<&str> = config.targets.iter().map(|target| target.name()).collect();
    let modules: BTreeSet<&str> = extras
        .saved_modules
        .keys()
        .map(|name| name.rsplit_once('.').map_or(name.as_str(), |(module, _)| module))
        .collect();
    json!({
        "peft_type": "LORA",
        "task_type": extras.task_type,
        "base_model_name_or_path": extras.base_model,
        "r": config.r,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "use_rslora": config.rslora,
        "target_modules": names,
        "exclude_modules": excluded(&config.targets),
        "modules_to_save": if modules.is_empty() { Value::Null } else { json!(modules) },
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "use_dora": false,
    })
}

/// PEFT compares the ends of names: `output.dense` means attention's output as well.
fn excluded(targets: &BTreeSet<Target>) -> Option<[&'static str; 1]> {
    let only_one = targets.contains(&Target::Output) && !targets.contains(&Target::AttentionOutput);
    only_one.then_some([Target::AttentionOutput.name()])
}
