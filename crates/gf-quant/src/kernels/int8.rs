//! Products of signed bytes on a processor, added up in 32-bit integers: codes are laid
//! out in [`pairs`] and widened to 16 bits on the way.

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use gf_model::kernels::{
    downcast, flex, for_each_block,
    pairs::{self, N_VECTORS, Pairs, Work, dispatch},
    rows_from,
};

pub use self::pairs::n_columns;
use crate::{
    Int8Linear,
    int8::{MAX_CODE, half_precision},
};

/// Lays out codes, row-major `[d_output, d_input]`: for each panel of `n_columns` output
/// channels, filled up with zeros, pairs of codes that follow each other in the depth.
pub fn panels(codes: &[i8], d_input: usize, n_columns: usize) -> Vec<u8> {
    let d_output = codes.len() / d_input;
    let code = |j: usize, p: usize| match j < d_output && p < d_input {
        true => codes[j * d_input + p] as u8,
        false => 0,
    };
    let n_pairs = d_input.div_ceil(2);
    let mut panels = Vec::with_capacity(d_output.next_multiple_of(n_columns) * 2 * n_pairs);
    for first in (0..d_output).step_by(n_columns) {
        for p in 0..n_pairs {
            let column = |j| [code(j, 2 * p), code(j, 2 * p + 1)];
            panels.extend((first..first + n_columns).flat_map(column));
        }
    }
    panels
}

/// `(codes(input) · weightsᵀ) · unit · scale + bias` with `unit` the value of a code of
/// each token and `scale` that of each output channel, in this order, at least `floor`;
/// `None` on a backend whose numbers are not in host memory. Columns of the input that reach
/// a `threshold` are multiplied in floating point (LLM.int8).
pub fn product<B: Backend>(
    layer: &Int8Linear<B>,
    input: &Tensor<B, 3>,
    floor: f32,
    threshold: Option<f32>,
) -> Option<Tensor<B, 3>> {
    let [batch_size, seq_length, d_input] = input.dims();
    let (input, scale) = (flex::rows(input)?, flex::rows(&layer.scale.val())?);
    let (input, scale) = (flex::slice(&input), flex::slice(&scale));
    let words = downcast::<FlexTensor>(layer.words.val().into_primitive())?;
    let codes = bytemuck::cast_slice(words.as_slice::<i32>()?);
    let d_output = scale.len();
    let weights = Panels { d_input, d_output, n_columns: layer.n_columns, codes };
    let bias = match &layer.bias {
        Some(bias) => flex::slice(&flex::rows(&bias.val())?).to_vec(),
        None => vec![0.0; d_output],
    };
    let outliers = threshold.map(|threshold| weights.outliers(input, threshold));
    let columns = Columns { weights, scale, bias: &bias, floor, outliers: outliers.as_ref() };
    let mut output = vec![0.0; batch_size * seq_length * d_output];
    for_each_block((input, d_input), (&mut output, d_output), |x, y| {
        dispatch(Block { columns, x, y });
    });
    flex::tensor(output, [batch_size, seq_length, d_output])
}

/// Weights as [`panels`] lays them out.
#[derive(Clone, Copy)]
struct Panels<'a> {
    d_input: usize,
    d_output: usize,
    n_columns: usize,
    codes: &'a [i8],
}

impl Panels<'_> {
    /// Columns of the input in which any token reaches the threshold.
    fn outliers(&self, x: &[f32], threshold: f32) -> Outliers {
        let mut largest = vec![0.0f32; self.d_input];
        for row in x.chunks_exact(self.d_input) {
            let pairs = largest.iter_mut().zip(row);
            pairs.for_each(|(largest, &x)| *largest = largest.max(half_precision(x).abs()));
        }
        let columns = (0..self.d_input).filter(|&p| largest[p] >= threshold);
        let codes = |p| (0..self.d_output).map(|j| f32::from(self.code(j, p))).collect();
        Outliers { threshold, columns: columns.map(|p| (p, codes(p))).collect() }
    }

    /// The code of output channel `j` and input channel `p`.
    fn code(&self, j: usize, p: usize) -> i8 {
        let n_pairs = self.d_input.div_ceil(2);
        let pair = (j / self.n_columns * n_pairs + p / 2) * self.n_columns + j % self.n_columns;
        self.codes[2 * pair + p % 2]
    }
}

/// What LLM.int8 keeps in floating point.
struct Outliers {
    threshold: f32,
    /// Input channels, and the codes of each for all output channels.
    columns: Vec<(usize, Vec<f32>)>,
}

