//! Cross entropy over a whole vocabulary, with its gradient written down.

use burn::tensor::{
    ElementConversion, IndexingUpdateOp, Int, Tensor,
    activation::log_softmax,
    backend::{AutodiffBackend, Backend},
};

/// −ln p(label) for each row of logits, in nats.
///
/// # Shapes
///
/// - logits `[n, vocab_size]`, labels `[n]`
/// - output `[n]`
pub fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, labels: Tensor<B, 1, Int>) -> Tensor<B, 1> {
    log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).squeeze_dim::<1>(1).neg()
}

/// A linear decoder's inputs: everything the loss has a gradient for.
pub(crate) struct Decoder<B: Backend> {
    /// `[n, d_model]`
    pub(crate) hidden: Tensor<B, 2>,
    /// `[vocab_size, d_model]`
    pub(crate) weight: Tensor<B, 2>,
    /// `[vocab_size]`
    pub(crate) bias: Tensor<B, 1>,
}

impl<B: AutodiffBackend> Decoder<B> {
    /// `scale` · Σ [`cross_entropy`] of the logits `hidden · weightᵀ + bias`, and a
    /// scalar of another value that has its gradient.
    ///
    /// Automatic differentiation would keep several `[n, vocab_size]` tensors and walk
    /// each of them again. With p the softmax of the logits the gradient by the logits
    /// is p − onehot(label), so that those by hidden, weight and bias are products with
    /// it; the products are computed here, once, and enter the graph as constants.
    pub(crate) fn cross_entropy(
        self,
        labels: Tensor<B, 1, Int>,
        scale: f64,
    ) -> (f64, Tensor<B, 1>) {
        let constants = Decoder {
            hidden: self.hidden.clone().inner(),
            weight: self.weight.clone().inner(),
            bias: self.bias.clone().inner(),
        };
        let (loss, gradient) = constants.loss_and_gradient(labels.inner(), scale);
        let with_gradient = (self.hidden * Tensor::from_inner(gradient.hidden)).sum()
            + (self.weight * Tensor::from_inner(gradient.weight)).sum()
            + (self.bias * Tensor::from_inner(gradient.bias)).sum();
        (loss, with_gradient)
    }
}

impl<B: Backend> Decoder<B> {
    fn loss_and_gradient(self, labels: Tensor<B, 1, Int>, scale: f64) -> (f64, Self) {
        let Self { hidden, weight, bias } = self;
        let [n, _] = hidden.dims();
        let [vocab_size, _] = weight.dims();
        let device = hidden.device();
        let expected = weight.clone().select(0, labels.clone());
        let expected_logits = (hidden.clone() * expected.clone()).sum_dim(1)
            + bias.clone().select(0, labels.clone()).unsqueeze_dim(1);

        let logits = hidden.clone().matmul(weight.clone().transpose()) + bias.unsqueeze();
        let highest = logits.clone().max_dim(1);
        let weights = (logits - highest.clone()).exp();
        let total = weights.clone().sum_dim(1);
        let loss = (total.clone().log() + highest - expected_logits).sum();

        // The softmax is weights / total; dividing here touches d_model numbers a row
        // instead of vocab_size.
        let share = total.recip() * scale;
        let by_token = weights.clone().transpose();
        let ones = Tensor::<B, 1>::full([n], -scale, &device);
        let gradient = Self {
            hidden: weights.matmul(weight) * share.clone() - expected * scale,
            weight: by_token.clone().matmul(hidden.clone() * share.clone()).select_assign(
                0,
                labels.clone(),
                hidden * -scale,
                IndexingUpdateOp::Add,
            ),
            bias: by_token.matmul(share).reshape([vocab_size]).select_assign(
                0,
                labels,
                ones,
                IndexingUpdateOp::Add,
            ),
        };
        (loss.into_scalar().elem::<f64>() * scale, gradient)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{backend::Autodiff, tensor::Distribution};
    use burn_flex::Flex;

    use super::*;

    type TestBackend = Autodiff<Flex>;

    /// f32 sums of 40 terms, in another order.
    const TOLERANCE: f32 = 1e-6;

    /// A sum of seven f32 losses of up to 10.
    const LOSS_TOLERANCE: f64 = 1e-5;

    fn check<const D: usize>(found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
        let dims = found.dims();
        let difference = (found - expected).abs().max().into_scalar();
        assert!(difference < TOLERANCE, "{dims:?} differs by {difference}");
    }

    /// The gradient written down is the one that automatic differentiation finds.
    #[test]
    fn equals_automatic_differentiation() {
        let device = Default::default();
        TestBackend::seed(&device, 5);
        let random = |shape: [usize; 2]| {
            Tensor::<TestBackend, 2>::random(shape, Distribution::Normal(0.0, 1.0), &device)
        };
        let (hidden, weight) = (random([7, 5]).require_grad(), random([40, 5]).require_grad());
        let bias = random([1, 40]).reshape([40]).detach().require_grad();
        let labels = Tensor::<TestBackend, 1, Int>::from_data([3, 39, 0, 3, 17, 8, 3], &device);
        let scale = 0.25;

        let logits = hidden.clone().matmul(weight.clone().transpose()) + bias.clone().unsqueeze();
        let plain = cross_entropy(logits, labels.clone()).sum() * scale;
        let expected_loss: f64 = plain.clone().into_scalar().elem();
        let expected = plain.backward();
        let decoder =
            Decoder { hidden: hidden.clone(), weight: weight.clone(), bias: bias.clone() };
        let (loss, with_gradient) = decoder.cross_entropy(labels, scale);
        let found = with_gradient.backward();

        assert!((loss - expected_loss).abs() < LOSS_TOLERANCE, "{loss} is not {expected_loss}");
        for tensor in [hidden, weight] {
            check(tensor.grad(&found).unwrap(), tensor.grad(&expected).unwrap());
        }
        check(bias.grad(&found).unwrap(), bias.grad(&expected).unwrap());
    }
}
