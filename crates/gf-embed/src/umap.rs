//! UMAP in two dimensions (McInnes, Healy & Melville 2018; `umap_.py` and `layouts.py` of
//! umap-learn). Written here because the same embeddings shall give the same picture: the
//! layout of the crate `umap-rs` 0.4 draws unseeded numbers in several threads.

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Error, pca::principal_components};

/// Fewest rows of which a map can be made.
const FEWEST: usize = 4;
/// Neighbours of a point, itself included: scanpy's default, with which the reference draws.
const N_NEIGHBOURS: usize = 15;
/// The curve 1/(1 + a·d²ᵇ) that umap-learn fits to a minimal distance of 0.5 and a spread
/// of 1, scanpy's defaults.
const A: f64 = 0.583_030_020_4;
const B: f64 = 1.334_166_992_6;
/// Steps of the bisection for a point's bandwidth, and when it is good enough.
const BISECTIONS: usize = 64;
const GOOD_ENOUGH: f64 = 1e-5;
/// Least bandwidth, as a share of the mean distance to neighbours.
const LEAST_BANDWIDTH: f64 = 1e-3;
/// Random points that push a point away, for each neighbour that attracts it.
const NEGATIVE_SAMPLES: usize = 5;
/// Largest step in one direction.
const LARGEST_STEP: f64 = 4.0;
/// Width of the map before it is optimised.
const EXTENT: f64 = 10.0;
/// Points up to which the layout takes the longer of two numbers of epochs.
const SMALL: usize = 10_000;
/// Keeps the push of points on top of each other finite.
const CLOSEST: f64 = 0.001;

/// One point per row of `[n_rows, d_model]`, from the Euclidean distances of the rows; the
/// layout begins at the two principal components. Every pair of rows is looked at: time
/// grows with the square of their number.
///
/// # Errors
///
/// There are fewer than four rows, or no two that differ.
pub fn umap(values: ArrayView2<'_, f32>, seed: u64) -> Result<Vec<[f64; 2]>, Error> {
    let (rows, width) = values.dim();
    let no_map = || Error::NoMap { rows, width, least: FEWEST };
    if rows < FEWEST {
        return Err(no_map());
    }
    let start = principal_components(values).ok_or_else(no_map)?.points;
    let edges = fuzzy_graph(values, N_NEIGHBOURS.min(rows - 1));
    Ok(layout(spread(start), &edges, seed))
}

/// Two points and the strength of their bond, 0 to 1; each pair occurs once.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    ends: [usize; 2],
    weight: f64,
}

/// The fuzzy union of each point's neighbourhood (`fuzzy_simplicial_set`).
fn fuzzy_graph(values: ArrayView2<'_, f32>, n_neighbours: usize) -> Vec<Edge> {
    let neighbours = neighbours(values, n_neighbours);
    let distances = neighbours.iter().flatten().map(|(distance, _)| distance);
    let mean = distances.sum::<f64>() / (neighbours.len() * n_neighbours) as f64;
    let mut bonds = BTreeMap::<[usize; 2], [f64; 2]>::new();
    for (place, near) in neighbours.iter().enumerate() {
        let (nearest, bandwidth) = smooth_distances(near, mean);
        for &(distance, other) in near.iter().filter(|(_, other)| *other != place) {
            let bond = (-(distance - nearest).max(0.0) / bandwidth).exp();
            let ends = [place.min(other), place.max(other)];
            bonds.entry(ends).or_default()[usize::from(place > other)] = bond;
        }
    }
    let union = |(ends, [a, b]): ([usize; 2], [f64; 2])| Edge { ends, weight: a + b - a * b };
    bonds.into_iter().map(union).collect()
}

