//! Cells from a matrix that is stored gene by gene.

use std::iter::Peekable;

use bytemuck::{Pod, Zeroable};

use crate::{
    error::Result,
    sort::{ExternalSort, Sorted},
};

/// One stored count, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) cell: u32,
    pub(super) row: u32,
    pub(super) count: u32,
}

/// The entries of a matrix in the order of its cells, sorted in bounded memory.
pub(super) struct Turned(Peekable<Sorted<Entry>>);

impl Turned {
    pub(super) fn new(entries: ExternalSort<Entry>) -> Result<Self> {
        Ok(Self(entries.finish()?.peekable()))
    }

    /// The next entry if it belongs to `cell`; ask for ascending cells.
    pub(super) fn take(&mut self, cell: u32) -> Result<Option<Entry>> {
        let is_next = |entry: &Result<Entry>| !matches!(entry, Ok(entry) if entry.cell != cell);
        self.0.next_if(is_next).transpose()
    }

    /// Row and count of every entry of `cell`; ask for ascending cells.
    pub(super) fn row(&mut self, cell: u32) -> Result<Vec<(u32, u32)>> {
        let mut row = Vec::new();
        while let Some(entry) = self.take(cell)? {
            row.push((entry.row, entry.count));
        }
        Ok(row)
    }
}
