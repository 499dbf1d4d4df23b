//! The stack of layers, read at any height.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};

use crate::{EncoderConfig, EncoderInput, Projection, embeddings::Embeddings, layer::Layer};

/// Embeddings and layers of a BERT encoder; no pooler, no final normalisation.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend, P = Linear<B>> {
    /// Hidden state 0.
    pub embeddings: Embeddings<B>,
    /// Hidden states 1 to `n_layers`.
    pub layers: Vec<Layer<B, P>>,
}

impl<B: Backend> Encoder<B, Linear<B>> {
    /// Random weights of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        let layer = |_| Layer::init(config, device);
        Self {
            embeddings: Embeddings::init(config, device),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
        }
    }
}

impl<B: Backend, P: Projection<B>> Encoder<B, P> {
    /// Number of layers; also the index of the last hidden state.
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// Hidden state `k`: 0 is the embedding output, `n_layers` the last. Layers
    /// above `k` are not computed; a `k` beyond the last is the last.
    ///
    /// # Shapes
    ///
    /// - output `[batch_size, seq_length, d_model]`; padded rows are undefined
    pub fn hidden_state(&self, input: &EncoderInput<B>, k: usize) -> Tensor<B, 3> {
        let hidden = self.embeddings.forward(input.input_ids());
        self.layers.iter().take(k).fold(hidden, |hidden, layer| layer.forward(hidden, input))
    }

    /// Row 0 of hidden state `k` (the CLS token of V2 cells), with only that row
    /// computed in layer `k`.
    ///
    /// # Shapes
    ///
    /// - output `[batch_size, d_model]`
    pub fn cls_state(&self, input: &EncoderInput<B>, k: usize) -> Tensor<B, 2> {
        let k = k.min(self.n_layers());
        let below = self.hidden_state(input, k.saturating_sub(1));
        let first = match k.checked_sub(1) {
            Some(top) => self.layers[top].forward_first(below, input),
            None => below.narrow(1, 0, 1),
        };
        first.squeeze_dim(1)
    }

    /// The same encoder with every projection passed through `f`, for example to
    /// quantise it; order: per layer query, key, value, output, intermediate, output.
    pub fn map_projections<Q>(self, mut f: impl FnMut(P) -> Q) -> Encoder<B, Q> {
        let layers = self.layers.into_iter().map(|layer| layer.map_projections(&mut f)).collect();
        Encoder { embeddings: self.embeddings, layers }
    }
}
