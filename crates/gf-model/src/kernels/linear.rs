//! `x·W + b` with a weight that is laid out once, and both layers of a feed-forward.

use std::{cell::Cell, ops::Range};

use burn::{
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};
use pulp::Simd;

use super::{
    blocks::{Room, for_each_block, groups},
    flex,
    strassen::{self, COLUMNS, DEPTH, Factors, PRODUCTS, Part, Place, Rows, write_rows},
    tile::{N_VECTORS, Tiled, dispatch},
};

/// A weight laid out for the tiles, and its bias.
#[derive(Debug)]
pub(crate) struct Weights {
    d_input: usize,
    factors: Factors,
    bias: Vec<f32>,
}

impl Weights {
    /// `None` on another backend, or if the numbers are not f32.
    pub(crate) fn new<B: Backend>(linear: &Linear<B>) -> Option<Self> {
        let weight = linear.weight.val();
        let [d_input, d_output] = weight.dims();
        let bias = match &linear.bias {
            Some(bias) => flex::slice(&flex::rows(&bias.val())?).to_vec(),
            None => vec![0.0; d_output],
        };
        Some(Self { d_input, factors: factors(&weight)?, bias })
    }

    fn d_output(&self) -> usize {
        self.bias.len()
    }
}

/// `input · weight + bias` of each layer, at least `floor`; shapes as in
/// [`Projection::forward`](crate::Projection::forward).
pub(crate) fn products<B: Backend, const N: usize>(
    layers: [&Weights; N],
    input: &Tensor<B, 3>,
    floor: f32,
) -> Option<[Tensor<B, 3>; N]> {
    let [batch_size, seq_length, _] = input.dims();
    let n_tokens = batch_size * seq_length;
    let x = flex::rows(input)?;
    let mut outputs = layers.map(|layer| vec![0.0; n_tokens * layer.d_output()]);
    let places = outputs.each_mut().map(Vec::as_mut_slice);
    for_each_block([batch_size, seq_length], flex::slice(&x), places, |tokens, x, outputs| {
        let groups = groups(tokens, seq_length);
        dispatch(Block { layers, groups: &groups, floor, x, outputs });
    });
    let outputs = outputs.into_iter().zip(layers);
    let tensor =
        |(y, layer): (_, &Weights)| flex::tensor(y, [batch_size, seq_length, layer.d_output()]);
    outputs.map(tensor).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// `products` of the second layer with those of the first, at least 0, to the same bytes.
pub(crate) fn feed_forward<B: Backend>(
    layers: [&Weights; 2],
    input: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let [batch_size, seq_length, _] = input.dims();
    let d_output = layers[1].d_output();
    let x = flex::rows(input)?;
    let mut y = vec![0.0; batch_size * seq_length * d_output];
    for_each_block([batch_size, seq_length], flex::slice(&x), [&mut y], |tokens, x, [y]| {
        let groups = groups(tokens, seq_length);
        dispatch(FeedForward { layers, groups: &groups, x, y });
    });
    flex::tensor(y, [batch_size, seq_length, d_output])
}

/// Weights come by rows, or by columns where they were transposed after loading.
fn factors<B: Backend>(weight: &Tensor<B, 2>) -> Option<Factors> {
    let flex = flex::view(weight)?;
    let layout = flex.layout();
    let strides = [layout.strides()[0], layout.strides()[1]].map(usize::try_from);
    let [Ok(row_stride), Ok(column_stride)] = strides else { return None };
    let values = &flex.storage::<f32>()[layout.start_offset()..];
    Some(Factors::new(values, weight.dims(), [row_stride, column_stride]))
}

/// The tokens of one thread.
struct Block<'a, const N: usize> {
    layers: [&'a Weights; N],
    groups: &'a [Range<usize>],
    floor: f32,
    x: &'a [f32],
    outputs: [&'a mut [f32]; N],
}

impl<const N: usize> Tiled for Block<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { layers, groups, floor, x, outputs } = self;
        multiply::<S, ROWS, N>(simd, layers, groups, floor, x, outputs);
    }
}

/// Two layers for the tokens of one thread.
struct FeedForward<'a> {
    layers: [&'a Weights; 2],
    groups: &'a [Range<usize>],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Tiled for FeedForward<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { layers: [inner, output], groups, x, y } = self;
        let mut between = Room::new(x.len() / inner.d_input * inner.d_output());
        multiply::<S, ROWS, 1>(simd, [inner], groups, 0.0, x, [between.numbers()]);
        multiply::<S, ROWS, 1>(simd, [output], groups, f32::NEG_INFINITY, between.numbers(), [y]);
    }
}

