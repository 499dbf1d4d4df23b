//! Which droplets of an unfiltered matrix hold a cell.
//!
//! [`CellRanger22`] looks at the droplets' totals alone: whoever has a tenth of
//! the counts of a good cell is a cell. [`EmptyDrops`] looks at the droplets
//! below that line and keeps those whose genes differ from the ambient RNA.

use crate::error::{Error, Result};

mod good_turing;
mod empty_drops;

pub use empty_drops::{Ambient, DropletCall, DropletPlan, DropletRows, EmptyDrops, Role};

/// STARsolo's `--soloCellFilter CellRanger2.2`, and its three numbers.
///
/// The robust maximum is the total that `(1 - quantile) × expected_cells`
/// droplets exceed; a droplet is a cell if its total reaches the maximum
/// divided by `ratio`. Both quotients are rounded, halves away from zero, as
/// in STAR's `SoloFeature_cellFiltering.cpp` (commit 03204ac).
///
/// ```
/// use gf_corpus::CellRanger22;
///
/// let rule = CellRanger22 { expected_cells: 100, ..CellRanger22::default() };
/// let threshold = rule.threshold(&[990, 1000, 100, 99, 0])?;
/// assert_eq!((threshold.robust_max, threshold.min_counts), (990, 99));
/// # Ok::<(), gf_corpus::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellRanger22 {
    /// How many cells were loaded.
    pub expected_cells: u64,
    /// Which quantile of the expected cells is the robust maximum, 0 to 1.
    pub quantile: f64,
    /// Robust maximum over the smallest total of a cell, at least 1.
    pub ratio: f64,
}

impl Default for CellRanger22 {
    fn default() -> Self {
        Self { expected_cells: 3000, quantile: 0.99, ratio: 10.0 }
    }
}

/// What [`CellRanger22`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// The robust maximum, in counts; 0 without droplets.
    pub robust_max: u64,
    /// Counts that make a cell, at least 1.
    pub min_counts: u64,
}

impl Threshold {
    /// Whether a droplet of so many counts is called a cell.
    #[must_use]
    pub fn calls(&self, total: u64) -> bool {
        total >= self.min_counts
    }

    /// How many droplets are called.
    #[must_use]
    pub fn n_called(&self, totals: &[u64]) -> usize {
        totals.iter().filter(|&&total| self.calls(total)).count()
    }
}

impl CellRanger22 {
    /// The threshold for droplets of these totals, in any order; with fewer
    /// droplets than the rule wants, the smallest is the robust maximum.
    ///
    /// Takes 8 bytes a droplet for the time of the call. Totals above 2^53
    /// are divided with the precision of an `f64`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a quantile or a ratio out of range.
    pub fn threshold(&self, totals: &[u64]) -> Result<Threshold> {
        within("quantile", self.quantile, 0.0, 1.0)?;
        within("ratio", self.ratio, 1.0, f64::MAX)?;
        // The same operations as STAR, so that halves fall to the same side.
        let rank = (self.expected_cells as f64 * (1.0 - self.quantile)).round() as usize;
        let robust_max = nth_largest(totals, rank);
        let min_counts = ((robust_max as f64 / self.ratio).round() as u64).max(1);
        Ok(Threshold { robust_max, min_counts })
    }
}

/// The total at a 0-based rank from above, or the smallest.
fn nth_largest(totals: &[u64], rank: usize) -> u64 {
    let Some(last) = totals.len().checked_sub(1) else { return 0 };
    let mut totals = totals.to_vec();
    *totals.select_nth_unstable_by(rank.min(last), |a, b| b.cmp(a)).1
}

/// Refuses a setting out of range; NaN is in no range.
pub(crate) fn within(name: &'static str, found: f64, min: f64, max: f64) -> Result<()> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    let expected = match max {
        f64::MAX => format!("a number of at least {min}"),
        _ => format!("a number from {min} to {max}"),
    };
    Err(Error::Setting { name, found: found.to_string(), expected })
}
