//! The two-layer ReLU network applied to every token.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, LayerNorm, Linear},
    tensor::{Tensor, backend::Backend},
};

use crate::{
    EncoderConfig, Projection, embeddings::layer_norm, layer::add_norm, projection::init_linear,
};

/// `BertIntermediate` and `BertOutput`:
/// `LayerNorm(x + dropout(output(relu(intermediate(x)))))`.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend, P> {
    /// Projection `d_model → d_ff`.
    pub intermediate: P,
    /// Projection `d_ff → d_model`.
    pub output: P,
    /// Normalisation after the residual.
    pub layer_norm: LayerNorm<B>,
    epsilon: f64,
    dropout: Dropout,
}

impl<B: Backend> FeedForward<B, Linear<B>> {
    /// Random weights of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        let (d_model, d_ff) = (config.hidden_size, config.intermediate_size);
        Self {
            intermediate: init_linear(d_model, d_ff, config.initializer_range, device),
            output: init_linear(d_ff, d_model, config.initializer_range, device),
            layer_norm: layer_norm(config, device),
            epsilon: config.layer_norm_eps,
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
        }
    }
}

impl<B: Backend, P: Projection<B>> FeedForward<B, P> {
    /// # Shapes
    ///
    /// - input and output `[batch_size, seq_length, d_model]`
    pub fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let output = self.intermediate.feed_forward(&self.output, input.clone());
        let output = self.dropout.forward(output);
        add_norm(&self.layer_norm, self.epsilon, input, output)
    }

    /// The same network with every projection passed through `f`.
    pub(crate) fn map_projections<Q>(self, f: &mut impl FnMut(P) -> Q) -> FeedForward<B, Q> {
        FeedForward {
            intermediate: f(self.intermediate),
            output: f(self.output),
            layer_norm: self.layer_norm,
            epsilon: self.epsilon,
            dropout: self.dropout,
        }
    }
}
