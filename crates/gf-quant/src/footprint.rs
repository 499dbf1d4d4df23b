//! Bytes of a model's parameters in each number format, counted from its shape.

use gf_model::EncoderConfig;

use crate::{double::NESTED_BLOCK_SIZE, nf4::BLOCK_SIZE};

/// A number format of the projections; in those of fewer than 16 bits everything else
/// stays in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberFormat {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, everything else too.
    F16,
    /// Signed bytes, an f32 scale per output channel.
    Int8,
    /// 4-bit NormalFloat, an f32 scale per 64 weights.
    Nf4,
    /// 4-bit NormalFloat, a byte per 64 weights and an f32 per 16,384.
    Nf4Double,
}

impl NumberFormat {
    /// All, largest first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Int8, Self::Nf4, Self::Nf4Double];

    /// The name by which people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
            Self::Nf4Double => "nf4+double",
        }
    }

    /// Bytes of a weight matrix with its scales.
    fn matrix(self, d_output: usize, d_input: usize) -> usize {
        let n_weights = d_output * d_input;
        let n_blocks = n_weights.div_ceil(BLOCK_SIZE);
        match self {
            Self::F32 => 4 * n_weights,
            Self::F16 => 2 * n_weights,
            Self::Int8 => n_weights + 4 * d_output,
            Self::Nf4 => n_weights.div_ceil(2) + 4 * n_blocks,
            Self::Nf4Double => {
                let n_nested = n_blocks.div_ceil(NESTED_BLOCK_SIZE);
                n_weights.div_ceil(2) + n_blocks + 4 * (n_nested + 1)
            }
        }
    }

    fn other(self, n_values: usize) -> usize {
        n_values * if self == Self::F16 { 2 } else { 4 }
    }
}

/// Bytes of each part of a masked language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The format of the projections.
    pub format: NumberFormat,
    /// Token, position and type embeddings.
    pub embeddings: usize,
    /// Weights and scales of the six projections of every layer.
    pub projections: usize,
    /// Biases of the projections, and all layer norms of the encoder.
    pub biases_and_norms: usize,
    /// The masked language head; its decoder is the token embeddings.
    pub head: usize,
}

impl Footprint {
    /// Counts the parts of a model of this shape.
    ///
    /// ```
    /// use gf_model::{EncoderConfig, Preset};
    /// use gf_quant::footprint::{Footprint, NumberFormat};
    /// let config = EncoderConfig::preset(Preset::V2_316M);
    /// let [dense, quantised] = [NumberFormat::F32, NumberFormat::Nf4Double]
    ///     .map(|format| Footprint::of(&config, format));
    /// assert_eq!(dense.total(), 4 * config.num_params());
    /// assert!(quantised.projections < 145 << 20);
    /// assert!(quantised.total() < 260 << 20);
    /// ```
    pub fn of(config: &EncoderConfig, format: NumberFormat) -> Self {
        let (d_model, d_ff) = (config.hidden_size, config.intermediate_size);
        let n_layers = config.num_hidden_layers;
        let rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
        let projections = 4 * format.matrix(d_model, d_model)
            + format.matrix(d_ff, d_model)
            + format.matrix(d_model, d_ff);
        let norm = 2 * d_model;
        let biases_and_norms = n_layers * (5 * d_model + d_ff + 2 * norm) + norm;
        let head = d_model * d_model + d_model + norm + config.vocab_size;
        Self {
            format,
            embeddings: format.other(rows * d_model),
            projections: n_layers * projections,
            biases_and_norms: format.other(biases_and_norms),
            head: format.other(head),
        }
    }

    /// The whole model.
    pub fn total(&self) -> usize {
        self.embeddings + self.projections + self.biases_and_norms + self.head
    }
}
