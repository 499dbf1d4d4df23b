//! Softmax attention in blocks, with the running maximum and sum of "Online
//! normalizer calculation for softmax" (Milakov and Gimelshein, 2018).

mod integer;

use burn::tensor::{Tensor, backend::Backend};
use pulp::Simd;
use rayon::prelude::*;

use super::{
    blocks::for_each_block,
    flex,
    panels::Panels,
    tile::{MOST_ROWS, Rows, Sums, Tiled, dispatch, tile},
};

/// Keys between two rescalings of the running sums: the scores of a block of queries, and
/// these keys and values of a head, stay in the second-level cache.
pub(super) const KEYS: usize = 512;
/// Room for [`KEYS`] scores, and some more: rows that are powers of two apart would share
/// places in the first-level cache.
pub(super) type Scores = [f32; KEYS + 16];
/// Numbers that are summed side by side.
const LANES: usize = 32;

/// The numbers in which queries, keys, weights and values are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionArithmetic {
    /// f32.
    Float,
    /// Integers of 16 bits in host memory, f32 elsewhere.
    Integer16,
}

/// `softmax(q·kᵀ/√d_head)·v` per head, over the real keys of each row.
///
/// # Shapes
///
/// - query `[batch_size, n_queries, d_model]`, output alike
/// - key and value `[batch_size, seq_length, d_model]`
/// - lengths: real keys of each row
pub(crate) fn attention<B: Backend>(
    query: &Tensor<B, 3>,
    key: &Tensor<B, 3>,
    value: &Tensor<B, 3>,
    n_heads: usize,
    lengths: &[usize],
    arithmetic: AttentionArithmetic,
) -> Option<Tensor<B, 3>> {
    let [batch_size, n_queries, d_model] = query.dims();
    let [_, seq_length, _] = key.dims();
    let (q, k, v) = (flex::rows(query)?, flex::rows(key)?, flex::rows(value)?);
    let mut output = vec![0.0; batch_size * n_queries * d_model];
    let cells = output
        .par_chunks_mut(n_queries * d_model)
        .zip(flex::slice(&q).par_chunks(n_queries * d_model))
        .zip(flex::slice(&k).par_chunks(seq_length * d_model))
        .zip(flex::slice(&v).par_chunks(seq_length * d_model))
        .zip(lengths);
    cells.for_each(|((((output, q), k), v), &length)| {
        let real = length.max(1) * d_model;
        let (k, v) = (&k[..real], &v[..real]);
        match arithmetic {
            AttentionArithmetic::Float => Cell::new(k, v, d_model, n_heads).attend(q, output),
            AttentionArithmetic::Integer16 => {
                integer::Cell::new(k, v, d_model, n_heads).attend(q, output);
            }
        }
    });
    flex::tensor(output, [batch_size, n_queries, d_model])
}

/// Keys and values of one cell, laid out per head.
pub(super) struct Cell {
    pub(super) heads: Vec<(Panels, Panels)>,
    length: usize,
    d_model: usize,
}

impl Cell {
    pub(super) fn new(keys: &[f32], values: &[f32], d_model: usize, n_heads: usize) -> Self {
        let (d_head, length) = (d_model / n_heads, keys.len() / d_model);
        let head = |head: usize| {
            let first = head * d_head;
            let keys = Panels::new(&keys[first..], [d_head, length], [1, d_model]);
            let values = Panels::new(&values[first..], [length, d_head], [d_model, 1]);
            (keys, values)
        };
        Self { heads: (0..n_heads).into_par_iter().map(head).collect(), length, d_model }
    }

    fn attend(&self, queries: &[f32], output: &mut [f32]) {
        let n_queries = queries.len() / self.d_model;
        for_each_block([1, n_queries], queries, [output], |_, queries, [output]| {
            dispatch(Block { cell: self, queries, output });
        });
    }
}

