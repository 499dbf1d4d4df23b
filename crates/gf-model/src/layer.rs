//! One encoder layer: attention, then feed-forward.

use burn::{
    module::Module,
    nn::{LayerNorm, Linear},
    tensor::{Tensor, backend::Backend},
};

use crate::{
    EncoderConfig, EncoderInput, Projection, attention::SelfAttention, feed_forward::FeedForward,
    kernels,
};

/// `BertLayer`: each half adds to its input and then normalises (post-layer-norm).
#[derive(Module, Debug)]
pub struct Layer<B: Backend, P> {
    /// Mixes tokens.
    pub attention: SelfAttention<B, P>,
    /// Transforms each token.
    pub feed_forward: FeedForward<B, P>,
}

impl<B: Backend> Layer<B, Linear<B>> {
    /// Random weights of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        Self {
            attention: SelfAttention::init(config, device),
            feed_forward: FeedForward::init(config, device),
        }
    }
}

impl<B: Backend, P: Projection<B>> Layer<B, P> {
    /// All tokens: `[batch_size, seq_length, d_model]` in and out.
    pub fn forward(&self, hidden: Tensor<B, 3>, input: &EncoderInput<B>) -> Tensor<B, 3> {
        self.feed_forward.forward(self.attention.forward_all(hidden, input))
    }

    /// The first token alone, `[batch_size, 1, d_model]`, equal to row 0 of
    /// [`forward`](Self::forward): keys and values still come from every token.
    pub fn forward_first(&self, hidden: Tensor<B, 3>, input: &EncoderInput<B>) -> Tensor<B, 3> {
        let first = hidden.clone().narrow(1, 0, 1);
        self.feed_forward.forward(self.attention.forward(first, hidden, input))
    }

    /// The same layer with every projection passed through `f`.
    pub(crate) fn map_projections<Q>(self, f: &mut impl FnMut(P) -> Q) -> Layer<B, Q> {
        Layer {
            attention: self.attention.map_projections(f),
            feed_forward: self.feed_forward.map_projections(f),
        }
    }
}

/// `LayerNorm(residual + x)`, the end of both halves of a layer.
pub(crate) fn add_norm<B: Backend>(
    norm: &LayerNorm<B>,
    epsilon: f64,
    residual: Tensor<B, 3>,
    x: Tensor<B, 3>,
) -> Tensor<B, 3> {
    kernels::add_norm(norm, epsilon, &residual, x).unwrap_or_else(|x| norm.forward(residual + x))
}
