//! What embedding and perturbation share: a model, cells, a precision.

use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, backend::Backend};
use clap::{Args, ValueEnum};
use gf_embed::{
    CellReader, EmbedLayer, EmbedOptions, Embeddings, embed_cells, similarity::row_cosines,
};
use gf_model::{Encoder, EncoderConfig, PackedLinear, Projection, checkpoint::load_encoder};
use gf_quant::{
    Int8Linear, Nf4Linear,
    checkpoint::{WeightFormat, load_int8_encoder, load_nf4_encoder, stored_format},
    int8::Activations,
    quantize_int8, quantize_nf4,
};
use gf_tokenize::{Dataset, ModelTokens, VOCABULARY_FILE, Vocabulary};
use serde::Serialize;

use crate::{device::DeviceChoice, failure::Failure, model_folder, shell::Shell};

/// Arguments that say which model reads which cells.
#[derive(Debug, Args)]
pub struct CellArgs {
    /// Model folder (config.json and weights), or a repository in the local
    /// Hugging Face cache: ORG/NAME[@REVISION][:SUBFOLDER].
    #[arg(long, value_name = "DIR", value_parser = model_folder::parse)]
    pub model: PathBuf,
    /// Data set of tokens.
    #[arg(long, value_name = "DATASET")]
    pub data: PathBuf,
    /// Token dictionary (.pkl, JSON or TSV) of a data set that does not hold its own.
    #[arg(long, value_name = "FILE")]
    pub vocab: Option<PathBuf>,
    /// Hidden state that is read: -1 the second-to-last, 0 the last.
    #[arg(long, default_value = "-1", value_parser = parse_layer, allow_hyphen_values = true, value_name = "LAYER")]
    pub layer: EmbedLayer,
    /// Number format of the encoder's projections; a folder of `gf quantize` keeps its own.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: Precision,
}

/// Number formats of the projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, activations too; for GPUs.
    F16,
    /// 16-bit floating point with the exponents of f32, activations too; for GPUs.
    Bf16,
    /// Signed bytes with a scale per output channel, activations too.
    Int8,
    /// As int8, but columns in which an activation of the batch reaches 6.0 stay in floating
    /// point (LLM.int8).
    LlmInt8,
    /// 4-bit NormalFloat with doubly quantised scales.
    Nf4,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::LlmInt8 => "llm-int8",
            Self::Nf4 => "nf4",
        })
    }
}

/// An encoder as its folder stores it.
pub enum Stored<B: Backend> {
    /// In floating point.
    Dense(Encoder<B>),
    /// In signed bytes.
    Int8(Encoder<B, Int8Linear<B>>),
    /// In 4-bit NormalFloat.
    Nf4(Encoder<B, Nf4Linear<B>>),
}

/// An encoder as it is run.
pub enum Ready<B: Backend> {
    /// In floating point, laid out for the processor.
    Dense(Encoder<B, PackedLinear<B>>),
    /// In signed bytes.
    Int8(Encoder<B, Int8Linear<B>>),
    /// In 4-bit NormalFloat.
    Nf4(Encoder<B, Nf4Linear<B>>),
}

impl<B: Backend> Stored<B> {
    /// The encoder in a precision; one that is quantised already stays as it is.
    ///
    /// # Errors
    ///
    /// The device does not compute in it.
    pub fn in_precision(
        self,
        precision: Precision,
        device: &B::Device,
    ) -> Result<Ready<B>, Failure> {
        let half = |encoder: Encoder<B>, dtype: FloatDType| {
            if B::supports_dtype(device, dtype.into()) {
                return Ok(Ready::Dense(encoder.cast(dtype).pack()));
            }
            let message = format!("--precision {precision}: {device:?} does not compute in it");
            Err(Failure::Usage(message))
        };
        Ok(match (self, precision) {
            (Self::Dense(encoder), Precision::F32) => Ready::Dense(encoder.pack()),
            (Self::Dense(encoder), Precision::F16) => half(encoder, FloatDType::F16)?,
            (Self::Dense(encoder), Precision::Bf16) => half(encoder, FloatDType::BF16)?,
            (Self::Dense(encoder), Precision::Int8) => {
                Ready::Int8(quantize_int8(encoder, Activations::Int8))
            }
            (Self::Dense(encoder), Precision::LlmInt8) => {
                Ready::Int8(quantize_int8(encoder, Activations::LLM_INT8))
            }
            (Self::Dense(encoder), Precision::Nf4) => Ready::Nf4(quantize_nf4(encoder)),
            (Self::Int8(encoder), _) => Ready::Int8(encoder),
            (Self::Nf4(encoder), _) => Ready::Nf4(encoder),
        })
    }

    /// The encoder in f32 that one in another `precision` is compared with.
    pub fn full(&self, precision: Precision) -> Option<Encoder<B, PackedLinear<B>>> {
        match self {
            Self::Dense(encoder) if precision != Precision::F32 => Some(encoder.clone().pack()),
            _ => None,
        }
    }
}

fn parse_layer(text: &str) -> Result<EmbedLayer, String> {
    match text {
        "-1" => Ok(EmbedLayer::SecondToLast),
        "0" => Ok(EmbedLayer::Last),
        other => Err(format!("found {other}, expected -1 (second-to-last) or 0 (last)")),
    }
}