/// The distance to the nearest neighbour that is apart, and the bandwidth at which the
/// bonds to all neighbours add up to log₂ of their number (`smooth_knn_dist`).
fn smooth_distances(near: &[(f64, usize)], mean: f64) -> (f64, f64) {
    let distances = || near.iter().map(|(distance, _)| *distance);
    let nearest = distances().find(|distance| *distance > 0.0).unwrap_or(0.0);
    let target = (near.len() as f64).log2();
    // The first is the point itself, to which there is no bond.
    let bonds = |bandwidth: f64| -> f64 {
        distances().skip(1).map(|d| (-(d - nearest).max(0.0) / bandwidth).exp()).sum()
    };
    let (mut low, mut high, mut bandwidth) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..BISECTIONS {
        let excess = bonds(bandwidth) - target;
        if excess.abs() < GOOD_ENOUGH {
            break;
        }
        if excess > 0.0 {
            high = bandwidth;
        } else {
            low = bandwidth;
        }
        bandwidth = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * bandwidth };
    }
    let own_mean = distances().sum::<f64>() / near.len() as f64;
    let least = LEAST_BANDWIDTH * if nearest > 0.0 { own_mean } else { mean };
    (nearest, bandwidth.max(least))
}

/// The nearest rows of each row with their distances, the row itself first, equally near
/// ones in order.
fn neighbours(values: ArrayView2<'_, f32>, n: usize) -> Vec<Vec<(f64, usize)>> {
    let rows: Vec<Vec<f32>> = values.rows().into_iter().map(|row| row.to_vec()).collect();
    let nearest = |place: usize| {
        let distance = |other: usize| match other == place {
            true => -1.0,
            false => squared_distance(&rows[place], &rows[other]),
        };
        let mut others: Vec<_> = (0..rows.len()).map(|other| (distance(other), other)).collect();
        others.select_nth_unstable_by(n - 1, order);
        others.truncate(n);
        others.sort_by(order);
        others.into_iter().map(|(d2, other)| (d2.max(0.0).sqrt(), other)).collect()
    };
    (0..rows.len()).into_par_iter().map(nearest).collect()
}

