//! One training step, and the same forward pass for rows that are only evaluated.

use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{
        ElementConversion, Int, Tensor,
        activation::log_softmax,
        backend::{AutodiffBackend, Backend},
    },
};
use gf_model::MaskedLm;
use serde::Serialize;

use crate::{MaskedBatch, Optimizer};

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
///
/// `n_predicted` counts the predicted positions of all micro-batches together.
pub fn train_step<B: AutodiffBackend>(
    model: &mut MaskedLm<B>,
    optimizer: &mut Optimizer<B, MaskedLm<B>>,
    learning_rate: f64,
    micro_batches: impl IntoIterator<Item = MaskedBatch<B>>,
    n_predicted: usize,
) -> StepReport {
    let mut accumulator = GradientsAccumulator::new();
    let (mut loss, mut n_tokens) = (0.0, 0);
    for batch in micro_batches {
        let (part, gradients) = loss_and_gradients(model, &batch, n_predicted);
        accumulator.accumulate(model, gradients);
        loss += part;
        n_tokens += batch.n_tokens();
    }
    let (updated, grad_norm) = optimizer.step(learning_rate, model.clone(), accumulator.grads());
    *model = updated;
    StepReport { loss, grad_norm, n_tokens }
}

/// The batch's share of the loss, Σ cross entropy / `n_predicted`, and its
/// gradients.
pub fn loss_and_gradients<B: AutodiffBackend>(
    model: &MaskedLm<B>,
    batch: &MaskedBatch<B>,
    n_predicted: usize,
) -> (f64, GradientsParams) {
    let entropies = cross_entropy(predict(model, batch), batch.labels.clone());
    let loss = entropies.sum() / n_predicted as f64;
    let value = loss.clone().into_scalar().elem();
    (value, GradientsParams::from_grads(loss.backward(), model))
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

/// Logits at the positions to predict; the last layer is computed for these alone,
/// over keys and values of every token.
///
/// # Shapes
///
/// - output `[n_predicted, vocab_size]`
pub fn predict<B: Backend>(model: &MaskedLm<B>, batch: &MaskedBatch<B>) -> Tensor<B, 2> {
    let layers = &model.encoder.layers;
    let below = model.encoder.hidden_state(&batch.input, layers.len().saturating_sub(1));
    let selected = gather_positions(below.clone(), batch.positions.clone());
    let hidden = match layers.last() {
        None => selected,
        Some(layer) => {
            let padding = batch.input.padding_mask();
            layer.feed_forward.forward(layer.attention.forward(selected, below, padding))
        }
    };
    let [batch_size, n_selected, d_model] = hidden.dims();
    let rows = hidden.reshape([batch_size * n_selected, d_model]);
    model.logits_at(rows.select(0, batch.predicted.clone()))
}

/// `[batch_size, seq_length, d_model]` at `[batch_size, n_selected]` gives
/// `[batch_size, n_selected, d_model]`.
fn gather_positions<B: Backend>(hidden: Tensor<B, 3>, positions: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    let [batch_size, seq_length, d_model] = hidden.dims();
    let [_, n_selected] = positions.dims();
    let starts = Tensor::<B, 1, Int>::arange(0..batch_size as i64, &hidden.device());
    let rows = positions + (starts * seq_length as i64).reshape([batch_size, 1]);
    hidden
        .reshape([batch_size * seq_length, d_model])
        .select(0, rows.reshape([batch_size * n_selected]))
        .reshape([batch_size, n_selected, d_model])
}

/// −ln p(label) for each row of logits: `[n, vocab_size]` and `[n]` give `[n]`.
fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, labels: Tensor<B, 1, Int>) -> Tensor<B, 1> {
    log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).squeeze_dim::<1>(1).neg()
}