impl CellArgs {
    /// Opens the data set and finds its vocabulary.
    ///
    /// # Errors
    ///
    /// Neither is readable, or the model was trained with another vocabulary or other medians.
    pub fn open(&self) -> Result<(Dataset, Vocabulary), Failure> {
        let dataset = Dataset::open(&self.data)?;
        let given = self.vocab.as_deref().map(Vocabulary::open).transpose()?;
        let vocabulary = match (given, dataset.vocabulary()) {
            (Some(given), Some(own)) => same(given, own, &self.data)?,
            (Some(given), None) => given,
            (None, Some(own)) => own.clone(),
            (None, None) => {
                let data = self.data.display();
                return Err(Failure::Usage(format!(
                    "{data}: no {VOCABULARY_FILE} in the folder, expected one or --vocab"
                )));
            }
        };
        self.check_model_vocabulary(&vocabulary)?;
        if let Some(tokens) = ModelTokens::read(&self.model)? {
            tokens.check(&dataset)?;
        }
        Ok((dataset, vocabulary))
    }

    fn check_model_vocabulary(&self, vocabulary: &Vocabulary) -> Result<(), Failure> {
        let path = self.model.join(VOCABULARY_FILE);
        if !path.is_file() {
            return Ok(());
        }
        same(Vocabulary::read_tsv(&path)?, vocabulary, &self.data).map(drop)
    }

    /// Loads the encoder onto a device; a quantised folder without ever holding its
    /// projections in floating point.
    ///
    /// # Errors
    ///
    /// The folder does not hold such a model, or holds one in another precision than asked for.
    pub fn load<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<(EncoderConfig, Stored<B>), Failure> {
        let int8 = |activations| {
            let (config, encoder) = load_int8_encoder(&self.model, activations, device)?;
            Ok((config, Stored::Int8(encoder)))
        };
        match (stored_format(&self.model)?, self.precision) {
            (None, _) => {
                let (config, encoder) = load_encoder(&self.model, device)?;
                Ok((config, Stored::Dense(encoder)))
            }
            (Some(WeightFormat::Int8), Precision::F32 | Precision::Int8) => int8(Activations::Int8),
            (Some(WeightFormat::Int8), Precision::LlmInt8) => int8(Activations::LLM_INT8),
            (Some(WeightFormat::Nf4), Precision::F32 | Precision::Nf4) => {
                let (config, encoder) = load_nf4_encoder(&self.model, device)?;
                Ok((config, Stored::Nf4(encoder)))
            }
            (Some(WeightFormat::Int8), _) => Err(self.holds("int8", "int8, llm-int8")),
            (Some(WeightFormat::Nf4), _) => Err(self.holds("nf4", "nf4")),
        }
    }

    fn holds(&self, own: &str, expected: &str) -> Failure {
        let (precision, model) = (self.precision, self.model.display());
        let found = format!("--precision {precision}: {model} holds {own}");
        Failure::Usage(format!("{found}, expected --precision {expected} or none"))
    }

    /// How cells are read on a device.
    pub fn options(&self, device: DeviceChoice) -> EmbedOptions {
        let batches_at_once = device.batches_at_once();
        EmbedOptions { layer: self.layer, batches_at_once, ..EmbedOptions::default() }
    }
}

/// Refuses two vocabularies that differ: tokens would mean other genes.
fn same(expected: Vocabulary, own: &Vocabulary, data: &Path) -> Result<Vocabulary, Failure> {
    if expected.content_hash() == own.content_hash() {
        return Ok(expected);
    }
    let describe = |v: &Vocabulary| format!("{} tokens, hash {}", v.len(), v.content_hash());
    let (found, expected) = (describe(own), describe(&expected));
    let message = format!(
        "{}: found a vocabulary of {found}, expected the model's or --vocab, {expected}",
        data.display()
    );
    Err(Failure::Error(message.into()))
}

/// How closely embeddings in another precision follow those in f32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// The other precision.
    pub precision: Precision,
    /// Cells, or genes of cells, compared.
    pub n_cells: usize,
    /// Mean cosine of the two embeddings.
    pub mean_cosine: f64,
    /// Smallest cosine of the two embeddings.
    pub min_cosine: f64,
}

impl Agreement {
    /// Compares the same cells in two precisions.
    pub fn between(precision: Precision, quantised: &Embeddings, full: &Embeddings) -> Self {
        Self::of(precision, &row_cosines(&quantised.values, &full.values))
    }

    /// Sums up the cosine of each cell's two embeddings.
    pub fn of(precision: Precision, cosines: &[f64]) -> Self {
        Self {
            precision,
            n_cells: cosines.len(),
            mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
            min_cosine: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { precision, n_cells, mean_cosine, min_cosine } = self;
        write!(
            f,
            "{precision} against f32 over {n_cells} embeddings: cosine {mean_cosine:.6} on average, {min_cosine:.6} at least"
        )
    }
}

/// Embeds rows under a progress bar.
///
/// # Errors
///
/// As [`embed_cells`]; an interruption as such.
pub fn embed_rows<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &EmbedOptions,
    device: &B::Device,
    shell: &Shell,
) -> Result<Embeddings, Failure> {
    let mut meter = shell.progress("embedding", "cells");
    let mut update = |p: gf_embed::Progress| meter.update(p.done as u64, p.total as u64, "");
    match embed_cells(encoder, reader, rows, options, device, &mut update) {
        Err(gf_embed::Error::Interrupted { done, total }) => {
            Err(Failure::Interrupted(format!("after {done} of {total} cells; nothing was written")))
        }
        other => Ok(other?),
    }
}
