//! What must hold on every backend.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};
use gf_model::EncoderConfig;
use gf_train::{
    MaskedBatch, MaskedRow, Optimizer, StepPlan, evaluate, loss_and_gradients, train_step,
};

/// Workers see the same weights, drawn before or not; a few steps on one batch lower its loss; every gradient is finite; evaluation
/// agrees with training about the loss where there is no dropout.
/// The same f32 loss summed in another order; GPU backends differ in their exponentials.
const ROUNDING: f64 = 1e-4;

pub fn suite<B: AutodiffBackend>(device: &B::Device) {
    let mut model = config().init_masked_lm::<B>(device).unwrap();
    let mut optimizer = Optimizer::new(0.01, 1.0);
    let batch = MaskedBatch::<B>::new(&rows(), 0, device);
    let n_predicted = batch.n_predicted();
    assert_eq!((n_predicted, batch.n_tokens()), (4, 12));

    let halves = rows().map(|row| MaskedBatch::<B>::new(&[row], 0, device));
    let plan = StepPlan { learning_rate: 0.0, n_predicted, workers: 2 };
    let shared = train_step(&mut model, &mut Optimizer::new(0.0, 1.0), &halves, plan).loss;
    let (first, gradients) = loss_and_gradients(&model, &batch, n_predicted);
    assert!((shared - first).abs() < ROUNDING, "two workers: {shared}, one: {first}");
    let mut count = Finite { gradients: &gradients, n_params: 0 };
    model.visit(&mut count);
    assert_eq!(count.n_params, model.num_params(), "a parameter has no gradient");

    let inner = MaskedBatch::<B::InnerBackend>::new(&rows(), 0, device);
    let evaluation = evaluate(&burn::module::AutodiffModule::valid(&model), [inner]).unwrap();
    assert!((evaluation.loss - first).abs() < ROUNDING, "{} is not {first}", evaluation.loss);

    let plan = StepPlan { learning_rate: 1e-2, n_predicted, workers: 1 };
    for _ in 0..5 {
        train_step(&mut model, &mut optimizer, std::slice::from_ref(&batch), plan);
    }
    let (last, _) = loss_and_gradients(&model, &batch, n_predicted);
    assert!(last < 0.8 * first, "loss went from {first} to {last}");
}

struct Finite<'a> {
    gradients: &'a GradientsParams,
    n_params: usize,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Finite<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = self.gradients.get::<B::InnerBackend, D>(param.id).unwrap();
        let values: Vec<f32> = gradient.into_data().iter::<f32>().collect();
        assert!(values.iter().all(|x| x.is_finite()));
        self.n_params += values.len();
    }
}

fn config() -> EncoderConfig {
    EncoderConfig {
        vocab_size: 19,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 8,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..EncoderConfig::preset(gf_model::Preset::V2_104M)
    }
}

fn rows() -> [MaskedRow; 2] {
    let long = MaskedRow {
        input_ids: vec![2, 1, 9, 11, 1, 7, 3],
        positions: vec![1, 4, 5],
        labels: vec![5, 6, 7],
    };
    let short = MaskedRow { input_ids: vec![2, 8, 1, 10, 3], positions: vec![2], labels: vec![12] };
    [long, short]
}
