//! Row-wise absmax quantisation to signed bytes, on slices.
//!
//! The format of LLM.int8 (Dettmers et al. 2022, §2–3; bitsandbytes
//! `int8_vectorwise_quant`): `code = round(x · 127 / absmax)`, one absmax per output
//! channel of a weight and per token of an activation. [`product`] is the definition that
//! faster layers are compared with.

use half::f16;

/// Largest code; −128 is not used, so that the format is symmetric.
pub const MAX_CODE: f32 = 127.0;

/// Activations from which on a column stays in floating point (LLM.int8 §3.1).
pub const OUTLIER_THRESHOLD: f32 = 6.0;

/// What a product with signed-byte weights does with its activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activations {
    /// They stay in floating point.
    Float,
    /// Each token is rounded to signed bytes, its absmax found on the way.
    Int8,
    /// As `Int8` after [`half_precision`], but a column in which any activation reaches the
    /// threshold is multiplied in floating point. Results depend on the tokens in the batch.
    Int8WithOutliers(f32),
}

impl Activations {
    /// LLM.int8 as published and as the reference uses it.
    pub const LLM_INT8: Self = Self::Int8WithOutliers(OUTLIER_THRESHOLD);
}

/// A row-major matrix as signed bytes with one scale per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// Codes −127…127, `[n_rows, n_columns]`.
    pub codes: Vec<i8>,
    /// Largest absolute value of each row; a value is `code · absmax / 127`.
    pub absmax: Vec<f32>,
}

/// Quantises each row of `values`, `[n_rows, n_columns]` row-major.
///
/// A row of zeros gets absmax 0 and codes 0. Ties round to the even code, as
/// `torch.round` does.
///
/// ```
/// let rows = gf_quant::int8::quantize_rows(&[0.5, -1.0, 0.0, 0.0], 2);
/// assert_eq!(rows.codes, [64, -127, 0, 0]);
/// assert_eq!(rows.absmax, [1.0, 0.0]);
/// ```
pub fn quantize_rows(values: &[f32], n_columns: usize) -> Int8Rows {
    let mut codes = Vec::with_capacity(values.len());
    let mut absmax = Vec::with_capacity(values.len() / n_columns.max(1));
    for row in values.chunks(n_columns.max(1)) {
        let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { MAX_CODE / largest } else { 0.0 };
        codes.extend(row.iter().map(|x| code(*x, scale)));
        absmax.push(largest);
    }
    Int8Rows { codes, absmax }
}

/// Quantises each row of weights as [`quantize_rows`], from their nearest f16, as
/// bitsandbytes does (`Int8Params.cuda`).
pub fn quantize_weights(values: &[f32], n_columns: usize) -> Int8Rows {
    let halves: Vec<f32> = values.iter().map(|x| nearest_half(*x)).collect();
    quantize_rows(&halves, n_columns)
}

fn nearest_half(x: f32) -> f32 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(x.clamp(-largest, largest)).to_f32()
}

/// `2¹³ + 1`: the 24 significant bits of f32 less the 11 of f16.
pub(crate) const SPLITTER: f32 = 8193.0;

/// The nearest number of 11 significant bits, those of f16, to which bitsandbytes rounds
/// activations before anything else (`MatMul8bitLt.forward`): Veltkamp's split, because
/// every backend has its three operations and not every one has f16. Where f16 has fewer
/// bits, below 6.1e-5, or none, above 65,504, this keeps them.
///
/// ```
/// assert_eq!(gf_quant::int8::half_precision(5.9999), 6.0);
/// ```
pub fn half_precision(x: f32) -> f32 {
    let large = x * SPLITTER;
    large - (large - x)
}

/// The cast saturates, which matters only where `127 / absmax` overflows.
fn code(value: f32, scale: f32) -> i8 {
    (value * scale).round_ties_even().clamp(-MAX_CODE, MAX_CODE) as i8
}

/// The values that the codes stand for.
pub fn dequantize_rows(rows: &Int8Rows, n_columns: usize) -> Vec<f32> {
    let row = |(codes, absmax): (&[i8], &f32)| -> Vec<f32> {
        codes.iter().map(|&code| f32::from(code) * absmax / MAX_CODE).collect()
    };
    rows.codes.chunks(n_columns.max(1)).zip(&rows.absmax).flat_map(row).collect()
}

