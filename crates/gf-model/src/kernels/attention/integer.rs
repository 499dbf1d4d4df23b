//! Attention in 16-bit integers: twice the products of f32 per instruction.
//!
//! A query and a key are rounded to codes of their largest number, a channel of the
//! values to codes of its largest in the cell, and exponentials to [`WEIGHT`] steps;
//! products of codes add up exactly. Codes are finer than the bytes to which INT8
//! projections round their inputs.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{ROUND, max, rescale, scale, split_exp2};
use crate::kernels::{
    absmax,
    blocks::for_each_block,
    larger,
    pairs::{Pairs, Work, dispatch, n_columns, rows_from},
};

/// Keys between two rescalings of the running sums.
const KEYS: usize = 128;
/// Code of an exponential of 1: `2^WEIGHT_BITS`.
const WEIGHT: i32 = 1 << WEIGHT_BITS;
const WEIGHT_BITS: u32 = 13;
/// Largest code of a value.
const VALUE: i32 = 2_047;
/// Products with the values of [`KEYS`] keys fit 32 bits.
const _: () = assert!(KEYS as i64 * WEIGHT as i64 * VALUE as i64 <= i32::MAX as i64);
/// Numbers below are zeros: their inverse would be infinite.
const TINY: f32 = 1e-30;

/// Keys and values of one cell, as codes per head.
pub struct Cell {
    heads: Vec<Head>,
    length: usize,
    d_model: usize,
}

impl Cell {
    /// From `[length, d_model]` each.
    pub fn new(keys: &[f32], values: &[f32], d_model: usize, n_heads: usize) -> Self {
        let d_head = d_model / n_heads;
        let head = |head: usize| {
            let columns = head * d_head..(head + 1) * d_head;
            let rows = |numbers| Rows { numbers, d_model, columns: columns.clone() };
            pulp::Arch::new().dispatch(New { keys: rows(keys), values: rows(values) })
        };
        let heads = (0..n_heads).into_par_iter().map(head).collect();
        Self { heads, length: keys.len() / d_model, d_model }
    }

    /// What each of the queries takes from the values, both `[n_queries, d_model]`.
    pub fn attend(&self, queries: &[f32], output: &mut [f32]) {
        let n_queries = queries.len() / self.d_model;
        for_each_block([1, n_queries], queries, [output], |_, queries, [output]| {
            dispatch(Block { cell: self, queries, output });
        });
    }
}

/// The columns of one head.
struct Rows<'a> {
    numbers: &'a [f32],
    d_model: usize,
    columns: std::ops::Range<usize>,
}

impl Rows<'_> {
    fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.numbers.chunks_exact(self.d_model).map(|row| &row[self.columns.clone()])
    }
}

/// Codes of one head, in panels of pairs as [`Pairs::tile_words`] reads them.
struct Head {
    /// Pairs of neighbouring channels: `[n_panels, d_head / 2, n_columns]`, a key a column.
    keys: Vec<i32>,
    /// What a code of each key stands for; as many as columns.
    key_units: Vec<f32>,
    /// Pairs of neighbouring keys: `[n_panels, length / 2, n_columns]`, a channel a column.
    values: Vec<i32>,
    /// What a code of each channel stands for.
    value_units: Vec<f32>,
}

/// Not a closure, which would be compiled without this processor's vectors.
struct New<'a> {
    keys: Rows<'a>,
    values: Rows<'a>,
}

impl WithSimd for New<'_> {
    type Output = Head;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Head {
        let (keys, key_units) = key_panels(&self.keys);
        let (values, value_units) = value_panels(&self.values);
        Head { keys, key_units, values, value_units }
    }
}

impl Head {
    /// Not a number where any key has one: then no weight is.
    fn poison(&self) -> f32 {
        self.key_units.iter().map(|unit| unit * 0.0).sum()
    }
}

