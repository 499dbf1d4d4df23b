//! Geometric separability index: how often the nearest neighbour of an embedding has
//! its label. The paper takes contextual embeddings of genes in the cells of one type,
//! of genes detected at least 20 times, and asks whether the nearest other embedding is
//! one of the same gene (REFERENCE.md §8; Thornton 2002, "Separability is a learner's
//! best friend").

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;

/// What "nearest" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// The smallest Euclidean distance.
    #[default]
    Euclidean,
    /// The largest cosine.
    Cosine,
}

/// How separable labels are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Separability {
    /// Embeddings compared.
    pub n_embeddings: usize,
    /// Share of the embeddings whose nearest neighbour has their label, 0 to 1.
    pub share_of_embeddings: f64,
    /// Share of the labels of whose embeddings all have such a neighbour.
    pub share_of_labels_all: f64,
    /// Share of the labels of whose embeddings more than half have such a neighbour.
    pub share_of_labels_most: f64,
    /// The share of embeddings for each label.
    pub per_label: BTreeMap<u32, f64>,
}

/// The index of labels that occur at least `min_detections` times; rows of others take
/// no part. With fewer than two rows left there is nothing to compare, and shares are NaN.
///
/// Every pair of rows is looked at: time grows with the square of their number.
///
/// # Errors
///
/// There is not one label per row.
///
/// # Shapes
///
/// - `values` `[n_rows, d_model]`
pub fn separability(
    values: ArrayView2<'_, f32>,
    labels: &[u32],
    min_detections: usize,
    metric: Metric,
) -> Result<Separability, Error> {
    if labels.len() != values.nrows() {
        return Err(Error::RowCount { found: labels.len(), expected: values.nrows() });
    }
    let mut detections = BTreeMap::<u32, usize>::new();
    labels.iter().for_each(|label| *detections.entry(*label).or_default() += 1);
    let is_kept = |row: &usize| detections[&labels[*row]] >= min_detections;
    let rows: Vec<usize> = (0..labels.len()).filter(is_kept).collect();
    let nearest = nearest_others(values.select(ndarray::Axis(0), &rows).view(), metric);
    let agrees = |(place, other): (usize, Option<usize>)| {
        let label = labels[rows[place]];
        (label, other.is_some_and(|other| labels[rows[other]] == label))
    };
    Ok(summary(nearest.into_iter().enumerate().map(agrees)))
}

fn summary(agreements: impl Iterator<Item = (u32, bool)>) -> Separability {
    let mut counts = BTreeMap::<u32, [usize; 2]>::new();
    for (label, agrees) in agreements {
        let [n_agree, n] = counts.entry(label).or_default();
        *n_agree += usize::from(agrees);
        *n += 1;
    }
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    let labels_where =
        |holds: fn(usize, usize) -> bool| counts.values().filter(|[k, n]| holds(*k, *n)).count();
    let [n_agree, n] = counts.values().fold([0, 0], |[a, b], [k, n]| [a + k, b + n]);
    Separability {
        n_embeddings: n,
        share_of_embeddings: share(n_agree, n),
        share_of_labels_all: share(labels_where(|k, n| k == n), counts.len()),
        share_of_labels_most: share(labels_where(|k, n| 2 * k > n), counts.len()),
        per_label: counts.iter().map(|(&label, [k, n])| (label, share(*k, *n))).collect(),
    }
}

/// For each row the nearest other row, the first of equally near ones; `None` if there
/// is no other. In 64 bits.
///
/// # Shapes
///
/// - `values` `[n_rows, d_model]`
pub fn nearest_others(values: ArrayView2<'_, f32>, metric: Metric) -> Vec<Option<usize>> {
    let rows: Vec<Vec<f64>> = values.rows().into_iter().map(|row| prepared(row, metric)).collect();
    let nearest = |place: usize| {
        let others = (0..rows.len()).filter(|&other| other != place);
        let distances = others.map(|other| (other, squared_distance(&rows[place], &rows[other])));
        distances.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(other, _)| other)
    };
    (0..rows.len()).into_par_iter().map(nearest).collect()
}

/// Of unit vectors the squared distance is 2 − 2·cosine: one order serves both metrics.
fn prepared(row: ndarray::ArrayView1<'_, f32>, metric: Metric) -> Vec<f64> {
    let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
    match metric {
        Metric::Euclidean => row,
        Metric::Cosine => {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            row.into_iter().map(|x| x / norm).collect()
        }
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}