thread_local! {
    /// Left factors, kept from one block to the next as in [`Room`].
    static FACTORS: Cell<Vec<Rows>> = const { Cell::new(Vec::new()) };
}

/// Writes `x · weight + bias` of each layer, at least `floor`.
#[inline(always)]
fn multiply<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    layers: [&Weights; N],
    groups: &[Range<usize>],
    floor: f32,
    x: &[f32],
    mut outputs: [&mut [f32]; N],
) {
    let Some(Weights { d_input, factors, .. }) = layers.first() else { return };
    let mut left = FACTORS.take();
    left.resize(left.len().max(groups.len()), [[[0.0; _]; _]; _]);
    for (p, Part { rows: depth, .. }) in factors.parts.iter().enumerate() {
        for (tokens, left) in in_block(groups).zip(&mut left) {
            lay_out(&x[tokens.start * d_input..tokens.end * d_input], *d_input, depth, left);
        }
        for (layer, y) in layers.into_iter().zip(&mut outputs) {
            let floor = if depth.end == *d_input { floor } else { f32::NEG_INFINITY };
            let add = depth.start > 0;
            for (column, panels) in layer.factors.parts[p].pairs() {
                for (tokens, left) in in_block(groups).zip(&left) {
                    let mut place = Columns { layer, column, floor, add, tokens, row: 0, y };
                    place.multiply::<S, ROWS>(simd, left, panels);
                }
            }
        }
    }
    FACTORS.set(left);
}

/// Groups, counted from the first token of the block.
fn in_block(groups: &[Range<usize>]) -> impl Iterator<Item = Range<usize>> {
    let first = groups.first().map_or(0, |group| group.start);
    groups.iter().map(move |group| group.start - first..group.end - first)
}

/// Writes the left factors of a group: each token of the first half is paired with one of
/// the second.
#[inline(always)]
fn lay_out(x: &[f32], d_input: usize, depth: &Range<usize>, to: &mut Rows) {
    let none = &[0.0; DEPTH][..depth.len()];
    let n_tokens = x.len() / d_input;
    let half = n_tokens.div_ceil(2);
    let token = |i: usize| match i < n_tokens {
        true => &x[i * d_input..][depth.clone()],
        false => none,
    };
    for i in 0..half {
        write_rows([token(i), token(i + half)], to.each_mut().map(|factor| &mut factor[i]));
    }
}

/// The columns of a pair of panels, for the tokens of a group.
struct Columns<'a> {
    layer: &'a Weights,
    column: usize,
    floor: f32,
    /// To what earlier parts gave.
    add: bool,
    tokens: Range<usize>,
    /// The first pair of tokens that is written next.
    row: usize,
    y: &'a mut [f32],
}

impl Columns<'_> {
    fn half(&self) -> usize {
        self.tokens.len().div_ceil(2)
    }

    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        left: &Rows,
        panels: [&[f32]; PRODUCTS],
    ) {
        for row in (0..self.half()).step_by(ROWS) {
            self.row = row;
            match ROWS.min(self.half() - row) {
                ..=4 => strassen::multiply::<S, 4>(simd, left, row, panels, self),
                5..=6 => strassen::multiply::<S, 6>(simd, left, row, panels, self),
                _ => strassen::multiply::<S, ROWS>(simd, left, row, panels, self),
            }
        }
    }
}

impl Place for Columns<'_> {
    #[inline(always)]
    fn write<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        [down, right]: [usize; 2],
        sums: &[[S::f32s; N_VECTORS]; ROWS],
    ) {
        let d_output = self.layer.d_output();
        let start = d_output.min(self.column + right * COLUMNS);
        let end = d_output.min(start + N_VECTORS * S::F32_LANES);
        let bias = (!self.add).then_some(&self.layer.bias[start..end]);
        let floor = simd.splat_f32s(self.floor);
        let first = self.tokens.start + down * self.half();
        let tokens = first + self.row..self.tokens.end.min(first + self.half());
        for (token, sums) in tokens.zip(sums) {
            let output = &mut self.y[token * d_output..][start..end];
            store(simd, output, sums, bias, floor);
        }
    }
}

/// Writes a row of sums and the bias, or adds them to the output where there is none; at least
/// `floor` afterwards.
#[inline(always)]
fn store<S: Simd>(
    simd: S,
    output: &mut [f32],
    sums: &[S::f32s],
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
        let before = match bias {
            Some((bias, _)) => bias[i],
            None => *output,
        };
        *output = total(before, sum);
    }
    if !rest.is_empty() {
        let before = simd.partial_load_f32s(bias.map_or(&*rest, |(_, bias)| bias));
        simd.partial_store_f32s(rest, total(before, sums[whole.len()]));
    }
}
