//! AdamW with the reference's parameter groups and clipping.

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::{
        AdamW, AdamWConfig, AdamWState, GradientsParams, LearningRate, Optimizer as _,
        SimpleOptimizer, adaptor::OptimizerAdaptor,
    },
    tensor::{
        ElementConversion, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};

/// Decay of the running mean of gradients (every Geneformer run, REFERENCE.md §4).
const BETA_1: f32 = 0.9;
/// Decay of the running mean of squared gradients.
const BETA_2: f32 = 0.999;
/// Added to the root of the latter.
const EPSILON: f32 = 1e-8;
/// Added to the norm before clipping, as in `torch.nn.utils.clip_grad_norm_`.
const NORM_EPSILON: f64 = 1e-6;

/// AdamW over all parameters of a model, as `torch.optim.AdamW` under the Hugging
/// Face trainer: decoupled weight decay on everything except biases and layer
/// norms, gradients clipped together by their global norm.
#[derive(Clone)]
pub struct Optimizer<B: AutodiffBackend, M: AutodiffModule<B>> {
    adam: OptimizerAdaptor<GroupedAdamW, M, B>,
    max_grad_norm: f64,
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> Optimizer<B, M> {
    /// A fresh state. A `max_grad_norm` of infinity clips nothing.
    pub fn new(weight_decay: f64, max_grad_norm: f64) -> Self {
        let adam = |weight_decay: f64| {
            AdamWConfig::new()
                .with_beta_1(BETA_1)
                .with_beta_2(BETA_2)
                .with_epsilon(EPSILON)
                .with_weight_decay(weight_decay as f32)
                .build()
        };
        let groups = GroupedAdamW { decayed: adam(weight_decay), plain: adam(0.0) };
        Self { adam: OptimizerAdaptor::from(groups), max_grad_norm }
    }

    /// Updates the model; gives it back with the norm of the gradients before
    /// clipping.
    pub fn step(&mut self, learning_rate: f64, model: M, gradients: GradientsParams) -> (M, f64) {
        let (gradients, norm) = clip(&model, gradients, self.max_grad_norm);
        (self.adam.step(learning_rate, model, gradients), norm)
    }
}

/// Two AdamW that differ in weight decay. In a BERT encoder the parameters without
/// decay (names ending in `bias`, and `LayerNorm.weight`) are exactly the vectors.
#[derive(Clone)]
struct GroupedAdamW {
    decayed: AdamW,
    plain: AdamW,
}

impl<B: Backend> SimpleOptimizer<B> for GroupedAdamW {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let group = if D == 1 { &self.plain } else { &self.decayed };
        group.step(learning_rate, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        <AdamW as SimpleOptimizer<B>>::to_device(state, device)
    }
}

/// Scales all gradients so that their global norm is at most `max_norm`; gives the
/// norm before.
fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: GradientsParams,
    max_norm: f64,
) -> (GradientsParams, f64) {
    let mut squares = SquaredSum::<B> { gradients: &gradients, sum: None };
    model.visit(&mut squares);
    let norm = squares.sum.map_or(0.0, |sum| sum.into_scalar().elem::<f64>()).sqrt();
    let factor = max_norm / (norm + NORM_EPSILON);
    if factor >= 1.0 {
        return (gradients, norm);
    }
    let mut scaled = Scaled { factor, from: gradients, to: GradientsParams::new() };
    model.visit(&mut scaled);
    (scaled.to, norm)
}

/// Adds up the squares on the device, so that one number is read back.
struct SquaredSum<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SquaredSum<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) else { return };
        let square = gradient.square().sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + square,
            None => square,
        });
    }
}

struct Scaled {
    factor: f64,
    from: GradientsParams,
    to: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.from.remove::<B::InnerBackend, D>(param.id) {
            self.to.register::<B::InnerBackend, D>(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