/// The queries of one thread.
struct Block<'a> {
    cell: &'a Cell,
    queries: &'a [f32],
    output: &'a mut [f32],
}

impl Tiled for Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Cell { heads, length, d_model } = self.cell;
        let d_head = d_model / heads.len();
        let n_queries = self.queries.len() / d_model;
        let mut state = State::new(n_queries, d_head, heads[0].1.n_columns());
        for (head, (keys, values)) in heads.iter().enumerate() {
            let columns = head * d_head..(head + 1) * d_head;
            state.begin(self.queries.chunks_exact(*d_model).map(|row| &row[columns.clone()]));
            for first in (0..*length).step_by(KEYS) {
                let n_keys = KEYS.min(length - first);
                state.score::<S, ROWS>(simd, keys, first, n_keys);
                state.exponentiate(simd, n_keys);
                state.mix::<S, ROWS>(simd, values, first, n_keys);
            }
            let outputs = self.output.chunks_exact_mut(*d_model);
            state.finish(outputs.map(|row| &mut row[columns.clone()]));
        }
    }
}

/// What a block of queries of one head has seen so far.
pub(super) struct State {
    d_head: usize,
    /// Columns of `mixed`: whole panels.
    pub(super) width: usize,
    /// Times [`scale`]: `[n_queries / MOST_ROWS, d_head, MOST_ROWS]`, zeros beyond the last.
    queries: Vec<f32>,
    /// Of each query, then their exponentials; whole tiles of rows.
    pub(super) scores: Vec<Scores>,
    /// `[n_rows, width]`: sums of values, weighted by exponentials.
    pub(super) mixed: Vec<f32>,
    /// Largest score of each query.
    pub(super) top: Vec<f32>,
    /// Sum of exponentials of each query.
    pub(super) total: Vec<f32>,
}

impl State {
    pub(super) fn new(n_queries: usize, d_head: usize, n_columns: usize) -> Self {
        let width = d_head.next_multiple_of(n_columns);
        let n_rows = n_queries.next_multiple_of(MOST_ROWS);
        Self {
            d_head,
            width,
            queries: vec![0.0; n_rows * d_head],
            scores: vec![[0.0; _]; n_rows],
            mixed: vec![0.0; n_rows * width],
            top: vec![0.0; n_queries],
            total: vec![0.0; n_queries],
        }
    }