impl Outliers {
    /// As [`quantize`] of what is below the threshold, in half precision; products that stay
    /// in floating point are added to `y`, `[n_tokens, d_output]`.
    #[inline(always)]
    fn quantize(
        &self,
        (x, d_input): (&[f32], usize),
        (y, d_output): (&mut [f32], usize),
    ) -> (Vec<i32>, Vec<f32>) {
        let n_pairs = d_input.div_ceil(2);
        let mut words = vec![0; x.len() / d_input * n_pairs];
        let mut units = Vec::with_capacity(x.len() / d_input);
        let mut inliers = vec![0.0; d_input];
        let rows = x.chunks_exact(d_input).zip(y.chunks_exact_mut(d_output));
        for ((x, y), words) in rows.zip(words.chunks_exact_mut(n_pairs)) {
            for (inlier, &x) in inliers.iter_mut().zip(x) {
                let x = half_precision(x);
                *inlier = if x.abs() >= self.threshold { 0.0 } else { x };
            }
            // An inlier of a column that is left out counts in the largest of its row.
            let absmax = absmax(&inliers);
            for (p, codes) in &self.columns {
                inliers[*p] = 0.0;
                let x = half_precision(x[*p]);
                y.iter_mut().zip(codes).for_each(|(y, code)| *y += x * code);
            }
            units.push(encode(&inliers, absmax, words));
        }
        (words, units)
    }
}

/// What every token is multiplied with.
#[derive(Clone, Copy)]
struct Columns<'a> {
    weights: Panels<'a>,
    scale: &'a [f32],
    bias: &'a [f32],
    floor: f32,
    outliers: Option<&'a Outliers>,
}

/// The tokens of one thread.
struct Block<'a> {
    columns: Columns<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for Block<'_> {
    #[inline(always)]
    fn run<P: Pairs, const ROWS: usize>(self, simd: P) {
        let Columns { weights, scale, bias, floor, outliers } = self.columns;
        let Panels { d_input, d_output, n_columns, codes } = weights;
        let n_pairs = d_input.div_ceil(2);
        let (words, units) = match outliers {
            None => quantize(self.x, d_input),
            Some(outliers) => outliers.quantize((self.x, d_input), (self.y, d_output)),
        };
        for (j, panel) in codes.chunks_exact(2 * n_pairs * n_columns).enumerate() {
            let columns = j * n_columns..d_output.min((j + 1) * n_columns);
            let (scale, bias) = (&scale[columns.clone()], &bias[columns.clone()]);
            for first in (0..units.len()).step_by(ROWS) {
                let rows = rows_from::<_, ROWS>(&words, n_pairs, first, 0..n_pairs);
                let sums = simd.tile_bytes(rows, panel, n_pairs);
                let outputs = self.y[first * d_output..].chunks_exact_mut(d_output);
                for ((output, sums), unit) in outputs.zip(&sums).zip(&units[first..]) {
                    let sums: &[i32] = bytemuck::cast_slice::<[P::Words; N_VECTORS], i32>(
                        std::slice::from_ref(sums),
                    );
                    let numbers = output[columns.clone()].iter_mut().zip(sums);
                    for ((y, &sum), (scale, bias)) in numbers.zip(scale.iter().zip(bias)) {
                        // What is there was added up in floating point.
                        let value = (sum as f32 * unit + *y) * scale + bias;
                        // Not `max`, which would turn what is no number into one.
                        *y = if value < floor { floor } else { value };
                    }
                }
            }
        }
    }
}

/// Pairs of codes of each token, and what a code of it stands for: the arithmetic of
/// [`quantize_rows`](crate::int8::quantize_rows).
#[inline(always)]
fn quantize(x: &[f32], d_input: usize) -> (Vec<i32>, Vec<f32>) {
    let n_pairs = d_input.div_ceil(2);
    let mut words = vec![0; x.len() / d_input * n_pairs];
    let mut units = vec![0.0; x.len() / d_input];
    // A loop, since `collect` is compiled without this processor's vectors.
    let rows = x.chunks_exact(d_input).zip(words.chunks_exact_mut(n_pairs));
    for ((row, words), unit) in rows.zip(&mut units) {
        *unit = encode(row, absmax(row), words);
    }
    (words, units)
}

/// Writes the pairs of codes of a token and returns what a code stands for.
#[inline(always)]
fn encode(row: &[f32], absmax: f32, words: &mut [i32]) -> f32 {
    let scale = if absmax > 0.0 { MAX_CODE / absmax } else { 0.0 };
    let (pairs, rest) = row.as_chunks::<2>();
    for (word, &[low, high]) in words.iter_mut().zip(pairs) {
        *word = (code(low * scale) & 0xffff) | (code(high * scale) << 16);
    }
    if let (Some(word), &[low]) = (words.last_mut(), rest) {
        *word = code(low * scale) & 0xffff;
    }
    if row.iter().any(|x| x.is_nan()) { f32::NAN } else { absmax / MAX_CODE }
}

#[inline(always)]
fn absmax(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 32];
    for chunk in row.chunks(32) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = lane.max(x.abs()));
    }
    lanes.into_iter().fold(0.0, f32::max)
}

/// The nearest whole number, ties to even: adding 1.5 · 2²³ leaves it in the lowest bits.
#[inline(always)]
fn code(x: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    (x.clamp(-MAX_CODE, MAX_CODE) + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}
