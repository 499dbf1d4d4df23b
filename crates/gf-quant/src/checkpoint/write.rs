//! A dense model folder into a quantised one.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::Path,
};

use gf_model::checkpoint::{CONFIG_FILE, Checkpoint, WEIGHTS_FILE};
use safetensors::Dtype;
use serde_json::json;

use super::{Place, WeightFormat, check_names, four_bit};
use crate::{
    Error,
    int8::{OUTLIER_THRESHOLD, quantize_weights},
    nf4::Nf4,
    tensors::{Checked, StoredTensor, write, write_json},
};

/// What stays in floating point beside the embeddings and norms: the heads that
/// Geneformer checkpoints have.
const HEADS: [&str; 4] = ["cls", "classifier", "bert.pooler", "classification_heads"];

/// Reads the dense checkpoint of `source`, in any layout of [`Checkpoint`], projection by
/// projection and writes `target` with the encoder's projections quantised; every other
/// tensor is copied as it is, with its head if there is one, all in one file under the
/// names of today. Both files are written beside their targets and renamed.
///
/// # Errors
///
/// `source` is not such a folder or quantised already, or `target` cannot be written.
pub fn quantize_folder(source: &Path, target: &Path, format: WeightFormat) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(source)?;
    let file = checkpoint.tensors();
    check_names(&checkpoint)?;
    let mut tensors = BTreeMap::new();
    for place in Place::all(checkpoint.config()) {
        let weights = place.dense(file)?;
        tensors.extend(match format {
            WeightFormat::Nf4 => four_bit::tensors(&place, &Nf4::quantize_double(&weights)),
            WeightFormat::Int8 => eight_bit(&place, &weights),
        });
    }
    for name in file.names() {
        if let Entry::Vacant(place) = tensors.entry(name.to_owned()) {
            place.insert(file.view(name)?.into());
        }
    }
    let config_path = source.join(CONFIG_FILE);
    let text = fs::read_to_string(&config_path).map_err(Error::io(&config_path))?;
    let mut json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|source| Error::Json { path: config_path.clone(), source })?;
    json["quantization_config"] = quantization_config(format);
    fs::create_dir_all(target).map_err(Error::io(target))?;
    write(&target.join(WEIGHTS_FILE), &tensors)?;
    write_json(&target.join(CONFIG_FILE), &json)
}

fn eight_bit(place: &Place, weights: &[f32]) -> Vec<(String, StoredTensor<'static>)> {
    let [d_output, d_input] = place.shape;
    let rows = quantize_weights(weights, d_input);
    let bytes: Vec<u8> = rows.codes.iter().map(|&code| code as u8).collect();
    let codes = StoredTensor { dtype: Dtype::I8, shape: place.shape.to_vec(), bytes: bytes.into() };
    // 0: row-major, the one layout that bitsandbytes still writes.
    let layout = StoredTensor { dtype: Dtype::U8, shape: Vec::new(), bytes: vec![0].into() };
    vec![
        (place.weight(), codes),
        (format!("{}.SCB", place.name), StoredTensor::f32(&rows.absmax, vec![d_output])),
        (format!("{}.weight_format", place.name), layout),
    ]
}

/// `BitsAndBytesConfig.to_dict` of transformers.
fn quantization_config(format: WeightFormat) -> serde_json::Value {
    let four_bit = format == WeightFormat::Nf4;
    json!({
        "quant_method": "bitsandbytes",
        "_load_in_4bit": four_bit,
        "_load_in_8bit": !four_bit,
        "load_in_4bit": four_bit,
        "load_in_8bit": !four_bit,
        "bnb_4bit_compute_dtype": "float32",
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": four_bit,
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": HEADS,
        "llm_int8_threshold": OUTLIER_THRESHOLD,
    })
}
