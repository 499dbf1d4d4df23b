//! Quantised layers behind gf-model's `Projection`.

pub mod int8;
pub mod nf4;

use burn::{
    module::Param,
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};

/// A layer that knows what its weights occupy.
pub trait StoredBytes {
    /// Bytes of weights, scales and bias.
    fn num_bytes(&self) -> usize;
}

impl<B: Backend> StoredBytes for Linear<B> {
    fn num_bytes(&self) -> usize {
        size_of::<f32>() * self.weight.shape().num_elements() + bias_bytes(self.bias.as_ref())
    }
}

fn bias_bytes<B: Backend>(bias: Option<&Param<Tensor<B, 1>>>) -> usize {
    bias.map_or(0, |bias| size_of::<f32>() * bias.shape().num_elements())
}

fn add_bias<B: Backend>(output: Tensor<B, 3>, bias: Option<&Param<Tensor<B, 1>>>) -> Tensor<B, 3> {
    match bias {
        Some(bias) => output + bias.val().unsqueeze(),
        None => output,
    }
}

/// The weights in rows of output channels, as checkpoints store them, and the bias.
fn host_values<B: Backend>(linear: &Linear<B>) -> (Vec<f32>, Option<Vec<f32>>) {
    let weight = linear.weight.val().transpose().into_data().iter::<f32>().collect();
    let bias = |bias: &Param<Tensor<B, 1>>| bias.val().into_data().iter::<f32>().collect();
    (weight, linear.bias.as_ref().map(bias))
}
