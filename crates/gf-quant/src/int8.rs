//! Row-wise absmax quantisation to signed bytes, on slices.
//!
//! The format of LLM.int8's weights (Dettmers et al. 2022, §2.1; bitsandbytes
//! `int8_vectorwise_quant`): `code = round(w · 127 / absmax)`, one absmax per row.

/// Largest code; −128 is not used, so that the format is symmetric.
pub const MAX_CODE: f32 = 127.0;

/// A row-major matrix as signed bytes with one scale per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// Codes −127…127, `[n_rows, n_columns]`.
    pub codes: Vec<i8>,
    /// Largest absolute value of each row; a weight is `code · absmax / 127`.
    pub absmax: Vec<f32>,
}

/// Quantises each row of `weights`, `[n_rows, n_columns]` row-major.
///
/// A row of zeros gets absmax 0 and codes 0. Ties round to the even code, as
/// `torch.round` does.
///
/// ```
/// let rows = gf_quant::int8::quantize_rows(&[0.5, -1.0, 0.0, 0.0], 2);
/// assert_eq!(rows.codes, [64, -127, 0, 0]);
/// assert_eq!(rows.absmax, [1.0, 0.0]);
/// ```
pub fn quantize_rows(weights: &[f32], n_columns: usize) -> Int8Rows {
    let mut codes = Vec::with_capacity(weights.len());
    let mut absmax = Vec::with_capacity(weights.len() / n_columns.max(1));
    for row in weights.chunks(n_columns.max(1)) {
        let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let scale = if largest > 0.0 { MAX_CODE / largest } else { 0.0 };
        codes.extend(row.iter().map(|w| code(*w, scale)));
        absmax.push(largest);
    }
    Int8Rows { codes, absmax }
}

/// The cast saturates, which matters only where `127 / absmax` overflows.
fn code(weight: f32, scale: f32) -> i8 {
    (weight * scale).round_ties_even().clamp(-MAX_CODE, MAX_CODE) as i8
}

/// The weights that the codes stand for.
pub fn dequantize_rows(rows: &Int8Rows, n_columns: usize) -> Vec<f32> {
    let row = |(codes, absmax): (&[i8], &f32)| -> Vec<f32> {
        codes.iter().map(|&code| f32::from(code) * absmax / MAX_CODE).collect()
    };
    rows.codes.chunks(n_columns.max(1)).zip(&rows.absmax).flat_map(row).collect()
}
