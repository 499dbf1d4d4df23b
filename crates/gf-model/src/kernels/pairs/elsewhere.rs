//! No vector instructions.

use super::{N_VECTORS, PORTABLE, Portable, Work};

/// Columns of a panel on this processor.
pub fn n_columns() -> usize {
    N_VECTORS * PORTABLE
}

/// Runs `work` on the widest vectors of this processor, with as many rows as keep its
/// multipliers busy.
pub fn dispatch(work: impl Work) {
    work.run::<_, 4>(Portable);
}
