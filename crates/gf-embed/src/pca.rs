//! Two principal components of a table of embeddings: the eigenvectors of its
//! covariance that carry most variance.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::ArrayView2;

/// Cells on their first two principal components.
#[derive(Debug, Clone)]
pub struct Components {
    /// One point per row of the table.
    pub points: Vec<[f64; 2]>,
    /// Share of the total variance that each axis carries, 0 to 1.
    pub explained: [f64; 2],
}

/// Projects `[cells, dimensions]` onto its first two principal components.
///
/// The sign of an eigenvector is free; here its largest entry is positive, so
/// that the same numbers give the same picture. `None` when there are fewer
/// than three cells, fewer than two dimensions, a value that is not finite, or
/// no variance at all.
pub fn principal_components(values: ArrayView2<'_, f32>) -> Option<Components> {
    let (cells, dimensions) = values.dim();
    if cells < 3 || dimensions < 2 || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let centred = centre(values);
    let covariance = centred.tr_mul(&centred) / (cells - 1) as f64;
    let total = covariance.trace();
    if total <= 0.0 {
        return None;
    }
    let eigen = SymmetricEigen::new(covariance);
    let axes = [0, 1].map(|k| nth_axis(&eigen, k));
    let axis = |k: usize| eigen.eigenvectors.column(axes[k]) * sign(&eigen, axes[k]);
    let (first, second) = (&centred * axis(0), &centred * axis(1));
    Some(Components {
        points: first.iter().zip(second.iter()).map(|(x, y)| [*x, *y]).collect(),
        explained: axes.map(|k| eigen.eigenvalues[k].max(0.0) / total),
    })
}

fn centre(values: ArrayView2<'_, f32>) -> DMatrix<f64> {
    let (cells, dimensions) = values.dim();
    let mut centred = DMatrix::from_fn(cells, dimensions, |i, j| f64::from(values[[i, j]]));
    for mut column in centred.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    centred
}

/// Index of the eigenvalue that is the `k`-th largest.
fn nth_axis(eigen: &SymmetricEigen<f64, nalgebra::Dyn>, k: usize) -> usize {
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order[k]
}

fn sign(eigen: &SymmetricEigen<f64, nalgebra::Dyn>, k: usize) -> f64 {
    let column = eigen.eigenvectors.column(k);
    let largest =
        column.iter().copied().fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
    largest.signum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::Array2;

    use super::*;

    /// f32 input, f64 arithmetic on values near 10.
    const TOLERANCE: f64 = 1e-9;

    /// Points whose covariance is known: ±a on one axis, ±b on another, and
    /// a mean that must not matter.
    fn cross(a: f32, b: f32) -> Array2<f32> {
        Array2::from_shape_vec(
            (4, 3),
            vec![7.0 + a, 5.0, 2.0, 7.0 - a, 5.0, 2.0, 7.0, 5.0, 2.0 + b, 7.0, 5.0, 2.0 - b],
        )
        .unwrap()
    }

    fn check(a: f32, b: f32, explained: [f64; 2], points: [[f64; 2]; 4]) {
        let found = principal_components(cross(a, b).view()).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < TOLERANCE, "{a} and {b} in {found:?}");
        for k in [0, 1] {
            close(found.explained[k], explained[k]);
            found.points.iter().zip(points).for_each(|(a, b)| close(a[k], b[k]));
        }
    }

    #[test]
    fn known_covariance() {
        // The variances are 2a²/3 and 2b²/3, so the shares are a² and b² over their sum.
        check(
            4.0,
            3.0,
            [16.0 / 25.0, 9.0 / 25.0],
            [[4.0, 0.0], [-4.0, 0.0], [0.0, 3.0], [0.0, -3.0]],
        );
        check(1.0, 2.0, [4.0 / 5.0, 1.0 / 5.0], [[0.0, 1.0], [0.0, -1.0], [2.0, 0.0], [-2.0, 0.0]]);
    }

    #[test]
    fn correlated_columns_share_one_axis() {
        let table = Array2::from_shape_fn((5, 2), |(i, j)| i as f32 * (j as f32 + 1.0));
        let found = principal_components(table.view()).unwrap();
        assert!((found.explained[0] - 1.0).abs() < TOLERANCE, "{found:?}");
        // Two steps along (1, 2) from the mean.
        assert!((found.points[4][0] - 2.0 * 5.0_f64.sqrt()).abs() < TOLERANCE, "{found:?}");
    }

    #[test]
    fn nothing_to_draw() {
        assert!(principal_components(Array2::zeros((2, 4)).view()).is_none(), "two cells");
        assert!(principal_components(Array2::zeros((5, 1)).view()).is_none(), "one dimension");
        assert!(principal_components(Array2::ones((5, 4)).view()).is_none(), "no variance");
        assert!(principal_components(Array2::from_elem((5, 4), f32::NAN).view()).is_none(), "NaN");
    }
}
