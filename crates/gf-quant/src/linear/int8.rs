//! A projection whose weights are signed bytes.

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Int, Tensor, activation::relu, backend::Backend},
};
use gf_model::{Projection, kernels::AttentionArithmetic};

use super::{StoredBytes, add_bias, bias_bytes, host_values};
use crate::{
    int8::{Activations, Int8Rows, MAX_CODE, SPLITTER, quantize_weights},
    kernels::int8::{feed_forward, n_columns, n_pairs, panels, products},
    words::{BYTES_PER_WORD, frozen, pack, signed},
};

/// Sums of so many products of two codes are whole numbers below 2²⁴, which f32 holds:
/// a floating-point product of this depth is the integer product.
const EXACT_DEPTH: usize = (1 << 24) / (127 * 127);

/// `y = (x · codesᵀ) · absmax / 127 + b`, the codes unpacked for each product: the
/// portable form, equal on every backend with f32. In host memory they are multiplied where
/// they lie.
///
/// [`Activations`] says whether `x` is rounded to signed bytes as well; then products add
/// up in 32-bit integers, and no gradient passes through the rounding.
#[derive(Module, Debug)]
pub struct Int8Linear<B: Backend> {
    /// Codes of `[d_output, d_input]` in [`panels`] of `n_columns`.
    pub(crate) words: Param<Tensor<B, 1, Int>>,
    /// `absmax / 127` of each output channel.
    pub(crate) scale: Param<Tensor<B, 1>>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) d_input: usize,
    pub(crate) n_columns: usize,
    #[module(skip)]
    activations: Activations,
}

impl<B: Backend> Int8Linear<B> {
    /// Quantises a dense projection, one scale per output channel.
    pub fn from_linear(linear: &Linear<B>, activations: Activations) -> Self {
        let [d_input, _] = linear.weight.dims();
        let (weight, bias) = host_values(linear);
        let rows = quantize_weights(&weight, d_input);
        Self::new(&rows, d_input, bias, activations, &linear.weight.device())
    }

    /// From weights quantised before, `[d_output, d_input]`.
    pub fn new(
        rows: &Int8Rows,
        d_input: usize,
        bias: Option<Vec<f32>>,
        activations: Activations,
        device: &B::Device,
    ) -> Self {
        let scale = rows.absmax.iter().map(|absmax| absmax / MAX_CODE).collect();
        let n_columns = n_columns();
        Self {
            words: pack(&panels(&rows.codes, d_input, n_columns), BYTES_PER_WORD, device),
            scale: frozen(scale, device),
            bias: bias.map(|bias| frozen(bias, device)),
            d_input,
            n_columns,
            activations,
        }
    }

    /// The codes as floating-point numbers, `[d_input, d_output]`.
    fn codes(&self) -> Tensor<B, 2> {
        let ([d_output], n_pairs) = (self.scale.dims(), n_pairs(self.d_input));
        let (n_panels, n_columns) = (d_output.div_ceil(self.n_columns), self.n_columns);
        let n_codes = n_panels * n_pairs * n_columns * 2;
        // The first bytes of all words come first, then the second: a word has two neighbours
        // of the depth of two channels.
        let runs = signed(&self.words, n_codes, n_codes).float();
        let runs: Tensor<B, 5> = runs.reshape([2, 2, n_panels, n_pairs, n_columns / 2]);
        let codes = runs.permute([3, 1, 2, 4, 0]).reshape([2 * n_pairs, n_panels * n_columns]);
        codes.slice([0..self.d_input, 0..d_output])
    }

    /// `max(forward(input), floor)` of each projection by the processor's kernel, where
    /// `input` is in host memory and all round it to bytes alike.
    fn on_processor<const N: usize>(
        projections: [&Self; N],
        input: &Tensor<B, 3>,
        floor: f32,
    ) -> Option<[Tensor<B, 3>; N]> {
        let activations = projections.first()?.activations;
        let is_other = |projection: &&Self| projection.activations != activations;
        let threshold = match activations {
            _ if projections.iter().any(is_other) => return None,
            Activations::Float => return None,
            Activations::Int8 => None,
            Activations::Int8WithOutliers(threshold) => Some(threshold),
        };
        products(projections, input, floor, threshold)
    }

    /// The form for every backend.
    fn portable(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let product = match self.activations {
            Activations::Float => input.matmul(self.codes().unsqueeze()),
            Activations::Int8 => {
                let (rounded, unit) = round_rows(input);
                integer_product(rounded, self.codes()) * unit
            }
            Activations::Int8WithOutliers(threshold) => self.mixed(input, threshold),
        };
        add_bias(product * self.scale.val().unsqueeze(), self.bias.as_ref())
    }