fn order(a: &(f64, usize), b: &(f64, usize)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// Points scaled so that the map is as wide as it is high.
fn spread(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    for axis in [0, 1] {
        let along = || points.iter().map(|point| point[axis]);
        let (low, high) = along()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let scale = if high > low { EXTENT / (high - low) } else { 0.0 };
        points.iter_mut().for_each(|point| point[axis] = (point[axis] - low) * scale);
    }
    points
}

/// Stochastic gradient descent (`optimize_layout_euclidean`), one edge after the other: a
/// strong edge is taken in every epoch, a weak one rarely; from both of its ends.
fn layout(mut points: Vec<[f64; 2]>, edges: &[Edge], seed: u64) -> Vec<[f64; 2]> {
    let n_epochs = if points.len() <= SMALL { 500 } else { 200 };
    let strongest = edges.iter().map(|edge| edge.weight).fold(0.0, f64::max);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for epoch in 0..n_epochs {
        let rate = 1.0 - f64::from(epoch) / f64::from(n_epochs);
        let is_due = |edge: &&Edge| {
            let times = |epoch: i32| (f64::from(epoch) * edge.weight / strongest).floor();
            times(epoch + 1) > times(epoch)
        };
        for &Edge { ends: [a, b], .. } in edges.iter().filter(is_due) {
            for [one, other] in [[a, b], [b, a]] {
                attract(&mut points, [one, other], rate);
                for _ in 0..NEGATIVE_SAMPLES {
                    let random = rng.random_range(0..points.len());
                    repel(&mut points, [one, random], rate);
                }
            }
        }
    }
    points
}

fn attract(points: &mut [[f64; 2]], [one, other]: [usize; 2], rate: f64) {
    let (difference, d2) = between(points[one], points[other]);
    if d2 > 0.0 {
        let pull = -2.0 * A * B * d2.powf(B - 1.0) / (A * d2.powf(B) + 1.0);
        for axis in [0, 1] {
            let step = rate * (pull * difference[axis]).clamp(-LARGEST_STEP, LARGEST_STEP);
            points[one][axis] += step;
            points[other][axis] -= step;
        }
    }
}

fn repel(points: &mut [[f64; 2]], [one, other]: [usize; 2], rate: f64) {
    let (difference, d2) = between(points[one], points[other]);
    if d2 > 0.0 {
        let push = 2.0 * B / ((CLOSEST + d2) * (A * d2.powf(B) + 1.0));
        for axis in [0, 1] {
            let step = (push * difference[axis]).clamp(-LARGEST_STEP, LARGEST_STEP);
            points[one][axis] += rate * step;
        }
    }
}

fn between(a: [f64; 2], b: [f64; 2]) -> ([f64; 2], f64) {
    let difference = [a[0] - b[0], a[1] - b[1]];
    (difference, difference[0].powi(2) + difference[1].powi(2))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// umap-learn bisects to 1e-5 of the sum of bonds, in 32 bits.
    const TOLERANCE: f64 = 2e-5;

    /// `fuzzy_simplicial_set` of umap-learn 0.5.12 with 6 neighbours on the points
    /// (7i² mod 23)/5, (13i mod 17)/4, (5i mod 11)/3: both ends and the bond.
    const EXPECTED: [(usize, usize, f64); 39] = [
        (0, 1, 0.420874),
        (0, 2, 0.311095),
        (0, 3, 0.449991),
        (0, 8, 1.0),
        (0, 10, 0.403008),
        (1, 2, 0.855251),
        (1, 3, 0.216925),
        (1, 5, 0.788361),
        (1, 9, 0.639621),
        (1, 10, 1.0),
        (2, 3, 0.163787),
        (2, 5, 0.179748),
        (2, 8, 0.665465),
        (2, 10, 1.0),
        (3, 4, 0.872611),
        (3, 5, 0.261342),
        (3, 6, 1.0),
        (3, 7, 1.0),
        (3, 8, 1.0),
        (3, 10, 0.298643),
        (3, 11, 0.845416),
        (4, 6, 0.726975),
        (4, 7, 0.235475),
        (4, 8, 1.0),
        (4, 10, 0.057656),
        (5, 6, 0.247675),
        (5, 7, 0.249628),
        (5, 9, 1.0),
        (5, 10, 0.795097),
        (5, 11, 0.539340),
        (6, 7, 0.716382),
        (6, 10, 0.259166),
        (6, 11, 0.233752),
        (7, 8, 0.158143),
        (7, 9, 0.481154),
        (7, 11, 1.0),
        (8, 10, 0.382340),
        (9, 10, 0.585003),
        (9, 11, 0.634949),
    ];

    #[test]
    fn the_graph_is_that_of_umap_learn() {
        let points = Array2::from_shape_fn((12, 3), |(i, axis)| match axis {
            0 => (i * i * 7 % 23) as f32 / 5.0,
            1 => (i * 13 % 17) as f32 / 4.0,
            _ => (i * 5 % 11) as f32 / 3.0,
        });
        let found = fuzzy_graph(points.view(), 6);
        assert_eq!(found.len(), EXPECTED.len());
        for (edge, (a, b, weight)) in found.iter().zip(EXPECTED) {
            assert_eq!(edge.ends, [a, b]);
            let difference = (edge.weight - weight).abs();
            assert!(difference <= TOLERANCE, "{edge:?}, expected {weight}");
        }
    }

    #[test]
    fn rows_that_are_the_same_are_neighbours_at_no_distance() {
        let points = Array2::from_shape_fn((8, 2), |(i, _)| (i / 4) as f32);
        let found = fuzzy_graph(points.view(), 4);
        assert!(found.iter().all(|edge| edge.weight.is_finite()), "{found:?}");
        assert!(found.iter().all(|edge| edge.ends[0] / 4 == edge.ends[1] / 4), "{found:?}");
    }
}