#[inline(always)]
fn key_panels(keys: &Rows<'_>) -> (Vec<i32>, Vec<f32>) {
    let (n_columns, d_head) = (n_columns(), keys.columns.len());
    let (length, n_pairs) = (keys.iter().len(), d_head.div_ceil(2));
    let n_keys = length.next_multiple_of(n_columns);
    let (mut panels, mut units) = (vec![0; n_keys * n_pairs], vec![0.0; n_keys]);
    let mut words = vec![0; n_pairs];
    let places = panels.chunks_exact_mut(n_pairs * n_columns);
    for ((panel, units), first) in
        places.zip(units.chunks_exact_mut(n_columns)).zip((0..).step_by(n_columns))
    {
        for (j, key) in keys.iter().skip(first).take(n_columns).enumerate() {
            units[j] = encode(key, max_code(d_head), &mut words);
            let places = panel[j..].iter_mut().step_by(n_columns);
            places.zip(&words).for_each(|(place, word)| *place = *word);
        }
    }
    (panels, units)
}

#[inline(always)]
fn value_panels(values: &Rows<'_>) -> (Vec<i32>, Vec<f32>) {
    let (n_columns, d_head) = (n_columns(), values.columns.len());
    let n_pairs = values.iter().len().div_ceil(2);
    let mut largest = vec![0.0f32; d_head];
    for value in values.iter() {
        largest.iter_mut().zip(value).for_each(|(largest, x)| *largest = larger(x.abs(), *largest));
    }
    let scales: Vec<f32> = largest.iter().map(|x| VALUE as f32 / x.max(TINY)).collect();
    let mut panels = vec![0; d_head.next_multiple_of(n_columns) * n_pairs];
    for (panel, first) in panels.chunks_exact_mut(n_pairs * n_columns).zip((0..).step_by(n_columns))
    {
        let columns = first..d_head.min(first + n_columns);
        let code = |value: &[f32], to: &mut [i32], shift: u32| {
            let numbers = value[columns.clone()].iter().zip(&scales[columns.clone()]);
            to.iter_mut().zip(numbers).for_each(|(word, (x, scale))| {
                *word |= (code(x * scale, VALUE as f32) & 0xffff) << shift;
            });
        };
        for (i, value) in values.iter().enumerate() {
            code(value, &mut panel[i / 2 * n_columns..][..n_columns], 16 * (i as u32 % 2));
        }
    }
    let mut units: Vec<f32> = largest.iter().map(|x| x.max(TINY) / VALUE as f32).collect();
    for value in values.iter() {
        units.iter_mut().zip(value).for_each(|(unit, x)| *unit += x * 0.0);
    }
    (panels, units)
}

/// Largest code of a query and of a key: the sum of their products fits 32 bits.
fn max_code(d_head: usize) -> f32 {
    let largest = (f64::from(i32::MAX) / d_head as f64).sqrt().floor();
    largest.min(f64::from(i16::MAX)) as f32
}

/// Writes the codes of a row in pairs and returns what a code stands for: not a number
/// where the row has one.
#[inline(always)]
fn encode(row: &[f32], max_code: f32, words: &mut [i32]) -> f32 {
    let absmax = larger(absmax(row), TINY);
    let scale = max_code / absmax;
    let codes = bytemuck::cast_slice_mut::<i32, i16>(words).iter_mut();
    codes.zip(row).for_each(|(to, x)| *to = code(x * scale, max_code) as i16);
    let is_finite = row.iter().fold(true, |is_finite, x| is_finite & x.is_finite());
    if is_finite { absmax / max_code } else { f32::NAN }
}

/// The nearest whole number, ties to even.
#[inline(always)]
fn code(x: f32, max_code: f32) -> i32 {
    (x.clamp(-max_code, max_code) + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

/// The queries of one thread.
struct Block<'a> {
    cell: &'a Cell,
    queries: &'a [f32],
    output: &'a mut [f32],
}

impl Work for Block<'_> {
    #[inline(always)]
    fn run<P: Pairs, const ROWS: usize>(self, simd: P) {
        let Cell { heads, length, d_model } = self.cell;
        let d_head = d_model / heads.len();
        let mut state = State::new(self.queries.len() / d_model, d_head, n_columns());
        for (i, head) in heads.iter().enumerate() {
            let columns = i * d_head..(i + 1) * d_head;
            let queries = Rows { numbers: self.queries, d_model: *d_model, columns };
            state.begin(&queries, head);
            for first in (0..*length).step_by(KEYS) {
                let n_keys = KEYS.min(length - first);
                state.score::<P, ROWS>(simd, head, first, n_keys);
                state.weigh(simd.floats(), n_keys);
                state.mix::<P, ROWS>(simd, head, first, n_keys);
            }
            let outputs = self.output.chunks_exact_mut(*d_model);
            state.finish(&head.value_units, outputs.map(|row| &mut row[queries.columns.clone()]));
        }
    }
}

