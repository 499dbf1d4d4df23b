//! The seam between the encoder and the way a weight matrix is stored.

use burn::{
    module::{Module, ModuleDisplay, Param},
    nn::{Initializer, Linear},
    tensor::{Tensor, activation::relu, backend::Backend},
};

use crate::kernels::{self, Activation};

/// A learned affine map of the last axis: `y = x·W + b`.
///
/// The encoder asks nothing else of its six weight matrices per layer, so that
/// dense, quantised and low-rank layers stand in for one another. Threads share it:
/// batches are independent.
pub trait Projection<B: Backend>: Module<B> + ModuleDisplay + Sync {
    /// Applies the map to every token.
    ///
    /// # Shapes
    ///
    /// - input `[batch_size, seq_length, d_input]`
    /// - output `[batch_size, seq_length, d_output]`
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3>;

    /// `max(forward(input), 0)`; shapes as there.
    fn forward_relu(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        relu(self.forward(input))
    }
}

impl<B: Backend> Projection<B> for Linear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        kernels::linear(self, &input, Activation::None)
            .unwrap_or_else(|| Linear::forward(self, input))
    }

    fn forward_relu(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        kernels::linear(self, &input, Activation::Relu)
            .unwrap_or_else(|| relu(Linear::forward(self, input)))
    }
}

/// A dense projection as BERT initialises it: normal weights, zero bias.
pub(crate) fn init_linear<B: Backend>(
    d_input: usize,
    d_output: usize,
    std: f64,
    device: &B::Device,
) -> Linear<B> {
    let weight: Param<Tensor<B, 2>> =
        Initializer::Normal { mean: 0.0, std }.init([d_input, d_output], device);
    let bias = Some(Initializer::Zeros.init([d_output], device));
    Linear { weight, bias }
}
