//! The seam between the encoder and the way a weight matrix is stored.

use std::sync::Arc;

use burn::{
    module::{Module, ModuleDisplay, Param},
    nn::{Initializer, Linear},
    tensor::{FloatDType, Tensor, activation::relu, backend::Backend},
};

use crate::kernels::{self, AttentionArithmetic, Weights};

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

    /// [`forward`](Self::forward) of each of some projections of one input, to the same bytes;
    /// shapes as there. A projection that rounds its input does it once.
    fn forward_each<const N: usize>(
        projections: [&Self; N],
        input: Tensor<B, 3>,
    ) -> [Tensor<B, 3>; N] {
        projections.map(|projection| projection.forward(input.clone()))
    }

    /// `output.forward(self.forward_relu(input))`, to the same bytes; shapes as there. A
    /// projection may do so for a few tokens at a time, without what lies between of all.
    fn feed_forward(&self, output: &Self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        output.forward(self.forward_relu(input))
    }

    /// What attention over queries that it projects calculates in: a projection that
    /// rounds its input gains nothing from products that are finer.
    fn attention_arithmetic(&self) -> AttentionArithmetic {
        AttentionArithmetic::Float
    }
}

impl<B: Backend> Projection<B> for Linear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        Linear::forward(self, input)
    }
}

/// A dense projection for inference: in host memory its weight is laid out once as the
/// processor's kernel reads it, instead of for each product, in 7/4 of the bytes;
/// on another backend, and in another number format than f32, it stays Burn's.
#[derive(Module, Debug)]
pub struct PackedLinear<B: Backend> {
    linear: Option<Linear<B>>,
    /// Instead of `linear`.
    #[module(skip)]
    packed: Option<Arc<Weights>>,
}

impl<B: Backend> PackedLinear<B> {
    /// Lays out a projection.
    pub fn new(linear: Linear<B>) -> Self {
        match Weights::new(&linear) {
            Some(weights) => Self { linear: None, packed: Some(Arc::new(weights)) },
            None => Self { linear: Some(linear), packed: None },
        }
    }

    fn weights<const N: usize>(projections: [&Self; N]) -> Option<[&Weights; N]> {
        let weights: Option<Vec<_>> =
            projections.iter().map(|projection| projection.packed.as_deref()).collect();
        weights?.try_into().ok()
    }

    /// `max(forward(input), floor)` of what is packed.
    fn product(&self, input: Tensor<B, 3>, floor: f32) -> Tensor<B, 3> {
        Self::weights([self])
            .and_then(|weights| kernels::products(weights, &input.cast(FloatDType::F32), floor))
            .map(|[output]| output)
            .unwrap_or_else(|| unreachable!("only what is in host memory is packed"))
    }
}

impl<B: Backend> Projection<B> for PackedLinear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.linear {
            Some(linear) => Linear::forward(linear, input),
            None => self.product(input, f32::NEG_INFINITY),
        }
    }

    fn forward_relu(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.linear {
            Some(linear) => linear.forward_relu(input),
            None => self.product(input, 0.0),
        }
    }

    fn forward_each<const N: usize>(
        projections: [&Self; N],
        input: Tensor<B, 3>,
    ) -> [Tensor<B, 3>; N] {
        Self::weights(projections)
            .and_then(|weights| kernels::products(weights, &input, f32::NEG_INFINITY))
            .unwrap_or_else(|| projections.map(|projection| projection.forward(input.clone())))
    }

    fn feed_forward(&self, output: &Self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        Self::weights([self, output])
            .and_then(|layers| kernels::feed_forward(layers, &input))
            .unwrap_or_else(|| output.forward(self.forward_relu(input)))
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