    /// LLM.int8: columns that reach the threshold in any row are multiplied in floating
    /// point, the rest in integers.
    fn mixed(&self, input: Tensor<B, 3>, threshold: f32) -> Tensor<B, 3> {
        let codes = self.codes();
        let input = half_precision(input);
        let magnitude = input.clone().abs();
        let is_outlier = magnitude.clone().greater_equal_elem(threshold);
        let (rounded, unit) = round_rows(input.clone().mask_fill(is_outlier, 0.0));
        let device = input.device();
        let largest: Vec<f32> =
            magnitude.flatten::<2>(0, 1).max_dim(0).into_data().iter::<f32>().collect();
        let kept: Vec<f32> = largest.iter().map(|&x| f32::from(x < threshold)).collect();
        let outliers = (0..).zip(&largest).filter(|(_, x)| **x >= threshold);
        let outliers: Vec<i32> = outliers.map(|(j, _)| j).collect();
        if outliers.is_empty() {
            return integer_product(rounded, codes) * unit;
        }
        let kept = Tensor::<B, 1>::from_data(kept.as_slice(), &device);
        let integers = integer_product(rounded * kept.unsqueeze(), codes.clone()) * unit;
        let outliers = Tensor::<B, 1, Int>::from_data(outliers.as_slice(), &device);
        let weights = codes.select(0, outliers.clone());
        integers + input.select(2, outliers).matmul(weights.unsqueeze())
    }
}

/// [`int8::half_precision`](crate::int8::half_precision) of each number; a gradient passes
/// through as if nothing were rounded.
fn half_precision<B: Backend>(input: Tensor<B, 3>) -> Tensor<B, 3> {
    let large = input.clone() * SPLITTER;
    large.clone() - (large - input)
}

/// Whole numbers −127…127 for each row, and what one of them stands for,
/// `[batch_size, seq_length, 1]`.
fn round_rows<B: Backend>(input: Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let absmax = input.clone().abs().max_dim(2);
    // A row of zeros divides zero by the smallest normal number.
    let scale =
        absmax.zeros_like().add_scalar(MAX_CODE) / absmax.clone().clamp_min(f32::MIN_POSITIVE);
    let codes = (input * scale).round();
    (codes, absmax / MAX_CODE)
}

/// The product of whole numbers −127…127, added up in 32-bit integers.
///
/// # Shapes
///
/// - activations `[batch_size, seq_length, d_input]`, weights `[d_input, d_output]`
fn integer_product<B: Backend>(activations: Tensor<B, 3>, weights: Tensor<B, 2>) -> Tensor<B, 3> {
    let [d_input, _] = weights.dims();
    let part = |start: usize| {
        let depth = EXACT_DEPTH.min(d_input - start);
        let weights = weights.clone().narrow(0, start, depth);
        activations.clone().narrow(2, start, depth).matmul(weights.unsqueeze()).int()
    };
    let first = part(0);
    (EXACT_DEPTH..d_input).step_by(EXACT_DEPTH).map(part).fold(first, |sum, x| sum + x).float()
}

impl<B: Backend> StoredBytes for Int8Linear<B> {
    fn num_bytes(&self) -> usize {
        size_of::<i32>() * self.words.shape().num_elements()
            + size_of::<f32>() * self.scale.shape().num_elements()
            + bias_bytes(self.bias.as_ref())
    }
}

impl<B: Backend> Projection<B> for Int8Linear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let [output] = Self::forward_each([self], input);
        output
    }

    fn forward_relu(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        match Self::on_processor([self], &input, 0.0) {
            Some([output]) => output,
            None => relu(self.portable(input)),
        }
    }

    fn forward_each<const N: usize>(
        projections: [&Self; N],
        input: Tensor<B, 3>,
    ) -> [Tensor<B, 3>; N] {
        Self::on_processor(projections, &input, f32::NEG_INFINITY)
            .unwrap_or_else(|| projections.map(|projection| projection.portable(input.clone())))
    }

    fn feed_forward(&self, output: &Self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let on_processor = match (self.activations, output.activations) {
            (Activations::Int8, Activations::Int8) => feed_forward([self, output], &input),
            // The outliers between both are those of all tokens.
            _ => None,
        };
        on_processor.unwrap_or_else(|| output.forward(self.forward_relu(input)))
    }

    fn attention_arithmetic(&self) -> AttentionArithmetic {
        match self.activations {
            Activations::Int8 => AttentionArithmetic::Integer16,
            Activations::Float | Activations::Int8WithOutliers(_) => AttentionArithmetic::Float,
        }
    }
}
