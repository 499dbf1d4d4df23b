//! Low-rank adapters: `y = P(x) + scaling · B · A · dropout(x)` over any frozen
//! projection `P` (Hu et al. 2021; PEFT's `lora.Linear`).
//!
//! [`with_adapters`] wraps a frozen encoder once; a [`LoraAdapter`] is then
//! [`attach`]ed, trained in place, [`detach`]ed, or exchanged for another, without
//! touching the base. Over [`Nf4Linear`](crate::Nf4Linear) this is QLoRA.

mod adapter;
mod config;
pub mod peft;

use burn::{
    module::{Module, Param, ParamId},
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Distribution, Tensor, backend::Backend},
};
use gf_model::Projection;

pub use adapter::{LoraAdapter, attach, detach, with_adapters};
pub use config::{LoraConfig, Target};

use crate::StoredBytes;

/// The two matrices that are trained.
#[derive(Module, Debug)]
pub struct LowRank<B: Backend> {
    /// `[r, d_input]`.
    pub a: Param<Tensor<B, 2>>,
    /// `[d_output, r]`.
    pub b: Param<Tensor<B, 2>>,
    scaling: f64,
    dropout: Dropout,
}

impl<B: Backend> LowRank<B> {
    /// As PEFT initialises it: `A` uniform in ±1/√`d_input`, `B` zero, so that nothing
    /// changes at first.
    pub fn init(config: &LoraConfig, d_input: usize, d_output: usize, device: &B::Device) -> Self {
        let bound = (d_input as f64).sqrt().recip();
        let shape = [config.r, d_input];
        let a = Tensor::random(shape, Distribution::Uniform(-bound, bound), device);
        Self::new(a, Tensor::zeros([d_output, config.r], device), config)
    }

    /// From given matrices `[r, d_input]` and `[d_output, r]`.
    pub fn new(a: Tensor<B, 2>, b: Tensor<B, 2>, config: &LoraConfig) -> Self {
        // A parameter is where a graph begins, whatever its value was computed from.
        let trained = |tensor: Tensor<B, 2>| {
            Param::initialized(ParamId::new(), tensor.detach()).set_require_grad(true)
        };
        Self {
            a: trained(a),
            b: trained(b),
            scaling: config.scaling(),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    /// What is added to the projection's output: `[batch_size, seq_length, d_input]` in,
    /// `[batch_size, seq_length, d_output]` out.
    pub fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let inner = self.dropout.forward(input).matmul(self.a.val().transpose().unsqueeze());
        inner.matmul(self.b.val().transpose().unsqueeze()) * self.scaling
    }

    /// `scaling · (B · A)ᵀ`, `[d_input, d_output]`.
    fn delta(&self) -> Tensor<B, 2> {
        self.b.val().matmul(self.a.val()).transpose() * self.scaling
    }
}

/// A frozen projection with at most one adapter beside it.
#[derive(Module, Debug)]
pub struct LoraLinear<B: Backend, P> {
    /// Never trained.
    pub base: P,
    /// The adapter that is attached.
    pub adapter: Option<LowRank<B>>,
}

impl<B: Backend, P: Projection<B>> Projection<B> for LoraLinear<B, P> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.adapter {
            None => self.base.forward(input),
            Some(adapter) => self.base.forward(input.clone()) + adapter.forward(input),
        }
    }
}

impl<B: Backend> LoraLinear<B, Linear<B>> {
    /// The dense projection that does the same: `W + scaling · (B · A)ᵀ`.
    pub fn merge(self) -> Linear<B> {
        match self.adapter {
            None => self.base,
            Some(adapter) => shifted(self.base, adapter.delta()),
        }
    }

    /// Undoes [`merge`](Self::merge), up to rounding.
    pub fn unmerge(merged: Linear<B>, adapter: Option<LowRank<B>>) -> Self {
        let base = match &adapter {
            None => merged,
            Some(adapter) => shifted(merged, -adapter.delta()),
        };
        Self { base, adapter }
    }
}

fn shifted<B: Backend>(linear: Linear<B>, delta: Tensor<B, 2>) -> Linear<B> {
    let weight = linear.weight.map(|weight| (weight + delta).detach());
    Linear { weight, bias: linear.bias }
}

impl<B: Backend, P: StoredBytes> StoredBytes for LoraLinear<B, P> {
    fn num_bytes(&self) -> usize {
        let adapter = self.adapter.as_ref().map_or(0, |adapter| {
            let (a, b) = (adapter.a.shape(), adapter.b.shape());
            size_of::<f32>() * (a.num_elements() + b.num_elements())
        });
        self.base.num_bytes() + adapter
    }
}
