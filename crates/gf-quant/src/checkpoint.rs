//! Quantised model folders in the layout of `transformers` with bitsandbytes.
//!
//! Beside the tensors of a dense checkpoint, a projection `P` is `P.weight` as bytes and,
//! in four bits, `P.weight.absmax`, `.quant_map`, `.quant_state.bitsandbytes__nf4` (and
//! `.nested_absmax`, `.nested_quant_map` with double quantisation), in eight `P.SCB` and
//! `P.weight_format` (bitsandbytes 0.50.2, `functional.py` `QuantState.as_dict`). Where a
//! projection is dense, it is quantised on the way in: no more than one is ever held in
//! f32.

mod four_bit;
mod write;

use std::{fs, path::Path};

use burn::{
    module::Param,
    nn::LayerNorm,
    tensor::{Tensor, TensorData, backend::Backend},
};
use gf_model::{
    Encoder, EncoderConfig,
    checkpoint::{CONFIG_FILE, Checkpoint, TensorStore},
};
use safetensors::Dtype;

use crate::{
    Error, Int8Linear, Nf4Linear,
    int8::{Activations, Int8Rows, quantize_weights},
    tensors::Checked,
};

pub use write::quantize_folder;

/// How a checkpoint stores its projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// Signed bytes, one scale per output channel.
    Int8,
    /// 4-bit NormalFloat with doubly quantised scales.
    Nf4,
}

/// What a model folder says of itself; `None` for a dense one.
///
/// # Errors
///
/// `config.json` cannot be read or names another quantisation.
pub fn stored_format(folder: &Path) -> Result<Option<WeightFormat>, Error> {
    let path = folder.join(CONFIG_FILE);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
    let Some(quantisation) = config.get("quantization_config").filter(|value| !value.is_null())
    else {
        return Ok(None);
    };
    let is = |key: &str| quantisation.get(key).and_then(serde_json::Value::as_bool) == Some(true);
    let four_bit_type = quantisation.get("bnb_4bit_quant_type").and_then(|value| value.as_str());
    match (is("load_in_8bit"), is("load_in_4bit"), four_bit_type) {
        (true, _, _) => Ok(Some(WeightFormat::Int8)),
        (_, true, Some("nf4")) => Ok(Some(WeightFormat::Nf4)),
        _ => Err(Error::Key {
            path,
            key: "quantization_config",
            found: quantisation.to_string(),
            expected: "load_in_8bit, or load_in_4bit with nf4".to_owned(),
        }),
    }
}

/// Loads the encoder of a folder, in any layout of [`Checkpoint`], with projections in 4-bit
/// NormalFloat; dense ones are quantised one by one. Heads are left unread.
///
/// # Errors
///
/// A file is absent or malformed, or a tensor does not fit the configuration or format.
pub fn load_nf4_encoder<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(EncoderConfig, Encoder<B, Nf4Linear<B>>), Error> {
    load(folder, device, |file, place| {
        let nf4 = four_bit::read_or_quantize(file, place)?;
        Ok(Nf4Linear::new(&nf4, place.shape, Some(place.bias(file)?), device))
    })
}

/// Loads the encoder of a folder, in any layout of [`Checkpoint`], with projections in signed
/// bytes; dense ones are quantised one by one. Heads are left unread.
///
/// # Errors
///
/// As [`load_nf4_encoder`].
pub fn load_int8_encoder<B: Backend>(
    folder: &Path,
    activations: Activations,
    device: &B::Device,
) -> Result<(EncoderConfig, Encoder<B, Int8Linear<B>>), Error> {
    load(folder, device, |file, place| {
        let [_, d_input] = place.shape;
        let rows = read_or_quantize_rows(file, place)?;
        let bias = Some(place.bias(file)?);
        Ok(Int8Linear::new(&rows, d_input, bias, activations, device))
    })
}

fn read_or_quantize_rows(file: &TensorStore, place: &Place) -> Result<Int8Rows, Error> {
    let [d_output, d_input] = place.shape;
    let scales = format!("{}.SCB", place.name);
    if file.get(&scales).is_none() {
        return Ok(quantize_weights(&place.dense(file)?, d_input));
    }
    let codes = file.bytes(&place.weight(), Dtype::I8, d_output * d_input)?;
    let absmax = file.finite(&scales, &[d_output])?;
    Ok(Int8Rows { codes: codes.into_iter().map(|byte| byte as i8).collect(), absmax })
}

/// A projection of a checkpoint.
pub(crate) struct Place {
    /// Name without `.weight`.
    pub name: String,
    /// `[d_output, d_input]`.
    pub shape: [usize; 2],
}

