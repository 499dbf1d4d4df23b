//! Cosine similarity, in double precision: effects of one gene differ in the
//! seventh digit.

use ndarray::Array2;

/// Smallest norm, as in `torch.nn.CosineSimilarity`.
const EPSILON: f64 = 1e-8;

/// `a·b / (max(‖a‖, ε) · max(‖b‖, ε))` (REFERENCE.md §6.4).
///
/// ```
/// assert_eq!(gf_embed::similarity::cosine(&[3.0, 0.0], &[0.0, 2.0]), 0.0);
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a).sqrt().max(EPSILON) * dot(b, b).sqrt().max(EPSILON))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

/// The cosine of each row of `a` with the same row of `b`: how well, say, a
/// quantised encoder agrees with the full one.
pub fn row_cosines(a: &Array2<f32>, b: &Array2<f32>) -> Vec<f64> {
    let pairs = a.rows().into_iter().zip(b.rows());
    pairs.map(|(a, b)| cosine(&a.to_vec(), &b.to_vec())).collect()
}