    pub(super) fn begin<'a>(&mut self, queries: impl Iterator<Item = &'a [f32]>) {
        let scale = scale(self.d_head);
        for (query, from) in queries.enumerate() {
            let first = self.place(query);
            let to = self.queries[first..].iter_mut().step_by(MOST_ROWS);
            to.zip(from).for_each(|(to, from)| *to = from * scale);
        }
        self.mixed.fill(0.0);
        self.top.fill(f32::NEG_INFINITY);
        self.total.fill(0.0);
    }

    /// Of the first number of a query.
    fn place(&self, query: usize) -> usize {
        query / MOST_ROWS * MOST_ROWS * self.d_head + query % MOST_ROWS
    }

    /// Products of every query with `n_keys` keys from `first` on, a multiple of the
    /// panels' columns.
    #[inline(always)]
    pub(super) fn score<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        keys: &Panels,
        first: usize,
        n_keys: usize,
    ) {
        let n_columns = keys.n_columns();
        let panels = keys.below(0).skip(first / n_columns).take(n_keys.div_ceil(n_columns));
        for (j, panel) in panels.enumerate() {
            for query in (0..self.top.len()).step_by(ROWS) {
                let values = &self.queries[self.place(query)..];
                let rows = Rows { values, row: 1, column: MOST_ROWS };
                let none = [[simd.splat_f32s(0.0); _]; _];
                let sums: Sums<_, ROWS> = tile(simd, rows, panel, self.d_head, none);
                for (scores, sums) in self.scores[query..][..ROWS].iter_mut().zip(&sums) {
                    let scores = &mut scores[j * n_columns..][..n_columns];
                    S::as_mut_simd_f32s(scores).0.copy_from_slice(sums);
                }
            }
        }
    }

    /// Scores to exponentials below the largest score so far; what was summed under a
    /// smaller one shrinks.
    #[inline(always)]
    pub(super) fn exponentiate<S: Simd>(&mut self, simd: S, n_keys: usize) {
        // What fills up the last numbers weighs nothing.
        let n_filled = n_keys.next_multiple_of(LANES);
        let rows = self.scores.iter_mut().zip(self.mixed.chunks_exact_mut(self.width));
        for ((scores, mixed), (top, total)) in rows.zip(self.top.iter_mut().zip(&mut self.total)) {
            scores[n_keys..n_filled].fill(f32::NEG_INFINITY);
            let (vectors, _) = S::as_simd_f32s(&scores[..n_filled]);
            rescale(max(simd, vectors).max(*top), top, total, mixed);
        }
        // Not in the loop above, where each row would wait for its own largest score.
        for ((scores, &top), total) in self.scores.iter_mut().zip(&self.top).zip(&mut self.total) {
            *total += weigh(simd, &mut scores[..n_filled], top);
        }
    }

    /// Adds `n_keys` values from `first` on, by their weights.
    #[inline(always)]
    pub(super) fn mix<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        values: &Panels,
        first: usize,
        n_keys: usize,
    ) {
        let n_columns = values.n_columns();
        for (j, panel) in values.below(first).enumerate() {
            for query in (0..self.top.len()).step_by(ROWS) {
                let rows = Rows::of(&self.scores[query..]);
                let none = [[simd.splat_f32s(0.0); _]; _];
                let sums: Sums<_, ROWS> = tile(simd, rows, panel, n_keys, none);
                let mixed = self.mixed[query * self.width..].chunks_exact_mut(self.width);
                for (mixed, sums) in mixed.zip(&sums) {
                    let (mixed, _) = S::as_mut_simd_f32s(&mut mixed[j * n_columns..][..n_columns]);
                    mixed.iter_mut().zip(sums).for_each(|(to, &sum)| *to = simd.add_f32s(*to, sum));
                }
            }
        }
    }

    fn finish<'a>(&self, outputs: impl Iterator<Item = &'a mut [f32]>) {
        let rows = self.mixed.chunks_exact(self.width).zip(&self.total);
        for (output, (mixed, total)) in outputs.zip(rows) {
            output.iter_mut().zip(mixed).for_each(|(to, sum)| *to = sum / total);
        }
    }
}

/// What scores are multiplied by: 1/√`d_head`, and log₂ e so that weights are powers of two.
fn scale(d_head: usize) -> f32 {
    std::f32::consts::LOG2_E / (d_head as f32).sqrt()
}

/// Shrinks what was summed below `top` where a score is higher.
#[inline(always)]
fn rescale(highest: f32, top: &mut f32, total: &mut f32, mixed: &mut [f32]) {
    if highest > *top {
        let shrink = (*top - highest).exp2();
        mixed.iter_mut().for_each(|sum| *sum *= shrink);
        *total *= shrink;
        *top = highest;
    }
}

#[inline(always)]
fn max<S: Simd>(simd: S, values: &[S::f32s]) -> f32 {
    let lowest = simd.splat_f32s(f32::NEG_INFINITY);
    simd.reduce_max_f32s(values.iter().fold(lowest, |max, &x| simd.max_f32s(max, x)))
}

/// Scores to `2^(score − top)`, and their sum in an order that the width of the vectors does
/// not change.
#[inline(always)]
fn weigh<S: Simd>(simd: S, scores: &mut [f32], top: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (sums, _) = S::as_mut_simd_f32s(&mut lanes);
    let top = simd.splat_f32s(top);
    for scores in scores.as_chunks_mut::<LANES>().0 {
        let (scores, _) = S::as_mut_simd_f32s(scores);
        for (x, sum) in scores.iter_mut().zip(&mut *sums) {
            *x = exp2(simd, simd.sub_f32s(*x, top));
            *sum = simd.add_f32s(*sum, *x);
        }
    }
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        let (low, high) = lanes.split_at_mut(n);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
    }
    lanes[0]
}

