//! Which rows are held out.

use rand::seq::SliceRandom;

use crate::random::{Purpose, stream};

/// Rows to train on and rows to evaluate on; both ascending, together every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows that are trained on.
    pub train: Vec<usize>,
    /// Rows that are only evaluated.
    pub held_out: Vec<usize>,
}

/// Holds out a fraction of `0..n_rows`, rounded to the nearest whole number of rows.
///
/// ```
/// let split = gf_train::split(559, 0.1, 42);
/// assert_eq!((split.train.len(), split.held_out.len()), (503, 56));
/// ```
pub fn split(n_rows: usize, held_out_fraction: f64, seed: u64) -> Split {
    let n_held_out = (n_rows as f64 * held_out_fraction).round() as usize;
    let mut held_out: Vec<usize> = (0..n_rows).collect();
    held_out.shuffle(&mut stream(seed, Purpose::Split, 0, 0));
    let mut train = held_out.split_off(n_held_out.min(n_rows));
    train.sort_unstable();
    held_out.sort_unstable();
    Split { train, held_out }
}
