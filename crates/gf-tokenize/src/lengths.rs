//! Lengths of cells as a histogram.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many cells have which length in tokens, special ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lengths(BTreeMap<usize, u64>);

impl Lengths {
    /// Counts one more cell.
    pub(crate) fn add(&mut self, length: usize) {
        *self.0.entry(length).or_default() += 1;
    }

    /// Lengths that occur, ascending, with their number of cells.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(|(&length, &cells)| (length, cells))
    }

    /// The length that half of the cells do not exceed; nothing without cells.
    pub fn median(&self) -> Option<usize> {
        let half = self.0.values().sum::<u64>().div_ceil(2);
        let mut seen = 0;
        let reached = self.iter().find(|&(_, cells)| {
            seen += cells;
            seen >= half
        });
        reached.map(|(length, _)| length)
    }
}
