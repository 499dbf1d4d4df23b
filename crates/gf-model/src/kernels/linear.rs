//! `x·W + b`, with ReLU where it is asked for.

use std::ops::Range;

use burn::{
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};
use pulp::Simd;

use super::{
    blocks::for_each_block,
    flex,
    panels::Panels,
    tile::{N_VECTORS, Tiled, dispatch, rows_from, tile},
};

/// Rows of the weight that are summed before the result is stored: such a panel stays
/// in the second-level cache, and a projection of no more inputs stores once.
const DEPTH: usize = 768;
/// Numbers between rows: some thousands apart, twelve of them would share eight places in
/// the first-level cache.
const GAP: usize = 16;
/// Fewer tokens do not pay for laying out the weight.
const MIN_TOKENS: usize = 16;

/// What is applied to the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// max(x, 0).
    Relu,
}

/// `activation(input · weight + bias)`; shapes as in
/// [`Projection::forward`](crate::Projection::forward).
pub(crate) fn linear<B: Backend>(
    linear: &Linear<B>,
    input: &Tensor<B, 3>,
    activation: Activation,
) -> Option<Tensor<B, 3>> {
    let [batch_size, seq_length, _] = input.dims();
    if batch_size * seq_length < MIN_TOKENS {
        return None;
    }
    Weights::new(linear)?.product(input, activation)
}

/// A weight laid out for the tiles, and its bias.
#[derive(Debug)]
pub(crate) struct Weights {
    panels: Panels,
    bias: Vec<f32>,
}

impl Weights {
    /// `None` on another backend, or if the numbers are not f32.
    pub(crate) fn new<B: Backend>(linear: &Linear<B>) -> Option<Self> {
        let weight = linear.weight.val();
        let [_, d_output] = weight.dims();
        let bias = match &linear.bias {
            Some(bias) => flex::slice(&flex::rows(&bias.val())?).to_vec(),
            None => vec![0.0; d_output],
        };
        Some(Self { panels: panels(&weight)?, bias })
    }

    /// `activation(input · weight + bias)`; shapes as in
    /// [`Projection::forward`](crate::Projection::forward).
    pub(crate) fn product<B: Backend>(
        &self,
        input: &Tensor<B, 3>,
        activation: Activation,
    ) -> Option<Tensor<B, 3>> {
        let [batch_size, seq_length, d_input] = input.dims();
        let d_output = self.bias.len();
        let x = flex::rows(input)?;
        let mut output = vec![0.0; batch_size * seq_length * d_output];
        let layer = Product { weights: self, d_input, activation };
        for_each_block(batch_size * seq_length, flex::slice(&x), [&mut output], |x, [y]| {
            dispatch(Block { product: layer, x, y });
        });
        flex::tensor(output, [batch_size, seq_length, d_output])
    }
}

/// Weights come by rows, or by columns where they were transposed after loading.
fn panels<B: Backend>(weight: &Tensor<B, 2>) -> Option<Panels> {
    let flex = flex::view(weight)?;
    let layout = flex.layout();
    let strides = [layout.strides()[0], layout.strides()[1]].map(usize::try_from);
    let [Ok(row_stride), Ok(column_stride)] = strides else { return None };
    let values = &flex.storage::<f32>()[layout.start_offset()..];
    Some(Panels::new(values, weight.dims(), [row_stride, column_stride]))
}

#[derive(Clone, Copy)]
struct Product<'a> {
    weights: &'a Weights,
    d_input: usize,
    activation: Activation,
}

/// The tokens of one thread.
struct Block<'a> {
    product: Product<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Tiled for Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Product { weights: Weights { panels, bias }, d_input, activation } = self.product;
        let (n_tokens, d_output) = (self.x.len() / d_input, bias.len());
        let stride = d_input.min(DEPTH) + GAP;
        let mut rows = vec![0.0; n_tokens * stride];
        for start in (0..d_input).step_by(DEPTH) {
            let end = d_input.min(start + DEPTH);
            copy(self.x, d_input, start..end, &mut rows, stride);
            let rectify = activation == Activation::Relu && end == d_input;
            let floor = simd.splat_f32s(if rectify { 0.0 } else { f32::NEG_INFINITY });
            for (j, panel) in panels.below(start).enumerate() {
                let first = j * panels.n_columns();
                let columns = first..d_output.min(first + panels.n_columns());
                let bias = (start == 0).then_some(&bias[columns.clone()]);
                for token in (0..n_tokens).step_by(ROWS) {
                    let rows = rows_from::<_, ROWS>(&rows, stride, token, 0..end - start);
                    let sums = tile(simd, rows, panel, end - start);
                    for (token, sums) in (token..n_tokens).zip(&sums) {
                        let output = &mut self.y[token * d_output..][columns.clone()];
                        store(simd, output, sums, bias, floor);
                    }
                }
            }
        }
    }
}

/// Some columns of each row, `stride` apart.
fn copy(x: &[f32], d_input: usize, columns: Range<usize>, to: &mut [f32], stride: usize) {
    for (row, to) in x.chunks_exact(d_input).zip(to.chunks_exact_mut(stride)) {
        to[..columns.len()].copy_from_slice(&row[columns.clone()]);
    }
}

/// Writes a row of sums and the bias, or adds them to the output where there is none; at least
/// `floor` afterwards.
#[inline(always)]
fn store<S: Simd>(
    simd: S,
    output: &mut [f32],
    sums: &[S::f32s; N_VECTORS],
    bias: Option<&[f32]>,
    floor: S::f32s,
) {
    let total = |before, sum| {
        let total = simd.add_f32s(before, sum);
        // Not `max`, which would turn what is no number into one.
        simd.select_f32s(simd.less_than_f32s(total, floor), floor, total)
    };
    let (whole, rest) = S::as_mut_simd_f32s(output);
    let bias = bias.map(S::as_simd_f32s);
    for (i, (output, &sum)) in whole.iter_mut().zip(sums).enumerate() {
        *output = total(bias.map_or(*output, |(bias, _)| bias[i]), sum);
    }
    if !rest.is_empty() {
        let before = simd.partial_load_f32s(bias.map_or(&*rest, |(_, bias)| bias));
        simd.partial_store_f32s(rest, total(before, sums[whole.len()]));
    }
}