/// Columns of `activations`, `[n_rows, n_columns]`, that reach the threshold in any row.
pub fn outlier_columns(activations: &[f32], n_columns: usize, threshold: f32) -> Vec<usize> {
    let rows = || activations.chunks(n_columns.max(1));
    (0..n_columns).filter(|&j| rows().any(|row| row[j].abs() >= threshold)).collect()
}

/// Activations for the integer part of LLM.int8, and the columns left out of it: outliers
/// do not count in the absmax of their row, and their columns are zero.
pub fn quantize_inliers(
    activations: &[f32],
    n_columns: usize,
    threshold: f32,
) -> (Int8Rows, Vec<usize>) {
    let inlier = |x: &f32| if x.abs() < threshold { *x } else { 0.0 };
    let inliers: Vec<f32> = activations.iter().map(inlier).collect();
    let mut rows = quantize_rows(&inliers, n_columns);
    let outliers = outlier_columns(activations, n_columns, threshold);
    for row in rows.codes.chunks_mut(n_columns.max(1)) {
        outliers.iter().for_each(|&j| row[j] = 0);
    }
    (rows, outliers)
}

/// `activations · weightsᵀ` of two code matrices of `n_columns` columns, exactly.
pub fn accumulate(activations: &Int8Rows, weights: &Int8Rows, n_columns: usize) -> Vec<i32> {
    let dot =
        |a: &[i8], w: &[i8]| a.iter().zip(w).map(|(&a, &w)| i32::from(a) * i32::from(w)).sum();
    let columns = n_columns.max(1);
    let row = |a| weights.codes.chunks(columns).map(move |w| dot(a, w));
    activations.codes.chunks(columns).flat_map(row).collect()
}

/// `activations · weightsᵀ`, `[n_rows, n_columns] × [n_outputs, n_columns] →
/// [n_rows, n_outputs]`, in f64 from the definition: slow, and what every faster product
/// is compared with.
pub fn product(
    activations: &[f32],
    weights: &Int8Rows,
    n_columns: usize,
    mode: Activations,
) -> Vec<f64> {
    match mode {
        Activations::Float => {
            let columns: Vec<usize> = (0..n_columns).collect();
            float_part(activations, &columns, weights, n_columns)
        }
        Activations::Int8 => {
            integer_part(&quantize_rows(activations, n_columns), weights, n_columns)
        }
        Activations::Int8WithOutliers(threshold) => {
            let halves: Vec<f32> = activations.iter().map(|x| half_precision(*x)).collect();
            let (rows, outliers) = quantize_inliers(&halves, n_columns, threshold);
            let in_float = float_part(&halves, &outliers, weights, n_columns);
            let integers = integer_part(&rows, weights, n_columns);
            integers.iter().zip(in_float).map(|(integer, float)| integer + float).collect()
        }
    }
}

/// The product of two code matrices in the unit of the values.
pub fn integer_part(activations: &Int8Rows, weights: &Int8Rows, n_columns: usize) -> Vec<f64> {
    let unit = f64::from(MAX_CODE * MAX_CODE);
    let scales = activations
        .absmax
        .iter()
        .flat_map(|a| weights.absmax.iter().map(move |w| f64::from(*a) * f64::from(*w) / unit));
    let products = accumulate(activations, weights, n_columns);
    products.iter().zip(scales).map(|(&product, scale)| f64::from(product) * scale).collect()
}

/// The product over some columns alone, with activations as they are.
pub fn float_part(
    activations: &[f32],
    columns: &[usize],
    weights: &Int8Rows,
    n_columns: usize,
) -> Vec<f64> {
    let dot = |activations: &[f32], codes: &[i8]| -> f64 {
        columns.iter().map(|&j| f64::from(activations[j]) * f64::from(codes[j])).sum()
    };
    let n_columns = n_columns.max(1);
    let channels = weights.codes.chunks(n_columns).zip(&weights.absmax);
    let row = |activations| {
        let channel = move |(codes, absmax): (&[i8], &f32)| {
            dot(activations, codes) * f64::from(*absmax) / f64::from(MAX_CODE)
        };
        channels.clone().map(channel)
    };
    activations.chunks(n_columns).flat_map(row).collect()
}
