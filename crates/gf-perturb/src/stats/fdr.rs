//! False discovery rate.

/// The q-value of each p-value after Benjamini and Hochberg (1995): `p·n/rank`, made
/// monotone from the largest down and at most 1 (statsmodels'
/// `multipletests(method="fdr_bh")`).
///
/// ```
/// use gf_perturb::stats::benjamini_hochberg;
/// assert_eq!(benjamini_hochberg(&[0.75, 0.0625, 0.125, 1.0]), [1.0, 0.25, 0.25, 1.0]);
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut q_values = vec![0.0; n];
    let mut least = 1.0f64;
    for (place, &i) in order.iter().enumerate().rev() {
        // statsmodels divides by the fraction rank/n.
        least = least.min(p_values[i] / ((place + 1) as f64 / n as f64));
        q_values[i] = least;
    }
    q_values
}
