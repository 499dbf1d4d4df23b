//! Tokens rounded to signed bytes, as the products of this processor read them.

use bytemuck::Pod;
use gf_model::kernels::{absmax, larger, pairs::Pairs};

use crate::int8::{MAX_CODE, half_precision};

/// Codes of some tokens: the arithmetic of [`quantize_rows`](crate::int8::quantize_rows).
pub struct Tokens {
    /// `[n_tokens, n_words]`: codes of 16 bits in pairs, or of 8 bits in fours.
    pub words: Vec<i32>,
    /// Words of a token; behind its codes they are zeros.
    pub n_words: usize,
    /// What a code of each token stands for.
    pub units: Vec<f32>,
    /// How the codes lie there.
    pub form: Form,
    /// By how much the sums of products of each token are too large.
    pub excess: Vec<i32>,
}

/// How codes lie in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In pairs of 16 bits.
    Pairs,
    /// In fours of bytes, none negative, as behind a ReLU.
    Fours,
    /// In fours of bytes that are multiplied as [`Pairs::tile_raised_fours`] does.
    RaisedFours,
}

impl Tokens {
    /// Rounds `x`, `[n_tokens, d_input]`, without its outliers.
    #[inline(always)]
    pub fn quantize<P: Pairs>(x: &[f32], d_input: usize, outliers: Option<&Outliers>) -> Self {
        let (n_tokens, n_fours) = (x.len() / d_input, d_input.div_ceil(4));
        let form = Form::of::<P>(x);
        let n_words = if form == Form::Pairs { 2 * n_fours } else { n_fours };
        let (mut words, mut units) = (vec![0; n_tokens * n_words], vec![0.0; n_tokens]);
        let mut excess = vec![0; n_tokens];
        let mut inliers = vec![0.0; d_input];
        // A loop, since `collect` is compiled without this processor's vectors.
        let rows = x.chunks_exact(d_input).zip(words.chunks_exact_mut(n_words));
        for ((row, words), (unit, excess)) in rows.zip(units.iter_mut().zip(&mut excess)) {
            let (row, absmax) = match outliers {
                None => (row, absmax(row)),
                Some(outliers) => outliers.remove(row, &mut inliers),
            };
            *unit = match form {
                Form::Pairs => encode(row, absmax, words, |code| code as i16),
                Form::Fours | Form::RaisedFours => encode(row, absmax, words, |code| code as i8),
            };
            if form == Form::RaisedFours {
                *excess = 128 * sum_bytes(words);
            }
        }
        Self { words, n_words, units, form, excess }
    }
}

impl Form {
    /// The fastest one for `x`.
    #[inline(always)]
    fn of<P: Pairs>(x: &[f32]) -> Self {
        match has_sign(x) {
            false => Self::Fours,
            true if P::ANY_BYTES => Self::RaisedFours,
            true => Self::Pairs,
        }
    }
}

/// What LLM.int8 keeps in floating point.
pub struct Outliers {
    threshold: f32,
    /// Columns of the input in which any token reaches the threshold.
    pub columns: Vec<usize>,
}

impl Outliers {
    /// Of `x`, `[n_tokens, d_input]`, in half precision.
    pub fn find(x: &[f32], d_input: usize, threshold: f32) -> Self {
        let mut largest = vec![0.0f32; d_input];
        for row in x.chunks_exact(d_input) {
            let pairs = largest.iter_mut().zip(row);
            pairs.for_each(|(largest, &x)| *largest = larger(half_precision(x).abs(), *largest));
        }
        let columns = (0..d_input).filter(|&p| largest[p] >= threshold).collect();
        Self { threshold, columns }
    }

    /// What is below the threshold, in half precision, without the outlying columns; and the
    /// largest absolute value, for which an inlier of such a column counts.
    #[inline(always)]
    fn remove<'a>(&self, row: &[f32], inliers: &'a mut [f32]) -> (&'a [f32], f32) {
        for (inlier, &x) in inliers.iter_mut().zip(row) {
            let x = half_precision(x);
            *inlier = if x.abs() >= self.threshold { 0.0 } else { x };
        }
        let absmax = absmax(inliers);
        self.columns.iter().for_each(|&p| inliers[p] = 0.0);
        (inliers, absmax)
    }

    /// Adds the outlying columns of `x`, `[n_tokens, d_input]`, times their codes for all
    /// output channels to `y`, `[n_tokens, d_output]`.
    #[inline(always)]
    pub fn add_products(&self, x: &[f32], codes: &[Vec<f32>], y: &mut [f32]) {
        let Some(d_output) = codes.first().map(Vec::len) else { return };
        let d_input = x.len() / (y.len() / d_output);
        for (x, y) in x.chunks_exact(d_input).zip(y.chunks_exact_mut(d_output)) {
            for (&p, codes) in self.columns.iter().zip(codes) {
                let x = half_precision(x[p]);
                y.iter_mut().zip(codes).for_each(|(y, code)| *y += x * code);
            }
        }
    }
}

/// Whether any number has the sign of the negative ones.
#[inline(always)]
fn has_sign(x: &[f32]) -> bool {
    /// Numbers that are looked at before asking.
    const PART: usize = 256;
    let sign = |part: &[f32]| part.iter().fold(0, |bits, x| bits | x.to_bits()) >> 31 == 1;
    x.chunks(PART).any(sign)
}

/// Writes the codes of a token and returns what a code stands for: not a number where the
/// token has one.
#[inline(always)]
fn encode<C: Pod>(row: &[f32], absmax: f32, words: &mut [i32], narrow: impl Fn(i32) -> C) -> f32 {
    let scale = if absmax > 0.0 { MAX_CODE / absmax } else { 0.0 };
    let codes = bytemuck::cast_slice_mut::<i32, C>(words).iter_mut();
    codes.zip(row).for_each(|(to, x)| *to = narrow(code(x * scale)));
    let has_nan = row.iter().fold(false, |has_nan, x| has_nan | x.is_nan());
    if has_nan { f32::NAN } else { absmax / MAX_CODE }
}

#[inline(always)]
fn sum_bytes(words: &[i32]) -> i32 {
    bytemuck::cast_slice::<i32, i8>(words).iter().map(|&code| i32::from(code)).sum()
}

/// The nearest whole number, ties to even: adding 1.5 · 2²³ leaves it in the lowest bits.
#[inline(always)]
fn code(x: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    (x.clamp(-MAX_CODE, MAX_CODE) + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}
