//! One training step, and the same forward pass for rows that are only evaluated.

use std::{panic::resume_unwind, thread};

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{
        ElementConversion, Int, Tensor,
        activation::relu,
        backend::{AutodiffBackend, Backend},
    },
};
use gf_model::MaskedLm;
use serde::Serialize;

use crate::{
    MaskedBatch, Optimizer,
    loss::{Decoder, cross_entropy},
};

/// How one step is to be taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPlan {
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Predicted positions of all micro-batches together.
    pub n_predicted: usize,
    /// Threads that share the micro-batches.
    pub workers: usize,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean cross entropy over the predicted positions, before the update, in nats.
    pub loss: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Tokens read, without padding.
    pub n_tokens: usize,
}

/// One update of the model from micro-batches: their gradients add up to those of
/// the mean over all predicted positions, whatever the cut.
pub fn train_step<B: AutodiffBackend>(
    model: &mut MaskedLm<B>,
    optimizer: &mut Optimizer<B, MaskedLm<B>>,
    micro_batches: &[MaskedBatch<B>],
    plan: StepPlan,
) -> StepReport {
    let parts = shared_out(model, micro_batches, plan);
    let loss = parts.iter().map(|part| part.loss).sum();
    let mut accumulator = GradientsAccumulator::new();
    for part in parts {
        accumulator.accumulate(model, part.gradients);
    }
    let (updated, grad_norm) =
        optimizer.step(plan.learning_rate, model.clone(), accumulator.grads());
    *model = updated;
    let n_tokens = micro_batches.iter().map(MaskedBatch::n_tokens).sum();
    StepReport { loss, grad_norm, n_tokens }
}

/// The share of one worker in a step.
struct Part {
    loss: f64,
    gradients: GradientsParams,
}

/// Every worker takes each `workers`-th micro-batch; the parts come in the order of
/// the workers, so that sums over them are always the same.
fn shared_out<B: AutodiffBackend>(
    model: &MaskedLm<B>,
    micro_batches: &[MaskedBatch<B>],
    plan: StepPlan,
) -> Vec<Part> {
    let n_workers = plan.workers.clamp(1, micro_batches.len().max(1));
    let batches = |worker| micro_batches.iter().skip(worker).step_by(n_workers).cloned().collect();
    if n_workers == 1 {
        return vec![work(model, batches(0), plan.n_predicted)];
    }
    thread::scope(|scope| {
        let start = |worker| {
            let model = fork(model);
            let batches: Vec<_> = batches(worker);
            scope.spawn(move || work(&model, batches, plan.n_predicted))
        };
        let workers: Vec<_> = (0..n_workers).map(start).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// The same weights with an autodiff graph of their own; threads that share a graph
/// lock each other out.
fn fork<B: AutodiffBackend>(model: &MaskedLm<B>) -> MaskedLm<B> {
    // Counting looks at every weight; one not yet drawn would differ from fork to fork.
    let _ = model.num_params();
    match model.devices().first() {
        Some(device) => model.clone().fork(device),
        None => model.clone(),
    }
}

fn work<B: AutodiffBackend>(
    model: &MaskedLm<B>,
    micro_batches: Vec<MaskedBatch<B>>,
    n_predicted: usize,
) -> Part {
    let mut accumulator = GradientsAccumulator::new();
    let mut loss = 0.0;
    for batch in micro_batches {
        let (part, gradients) = loss_and_gradients(model, &batch, n_predicted);
        accumulator.accumulate(model, gradients);
        loss += part;
    }
    Part { loss, gradients: accumulator.grads() }
}

/// The batch's share of the loss, Σ cross entropy / `n_predicted`, and its
/// gradients.
pub fn loss_and_gradients<B: AutodiffBackend>(
    model: &MaskedLm<B>,
    batch: &MaskedBatch<B>,
    n_predicted: usize,
) -> (f64, GradientsParams) {
    let decoder = Decoder {
        hidden: transform(model, hidden_at_selected(model, batch)),
        weight: model.encoder.embeddings.word_embeddings.weight.val(),
        bias: model.head.bias.val(),
    };
    let (loss, with_gradient) =
        decoder.cross_entropy(batch.labels.clone(), 1.0 / n_predicted as f64);
    (loss, GradientsParams::from_grads(with_gradient.backward(), model))
}

/// How well masked genes of rows the model never trained on are told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross entropy over the predicted positions, in nats.
    pub loss: f64,
    /// Fraction of the predicted positions whose token has the highest logit.
    pub accuracy: f64,
    /// Number of predicted positions.
    pub n_predicted: usize,
}

/// Evaluates batches without training on them; `None` if they predict nothing.
pub fn evaluate<B: Backend>(
    model: &MaskedLm<B>,
    batches: impl IntoIterator<Item = MaskedBatch<B>>,
) -> Option<Evaluation> {
    let (mut loss, mut n_right, mut n_predicted) = (0.0, 0, 0);
    for batch in batches.into_iter().filter(|batch| batch.n_predicted() > 0) {
        let logits = predict(model, &batch);
        let right = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(batch.labels.clone());
        n_right += right.int().sum().into_scalar().elem::<i64>();
        loss += cross_entropy(logits, batch.labels.clone()).sum().into_scalar().elem::<f64>();
        n_predicted += batch.n_predicted();
    }
    let n = n_predicted as f64;
    (n_predicted > 0).then(|| Evaluation {
        loss: loss / n,
        accuracy: n_right as f64 / n,
        n_predicted,
    })
}

/// The head below its decoder: `[n, d_model]` in and out.
fn transform<B: Backend>(model: &MaskedLm<B>, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
    model.head.layer_norm.forward(relu(model.head.dense.forward(hidden)))
}

/// Logits at the positions to predict.
///
/// # Shapes
///
/// - output `[n_predicted, vocab_size]`
pub fn predict<B: Backend>(model: &MaskedLm<B>, batch: &MaskedBatch<B>) -> Tensor<B, 2> {
    model.logits_at(hidden_at_selected(model, batch))
}

/// The last hidden state at the positions to predict, `[n_predicted, d_model]`; the
/// last layer is computed for these alone, over keys and values of every token.
fn hidden_at_selected<B: Backend>(model: &MaskedLm<B>, batch: &MaskedBatch<B>) -> Tensor<B, 2> {
    let layers = &model.encoder.layers;
    let below = model.encoder.hidden_state(&batch.input, layers.len().saturating_sub(1));
    let selected = gather_positions(below.clone(), batch.positions.clone());
    let hidden = match layers.last() {
        None => selected,
        Some(layer) => {
            layer.feed_forward.forward(layer.attention.forward(selected, below, &batch.input))
        }
    };
    let [batch_size, n_selected, d_model] = hidden.dims();
    hidden.reshape([batch_size * n_selected, d_model]).select(0, batch.predicted.clone())
}

/// `[batch_size, seq_length, d_model]` at `[batch_size, n_selected]` gives
/// `[batch_size, n_selected, d_model]`.
fn gather_positions<B: Backend>(
    hidden: Tensor<B, 3>,
    positions: Tensor<B, 2, Int>,
) -> Tensor<B, 3> {
    let [batch_size, seq_length, d_model] = hidden.dims();
    let [_, n_selected] = positions.dims();
    let starts = Tensor::<B, 1, Int>::arange(0..batch_size as i64, &hidden.device());
    let rows = positions + (starts * seq_length as i64).reshape([batch_size, 1]);
    hidden
        .reshape([batch_size * seq_length, d_model])
        .select(0, rows.reshape([batch_size * n_selected]))
        .reshape([batch_size, n_selected, d_model])
}
