//! The head that predicts masked genes.

use burn::{
    module::{Module, Param},
    nn::{Initializer, LayerNorm, Linear},
    tensor::{Tensor, activation::relu, backend::Backend},
};

use crate::{Encoder, EncoderConfig, Projection, embeddings::layer_norm, projection::init_linear};

/// `BertLMPredictionHead`: dense, ReLU (the configuration's activation), layer
/// norm; its decoder is the table of word embeddings plus `bias`.
#[derive(Module, Debug)]
pub struct MaskedHead<B: Backend> {
    /// Projection `d_model → d_model`.
    pub dense: Linear<B>,
    /// Normalisation before the decoder.
    pub layer_norm: LayerNorm<B>,
    /// Added to the logits, `[vocab_size]`.
    pub bias: Param<Tensor<B, 1>>,
}

/// An encoder with the head it is pretrained with (`BertForMaskedLM`).
#[derive(Module, Debug)]
pub struct MaskedLm<B: Backend, P = Linear<B>> {
    /// The encoder.
    pub encoder: Encoder<B, P>,
    /// The head; its decoder is tied to the encoder's word embeddings.
    pub head: MaskedHead<B>,
}

impl<B: Backend> MaskedLm<B, Linear<B>> {
    /// Random weights of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        let d_model = config.hidden_size;
        let head = MaskedHead {
            dense: init_linear(d_model, d_model, config.initializer_range, device),
            layer_norm: layer_norm(config, device),
            bias: Initializer::Zeros.init([config.vocab_size], device),
        };
        Self { encoder: Encoder::init(config, device), head }
    }
}

impl<B: Backend, P: Projection<B>> MaskedLm<B, P> {
    /// Logits of chosen hidden states; the caller gathers the rows it wants, so that
    /// nothing is computed for positions nobody predicts.
    ///
    /// # Shapes
    ///
    /// - hidden `[n_positions, d_model]`, rows of the last hidden state
    /// - output `[n_positions, vocab_size]`
    pub fn logits_at(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let transformed = self.head.layer_norm.forward(relu(self.head.dense.forward(hidden)));
        let decoder = self.encoder.embeddings.word_embeddings.weight.val().transpose();
        transformed.matmul(decoder) + self.head.bias.val().unsqueeze()
    }
}
