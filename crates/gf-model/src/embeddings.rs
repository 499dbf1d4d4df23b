//! Token, position and type embeddings, summed and normalised.

use burn::{
    module::Module,
    nn::{
        Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig,
    },
    tensor::{Int, Tensor, backend::Backend},
};

use crate::EncoderConfig;

/// `LayerNorm(word[id] + position[0..n] + type[0])`, as `BertEmbeddings` of
/// transformers 4.46.3 (`models/bert/modeling_bert.py`).
#[derive(Module, Debug)]
pub struct Embeddings<B: Backend> {
    /// One row per token id, `[vocab_size, d_model]`.
    pub word_embeddings: Embedding<B>,
    /// One row per rank in the cell, `[max_position_embeddings, d_model]`.
    pub position_embeddings: Embedding<B>,
    /// Token types; a cell uses row 0 only.
    pub token_type_embeddings: Embedding<B>,
    /// Normalisation of the sum.
    pub layer_norm: LayerNorm<B>,
    dropout: Dropout,
}

impl<B: Backend> Embeddings<B> {
    /// Random embeddings of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        let table = |rows| {
            EmbeddingConfig::new(rows, config.hidden_size)
                .with_initializer(Initializer::Normal { mean: 0.0, std: config.initializer_range })
                .init(device)
        };
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            layer_norm: layer_norm(config, device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
        }
    }

    /// Hidden state 0.
    ///
    /// # Shapes
    ///
    /// - ids `[batch_size, seq_length]`
    /// - output `[batch_size, seq_length, d_model]`
    pub fn forward(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let [_, seq_length] = ids.dims();
        let positions = self.position_embeddings.weight.val().narrow(0, 0, seq_length);
        let kind = self.token_type_embeddings.weight.val().narrow(0, 0, 1);
        let sum = self.word_embeddings.forward(ids) + (positions + kind).unsqueeze::<3>();
        self.dropout.forward(self.layer_norm.forward(sum))
    }
}

/// Layer normalisation with the configuration's ε.
pub(crate) fn layer_norm<B: Backend>(config: &EncoderConfig, device: &B::Device) -> LayerNorm<B> {
    LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps).init(device)
}
