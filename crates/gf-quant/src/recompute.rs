//! Training with the memory of one layer: the forward pass keeps the input of each layer,
//! the backward pass computes the layer again (Chen et al. 2016, at layer granularity).
//!
//! What a layer's graph keeps, attention weights above all, is there for one layer at a
//! time.

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};
use gf_model::{Encoder, EncoderInput, Projection};

/// A loss and what led to it.
pub struct Recomputed<B: AutodiffBackend> {
    /// The loss, `[1]`.
    pub loss: Tensor<B::InnerBackend, 1>,
    /// Gradients of the encoder's trained parameters.
    pub encoder: GradientsParams,
    /// Gradients of whatever else the loss was computed with, such as a head.
    pub above: B::Gradients,
}

/// Loss and gradients of a function of the last hidden state
/// `[batch_size, seq_length, d_model]`.
///
/// The device's random numbers are seeded from `seed` before each layer, so that both
/// passes drop out the same; the result is that of the plain graph with such seeds.
pub fn loss_and_gradients<B, P>(
    encoder: &Encoder<B, P>,
    input: &EncoderInput<B>,
    seed: u64,
    loss: impl FnOnce(Tensor<B, 3>) -> Tensor<B, 1>,
) -> Recomputed<B>
where
    B: AutodiffBackend,
    P: Projection<B> + AutodiffModule<B>,
{
    let device = input.input_ids().device();
    let seeded = |stage: usize| B::seed(&device, seed.wrapping_add(stage as u64));
    seeded(0);
    let embedded = encoder.embeddings.forward(input.input_ids());
    let mut hidden = embedded.clone().inner();
    let mut inputs = Vec::with_capacity(encoder.n_layers());
    for (k, layer) in encoder.layers.iter().enumerate() {
        inputs.push(hidden.clone());
        seeded(k + 1);
        // Nothing requires a gradient, so nothing is kept; dropout is on all the same.
        let layer = layer.clone().no_grad();
        hidden = layer.forward(Tensor::from_inner(hidden), input).inner();
    }
    let top = Tensor::from_inner(hidden).require_grad();
    let loss = loss(top.clone());
    let mut above = loss.backward();
    let mut gradient = top.grad_remove(&mut above);
    let mut collected = GradientsParams::new();
    for (k, layer) in encoder.layers.iter().enumerate().rev() {
        let (Some(from_above), Some(below)) = (gradient.take(), inputs.pop()) else { break };
        let below = Tensor::from_inner(below).require_grad();
        seeded(k + 1);
        let output = layer.forward(below.clone(), input);
        let mut gradients = pull_back(output, from_above);
        collect(layer, &mut gradients, &mut collected);
        gradient = below.grad_remove(&mut gradients);
    }
    if let Some(from_above) = gradient {
        let mut gradients = pull_back(embedded, from_above);
        collect(&encoder.embeddings, &mut gradients, &mut collected);
    }
    Recomputed { loss: loss.inner(), encoder: collected, above }
}

/// The derivative of `Σ output · from_above` is the gradient that comes from above.
fn pull_back<B: AutodiffBackend>(
    output: Tensor<B, 3>,
    from_above: Tensor<B::InnerBackend, 3>,
) -> B::Gradients {
    (output * Tensor::from_inner(from_above)).sum().backward()
}

fn collect<B: AutodiffBackend, M: Module<B>>(
    module: &M,
    gradients: &mut B::Gradients,
    collected: &mut GradientsParams,
) {
    module.visit(&mut Collector::<B> { gradients, collected });
}

struct Collector<'a, B: AutodiffBackend> {
    gradients: &'a mut B::Gradients,
    collected: &'a mut GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collector<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            self.collected.register::<B::InnerBackend, D>(param.id, gradient);
        }
    }
}