/// What a block of queries of one head has seen so far.
struct State {
    n_columns: usize,
    /// Pairs of a query.
    n_pairs: usize,
    /// Columns of `mixed`: whole panels.
    width: usize,
    /// Codes, `[n_queries, n_pairs]`.
    queries: Vec<i32>,
    /// What a code of each query stands for, times [`scale`].
    units: Vec<f32>,
    /// `[n_queries, KEYS]`, in the unit of each query.
    scores: Vec<f32>,
    /// Codes of the exponentials, `[n_queries, KEYS / 2]` pairs.
    weights: Vec<i32>,
    /// `[n_queries, width]`: sums of codes of values, weighted.
    mixed: Vec<f32>,
    /// Largest score of each query.
    top: Vec<f32>,
    /// Sum of the weights of each query.
    total: Vec<f32>,
}

impl State {
    fn new(n_queries: usize, d_head: usize, n_columns: usize) -> Self {
        let (n_pairs, width) = (d_head.div_ceil(2), d_head.next_multiple_of(n_columns));
        Self {
            n_columns,
            n_pairs,
            width,
            queries: vec![0; n_queries * n_pairs],
            units: vec![0.0; n_queries],
            scores: vec![0.0; n_queries * KEYS],
            weights: vec![0; n_queries * KEYS / 2],
            mixed: vec![0.0; n_queries * width],
            top: vec![0.0; n_queries],
            total: vec![0.0; n_queries],
        }
    }

    #[inline(always)]
    fn begin(&mut self, queries: &Rows<'_>, head: &Head) {
        let d_head = queries.columns.len();
        let words = self.queries.chunks_exact_mut(self.n_pairs);
        for ((words, unit), query) in words.zip(&mut self.units).zip(queries.iter()) {
            *unit = encode(query, max_code(d_head), words) * scale(d_head);
        }
        self.mixed.fill(0.0);
        self.top.fill(f32::NEG_INFINITY);
        let poison = head.poison();
        self.total
            .iter_mut()
            .zip(&self.units)
            .for_each(|(total, unit)| *total = unit * 0.0 + poison);
    }

    /// Products of every query with `n_keys` keys from `first` on.
    #[inline(always)]
    fn score<P: Pairs, const ROWS: usize>(
        &mut self,
        simd: P,
        head: &Head,
        first: usize,
        n_keys: usize,
    ) {
        let n_columns = self.n_columns;
        let panels = head.keys.chunks_exact(self.n_pairs * n_columns);
        let panels = panels.zip(head.key_units.chunks_exact(n_columns));
        let some = panels.skip(first / n_columns).take(n_keys.div_ceil(n_columns));
        for (j, (panel, key_units)) in some.enumerate() {
            for query in (0..self.units.len()).step_by(ROWS) {
                let rows =
                    rows_from::<_, ROWS>(&self.queries, self.n_pairs, query, 0..self.n_pairs);
                let sums = simd.tile_words(rows, panel, self.n_pairs);
                let scores = self.scores[query * KEYS..].chunks_exact_mut(KEYS);
                for (scores, sums) in scores.zip(&sums) {
                    let scores = scores[j * n_columns..][..n_columns].iter_mut().zip(key_units);
                    let sums: &[i32] = bytemuck::cast_slice(sums);
                    scores.zip(sums).for_each(|((score, unit), &sum)| *score = sum as f32 * unit);
                }
            }
        }
    }

