//! The stack of layers, read at any height.

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::Linear,
    tensor::{FloatDType, Tensor, backend::Backend},
};

use crate::{
    EncoderConfig, EncoderInput, PackedLinear, Projection, embeddings::Embeddings, layer::Layer,
};

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

impl<B: Backend> Encoder<B, Linear<B>> {
    /// The same encoder for inference: its projections laid out once for the processor,
    /// see [`PackedLinear`]. Each dense projection is dropped as soon as it is packed.
    pub fn pack(self) -> Encoder<B, PackedLinear<B>> {
        self.map_projections(PackedLinear::new)
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

    /// Hidden states of any heights, in the order asked for, in one pass; nothing above
    /// the highest is computed. Heights are those of [`hidden_state`](Self::hidden_state).
    ///
    /// # Shapes
    ///
    /// - outputs `[batch_size, seq_length, d_model]`; padded rows are undefined
    pub fn hidden_states(&self, input: &EncoderInput<B>, heights: &[usize]) -> Vec<Tensor<B, 3>> {
        let highest = heights.iter().copied().max().unwrap_or(0).min(self.n_layers());
        let mut hidden = self.embeddings.forward(input.input_ids());
        let mut found = vec![None; heights.len()];
        for k in 0..=highest {
            if let Some(below) = k.checked_sub(1) {
                hidden = self.layers[below].forward(hidden, input);
            }
            for (slot, &height) in found.iter_mut().zip(heights) {
                if height.min(highest) == k {
                    *slot = Some(hidden.clone());
                }
            }
        }
        found.into_iter().flatten().collect()
    }

    /// The same encoder with parameters of another float type: activations follow.
    pub fn cast(self, dtype: FloatDType) -> Self {
        self.map(&mut Cast(dtype))
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

struct Cast(FloatDType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