impl Place {
    /// All of an encoder, in the order of `Encoder::map_projections`.
    fn all(config: &EncoderConfig) -> impl Iterator<Item = Self> {
        let (d_model, d_ff) = (config.hidden_size, config.intermediate_size);
        let parts = [
            ("attention.self.query", [d_model, d_model]),
            ("attention.self.key", [d_model, d_model]),
            ("attention.self.value", [d_model, d_model]),
            ("attention.output.dense", [d_model, d_model]),
            ("intermediate.dense", [d_ff, d_model]),
            ("output.dense", [d_model, d_ff]),
        ];
        let layer = move |k| {
            let place = move |(part, shape)| Self { name: layer_tensor(k, part), shape };
            parts.into_iter().map(place)
        };
        (0..config.num_hidden_layers).flat_map(layer)
    }

    fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    fn dense(&self, file: &TensorStore) -> Result<Vec<f32>, Error> {
        file.finite(&self.weight(), &self.shape)
    }

    fn bias(&self, file: &TensorStore) -> Result<Vec<f32>, Error> {
        file.finite(&format!("{}.bias", self.name), &self.shape[..1])
    }
}

const LAYERS: &str = "bert.encoder.layer.";

fn layer_tensor(layer: usize, part: &str) -> String {
    format!("{LAYERS}{layer}.{part}")
}

/// Builds an encoder without ever making its dense projections: Burn draws a parameter
/// when it is first looked at, and these are replaced before.
fn load<B: Backend, P>(
    folder: &Path,
    device: &B::Device,
    projection: impl Fn(&TensorStore, &Place) -> Result<P, Error>,
) -> Result<(EncoderConfig, Encoder<B, P>), Error> {
    let checkpoint = Checkpoint::open(folder)?;
    check_names(&checkpoint)?;
    let (config, file) = (checkpoint.config(), checkpoint.tensors());
    let mut dense = config.init_encoder::<B>(device)?;
    let floats = Floats { file, device };
    let d_model = config.hidden_size;
    let embeddings = &mut dense.embeddings;
    for (table, name) in [
        (&mut embeddings.word_embeddings, "word_embeddings"),
        (&mut embeddings.position_embeddings, "position_embeddings"),
        (&mut embeddings.token_type_embeddings, "token_type_embeddings"),
    ] {
        let [n_rows, _] = table.weight.dims();
        let name = format!("bert.embeddings.{name}.weight");
        table.weight = floats.read(&name, [n_rows, d_model])?;
    }
    floats.norm(&mut embeddings.layer_norm, "bert.embeddings.LayerNorm", d_model)?;
    for (k, layer) in dense.layers.iter_mut().enumerate() {
        let attention = layer_tensor(k, "attention.output.LayerNorm");
        floats.norm(&mut layer.attention.layer_norm, &attention, d_model)?;
        let output = layer_tensor(k, "output.LayerNorm");
        floats.norm(&mut layer.feed_forward.layer_norm, &output, d_model)?;
    }
    let projections = Place::all(config).map(|place| projection(file, &place));
    let mut projections = projections.collect::<Result<Vec<P>, Error>>()?.into_iter();
    let next = |_| projections.next().expect("Place::all lists every projection");
    Ok((config.clone(), dense.map_projections(next)))
}

/// Refuses tensors of an encoder's that the configuration has no place for: they would be
/// left out without a word.
fn check_names(checkpoint: &Checkpoint) -> Result<(), Error> {
    let file = checkpoint.tensors();
    let n_layers = checkpoint.config().num_hidden_layers;
    let is_beyond = |name: &&str| {
        let layer = name.strip_prefix(LAYERS).and_then(|below| below.split('.').next());
        layer.is_some_and(|k| k.parse().map_or(true, |k: usize| k >= n_layers))
    };
    match file.names().find(is_beyond) {
        None => Ok(()),
        Some(name) => Err(file.error(name, "in the file", format!("{n_layers} layers"))),
    }
}

struct Floats<'a, B: Backend> {
    file: &'a TensorStore,
    device: &'a B::Device,
}

impl<B: Backend> Floats<'_, B> {
    fn read<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<B, D>>, Error> {
        let values = self.file.finite(name, &shape)?;
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
        Ok(Param::from_tensor(tensor))
    }

    fn norm(&self, norm: &mut LayerNorm<B>, name: &str, d_model: usize) -> Result<(), Error> {
        norm.gamma = self.read(&format!("{name}.weight"), [d_model])?;
        norm.beta = Some(self.read(&format!("{name}.bias"), [d_model])?);
        Ok(())
    }
}