/// `2^x` for `x ≤ 0`, to 2e-7 of its value; 0 below the smallest normal number.
#[inline(always)]
fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LOWEST: f32 = -126.0;
    /// Of least relative error on −½…½, exact at 0.
    #[expect(clippy::approx_constant, reason = "a fitted coefficient, not ln 2")]
    const POLYNOMIAL: [f32; 6] =
        [1.326_466_6e-3, 9.671_513e-3, 5.550_734e-2, 2.402_224_2e-1, 6.931_47e-1, 1.0];
    let lowest = simd.splat_f32s(LOWEST);
    let too_low = simd.less_than_f32s(x, lowest);
    // Anything, where `x` is too low.
    let (value, power) = split_exp2(simd, x, &POLYNOMIAL, 0);
    simd.select_f32s(too_low, simd.splat_f32s(0.0), simd.mul_f32s(value, power))
}

/// Adding it rounds to a whole number, in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `2^x · 2^shift` as a polynomial of what rounding leaves of `x`, and a power of two.
#[inline(always)]
fn split_exp2<S: Simd>(simd: S, x: S::f32s, polynomial: &[f32], shift: u32) -> (S::f32s, S::f32s) {
    let round = simd.splat_f32s(ROUND);
    let rounded = simd.add_f32s(x, round);
    let rest = simd.sub_f32s(x, simd.sub_f32s(rounded, round));
    let times_rest = |sum, &c: &f32| simd.mul_add_f32s(sum, rest, simd.splat_f32s(c));
    let first = simd.splat_f32s(polynomial[0]);
    let value = polynomial[1..].iter().fold(first, times_rest);
    let bits = f32::MANTISSA_DIGITS - 1;
    let exponent =
        simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(bits));
    let one = simd.splat_u32s(1.0_f32.to_bits() + (shift << bits));
    (value, simd.transmute_f32s_u32s(simd.add_u32s(exponent, one)))
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;

    /// Eight rounding steps of f32.
    const TOLERANCE: f64 = 1e-6;

    /// `2^x` of each number, by this processor's vectors or one after the other.
    struct Powers<'a>(&'a mut [f32]);

    impl WithSimd for Powers<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (vectors, rest) = S::as_mut_simd_f32s(self.0);
            assert!(rest.is_empty());
            vectors.iter_mut().for_each(|x| *x = exp2(simd, *x));
        }
    }

    #[track_caller]
    fn check_powers(run: impl Fn(Powers<'_>)) {
        let numbers: Vec<f32> = (0..102_400).map(|i| -0.0013 * i as f32).collect();
        let mut found = numbers.clone();
        run(Powers(&mut found));
        for (&x, found) in numbers.iter().zip(found) {
            let expected = f64::from(x).exp2();
            let error = (f64::from(found) - expected).abs() / expected;
            assert!(x < -126.0 || error < TOLERANCE, "2^{x} is {found}, expected {expected}");
        }
        let mut edges =
            [0.0, -127.0, f32::NEG_INFINITY, f32::NAN, f32::MIN, -1e9, -5e6, -1e4].repeat(4);
        run(Powers(&mut edges));
        assert_eq!(edges[..3], [1.0, 0.0, 0.0]);
        assert!(edges[3].is_nan());
        assert_eq!(edges[4..8], [0.0; 4]);
    }

    #[test]
    fn powers_of_two() {
        check_powers(|work| pulp::Arch::new().dispatch(work));
        check_powers(|work| work.with_simd(pulp::Scalar));
    }
}