    /// Scores to weights below the largest score so far; what was summed under a smaller
    /// one shrinks.
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, simd: S, n_keys: usize) {
        /// Its code is 0.
        const LOWEST: f32 = -64.0;
        /// Of least relative error on −½…½, 1e-4: a step of a weight.
        const POLYNOMIAL: [f32; 4] = [5.500_860_5e-2, 2.422_110_1e-1, 6.932_83e-1, 1.0];
        // What fills the last vector or pair up weighs nothing.
        let n_filled = n_keys.next_multiple_of(S::F32_LANES.max(2));
        let rows = self.scores.chunks_exact_mut(KEYS).zip(self.weights.chunks_exact_mut(KEYS / 2));
        let sums = self.mixed.chunks_exact_mut(self.width).zip(&mut self.total);
        let queries = rows.zip(sums).zip(self.top.iter_mut().zip(&self.units));
        for (((scores, weights), (mixed, total)), (top, unit)) in queries {
            scores[n_keys..n_filled].fill(f32::NEG_INFINITY);
            let (vectors, _) = S::as_mut_simd_f32s(&mut scores[..n_filled]);
            let highest = (max(simd, vectors) * unit).max(*top);
            rescale(highest, top, total, mixed);
            let (unit, below) = (simd.splat_f32s(*unit), simd.splat_f32s(-highest));
            let mut sum = simd.splat_f32s(0.0);
            for x in vectors {
                let below = simd.mul_add_f32s(*x, unit, below);
                let below = simd.max_f32s(below, simd.splat_f32s(LOWEST));
                let (value, power) = split_exp2(simd, below, &POLYNOMIAL, WEIGHT_BITS);
                *x = simd.mul_add_f32s(value, power, simd.splat_f32s(ROUND));
                sum = simd.add_f32s(sum, simd.sub_f32s(*x, simd.splat_f32s(ROUND)));
            }
            // Whole numbers below 2²⁴: in no order is anything rounded.
            *total += simd.reduce_sum_f32s(sum);
            let codes = bytemuck::cast_slice_mut::<i32, i16>(weights).iter_mut();
            codes.zip(&scores[..n_filled]).for_each(|(code, x)| *code = x.to_bits() as i16);
        }
    }

    /// Adds `n_keys` values from `first` on, by their weights.
    #[inline(always)]
    fn mix<P: Pairs, const ROWS: usize>(
        &mut self,
        simd: P,
        head: &Head,
        first: usize,
        n_keys: usize,
    ) {
        let (n_columns, n_pairs) = (self.n_columns, n_keys.div_ceil(2));
        let depth = head.values.len() / self.width;
        for (j, panel) in head.values.chunks_exact(depth * n_columns).enumerate() {
            let panel = &panel[first / 2 * n_columns..][..n_pairs * n_columns];
            for query in (0..self.units.len()).step_by(ROWS) {
                let rows = rows_from::<_, ROWS>(&self.weights, KEYS / 2, query, 0..n_pairs);
                let sums = simd.tile_words(rows, panel, n_pairs);
                let mixed = self.mixed[query * self.width..].chunks_exact_mut(self.width);
                for (mixed, sums) in mixed.zip(&sums) {
                    let mixed = mixed[j * n_columns..][..n_columns].iter_mut();
                    let sums: &[i32] = bytemuck::cast_slice(sums);
                    mixed.zip(sums).for_each(|(to, &sum)| *to += sum as f32);
                }
            }
        }
    }

    #[inline(always)]
    fn finish<'a>(&self, units: &[f32], outputs: impl Iterator<Item = &'a mut [f32]>) {
        let rows = self.mixed.chunks_exact(self.width).zip(&self.total);
        for (output, (mixed, total)) in outputs.zip(rows) {
            let numbers = mixed.iter().zip(units);
            output.iter_mut().zip(numbers).for_each(|(to, (sum, unit))| *to = sum / total * unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the largest value: half a step of each weight, 1/16,384 of the largest, adds up
    /// over hundreds of keys; a code of a value is 1/4,094 off.
    const TOLERANCE: f64 = 4e-3;
    /// What INT8 may lose between its projections (issue of the encoder on a CPU).
    const MIN_COSINE: f64 = 0.9999;

    fn numbers(n: usize, seed: u32, size: f32) -> Vec<f32> {
        let number = |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed).wrapping_mul(0x9e37_79b9);
        (0..n as u32).map(|i| (number(i) as f32 / 2e9 - 1.0) * size).collect()
    }

    /// Attention from its definition, in f64.
    fn exact(q: &[f32], k: &[f32], v: &[f32], d_model: usize, n_heads: usize) -> Vec<f64> {
        let d_head = d_model / n_heads;
        let mut output = vec![0.0; q.len()];
        for (q, output) in q.chunks(d_model).zip(output.chunks_mut(d_model)) {
            for head in 0..n_heads {
                let columns = head * d_head..(head + 1) * d_head;
                let dot = |k: &[f32]| -> f64 {
                    let pairs = q[columns.clone()].iter().zip(&k[columns.clone()]);
                    pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum()
                };
                let scores: Vec<f64> =
                    k.chunks(d_model).map(|k| dot(k) / (d_head as f64).sqrt()).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (v, weight) in v.chunks(d_model).zip(weights) {
                    let pairs = output[columns.clone()].iter_mut().zip(&v[columns.clone()]);
                    pairs.for_each(|(to, v)| *to += weight / total * f64::from(*v));
                }
            }
        }
        output
    }

    fn attend(q: &[f32], k: &[f32], v: &[f32], d_model: usize, n_heads: usize) -> Vec<f32> {
        let mut output = vec![0.0; q.len()];
        Cell::new(k, v, d_model, n_heads).attend(q, &mut output);
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_shape(
            n_heads in 1usize..4,
            d_head in 1usize..70,
            n_queries in 1usize..130,
            n_keys in 1usize..400,
            seed: u32,
            size in 0.01f32..4.0,
        ) {
            let d_model = n_heads * d_head;
            let q = numbers(n_queries * d_model, seed, size);
            let k = numbers(n_keys * d_model, !seed, size);
            let v = numbers(n_keys * d_model, seed.rotate_left(9), 1.0);
            let expected = exact(&q, &k, &v, d_model, n_heads);
            let found = attend(&q, &k, &v, d_model, n_heads);
            let (mut product, mut squares) = (0.0, (0.0, 0.0));
            for (&found, expected) in found.iter().zip(expected) {
                let found = f64::from(found);
                prop_assert!((found - expected).abs() <= TOLERANCE, "{found}, expected {expected}");
                product += found * expected;
                squares = (squares.0 + found * found, squares.1 + expected * expected);
            }
            let cosine = product / (squares.0 * squares.1).sqrt();
            prop_assert!(cosine >= MIN_COSINE, "cosine {cosine}");
        }
    }

    /// A cell of one token takes its value, to half a code.
    #[test]
    fn one_key() {
        let v = [1.0, -0.5, 0.25, 0.0];
        assert_eq!(attend(&[3.0, 1.0, 0.0, 2.0], &[1.0; 4], &v, 4, 2), v);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let (q, mut k, mut v) = (numbers(40, 1, 1.0), numbers(30, 2, 1.0), numbers(30, 3, 1.0));
        let is_nan = |output: &[f32]| -> Vec<bool> { output.iter().map(|x| x.is_nan()).collect() };
        v[4] = f32::NAN;
        let found = attend(&q, &k, &v, 10, 2);
        assert!(
            found
                .chunks(10)
                .all(|row| is_nan(row) == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0].map(|x| x == 1))
        );
        v[4] = 0.0;
        k[12] = f32::NAN;
        let found = attend(&q, &k, &v, 10, 2);
        assert!(
            found
                .chunks(10)
                .all(|row| is_nan(row) == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0].map(|x| x == 1))
        );
        k[12] = 0.0;
        let mut q = q;
        q[17] = f32::NAN;
        let found = attend(&q, &k, &v, 10, 2);
        assert!(found[15..20].iter().all(|x| x.is_nan()));
        assert!(found[..15].iter().chain(&found[20..]).all(|x| x.is_finite()));
    }
}
