//! Joined rows against attention from its definition.

#![allow(clippy::unwrap_used)]

use burn_flex::{Flex, FlexDevice};

use super::*;

/// Exponentials to 1e-6 and sums of at most 120 terms of magnitude 1 in f32.
const TOLERANCE: f64 = 1e-5;
const D_MODEL: usize = 2;

/// Softmax attention of one query of one head, from its definition in f64.
fn attend(query: &[f64], keys: &[&[f64]], values: &[&[f64]]) -> Vec<f64> {
    let dot = |key: &&[f64]| query.iter().zip(*key).map(|(q, k)| q * k).sum::<f64>();
    let scores: Vec<f64> = keys.iter().map(|key| dot(key) / (query.len() as f64).sqrt()).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mix = |column| {
        values.iter().zip(&weights).map(|(value, w)| value[column] * w).sum::<f64>() / total
    };
    (0..query.len()).map(mix).collect()
}

/// A key whose score is 100 above all others takes everything where it is, and must
/// leave no trace in the rows without it, which weigh the others alike.
#[test]
fn scores_far_apart() {
    let seq_length = 120;
    for loud in [0, 1, 57, 118, 119] {
        let key = |token: usize| if token == loud { 100.0 * 2.0_f64.sqrt() } else { 0.0 };
        let row = |value: fn(usize, f64) -> f64, f: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let numbers = |token| (0..D_MODEL).map(move |j| value(j, f(token)));
            (0..seq_length).flat_map(numbers).collect()
        };
        let on_first = |j, x| if j == 0 { x } else { 0.0 };
        let on_both = |j, x: f64| (x + j as f64).sin();
        // The cell without its last token, and without its first.
        let two = |value: fn(usize, f64) -> f64, f: &dyn Fn(usize) -> f64| {
            [row(value, f), row(value, &|position| f(position + 1))]
        };
        let queries = two(on_first, &|_| 1.0);
        let keys = two(on_first, &key);
        let values = two(on_both, &|token| token as f64);
        check([&queries, &keys, &values], &[0, 1, 56, 57, 58, 119, 120]);
    }
}

#[track_caller]
fn check([queries, keys, values]: [&[Vec<f64>; 2]; 3], places: &[usize]) {
    let seq_length = queries[0].len() / D_MODEL;
    let tensor = |rows: &[Vec<f64>; 2]| {
        let numbers: Vec<f32> = rows.concat().iter().map(|&x| x as f32).collect();
        let numbers = Tensor::<Flex, 1>::from_floats(numbers.as_slice(), &FlexDevice);
        numbers.reshape([2, seq_length, D_MODEL])
    };
    let joined = Joined::new(&tensor(queries), &tensor(keys), &tensor(values), 1).unwrap();
    let found = joined.attend::<Flex>(places).unwrap().into_data();
    let mut found = found.iter::<f32>();
    for &place in places {
        let joined = |rows: &[Vec<f64>; 2]| {
            let (first, second) = (&rows[0][..place * D_MODEL], &rows[1][place * D_MODEL..]);
            [first, second].concat()
        };
        let [queries, keys, values] = [queries, keys, values].map(joined);
        let [keys, values] = [&keys, &values].map(|rows| rows.chunks(D_MODEL).collect::<Vec<_>>());
        for (i, query) in queries.chunks(D_MODEL).enumerate() {
            for expected in attend(query, &keys, &values) {
                let found = f64::from(found.next().unwrap());
                assert!(
                    (found - expected).abs() <= TOLERANCE,
                    "joined at {place}, query {i}: {found}, expected {expected}"
                );
            }
        }
    }
}
