//! The three vectors of a compressed matrix, read by windows.

use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use super::super::{
    element::{Element, Order},
    tree::{Array, Tree},
    values::{Numbers, Values},
};
use crate::error::{Error, Result};

/// Offsets held at a time.
const OFFSETS: usize = 1 << 16;
/// Most stored values of one row, and of the rows read together.
pub(super) const MAX_VALUES: usize = 1 << 22;

/// Counts, or where the first other value stands and what it is.
pub(super) type Counts = Result<Vec<u32>, (usize, String)>;

/// A matrix stored row by row; for CSC the rows are genes.
pub(super) struct Compressed {
    offsets: Offsets,
    vectors: Arc<Vectors>,
}

/// The stored values and their indices.
struct Vectors {
    indices: Array,
    data: Array,
    n_minor: usize,
}

/// Stored values that threads are reading: each vector in one.
pub(super) struct Coming {
    indices: JoinHandle<Result<Vec<u32>>>,
    counts: JoinHandle<Result<Counts>>,
}

impl Compressed {
    pub(super) fn open(tree: Tree, layer: &str, n_major: usize, n_minor: usize) -> Result<Self> {
        let part = |name: &str| format!("{layer}/{name}");
        let data = tree.array(&part("data"))?;
        let indices = tree.twin(&part("indices"))?;
        let offsets = tree.array(&part("indptr"))?;
        let length = |what: &str, found: usize, expected: usize| {
            let (found, expected) = (found as u64, expected as u64);
            let (path, what) = (tree.path().to_owned(), format!("{layer}: {what}"));
            if found == expected {
                Ok(())
            } else {
                Err(Error::Length { path, what, found, expected })
            }
        };
        for vector in [&data, &indices, &offsets] {
            if vector.shape().len() != 1 {
                return Err(vector.encoding("a vector"));
            }
        }
        length("row offsets", offsets.len(), n_major + 1)?;
        length("stored values against indices", data.len(), indices.len())?;
        let last: Vec<u64> = offsets.integers(n_major, 1)?;
        let last = usize::try_from(last[0]).unwrap_or(usize::MAX);
        length("stored values against the last row offset", data.len(), last)?;
        let offsets = Offsets { data: offsets, n_values: last, first: 0, window: Vec::new() };
        if offsets.load(0)?[0] != 0 {
            return Err(offsets.descending());
        }
        u32::try_from(n_major.max(n_minor))
            .map_err(|_| tree.encoding(layer, "too many rows", "fewer than 2^32"))?;
        Ok(Self { offsets, vectors: Arc::new(Vectors { indices, data, n_minor }) })
    }

    /// Number of stored values.
    pub(super) fn n_values(&self) -> usize {
        self.offsets.n_values
    }

    /// Where the values of a row begin; at the number of rows, where the last ends.
    pub(super) fn offset(&mut self, row: usize) -> Result<usize> {
        self.offsets.at(row)
    }

    /// The row of a stored value.
    pub(super) fn row_of(&self, at: usize) -> Result<usize> {
        for first in (0..self.offsets.data.len()).step_by(OFFSETS) {
            let window = self.offsets.load(first)?;
            let after = window.partition_point(|&offset| offset <= at);
            if after < window.len() {
                return Ok(first + after.max(1) - 1);
            }
        }
        Err(self.offsets.descending())
    }

    /// The stored values.
    pub(super) fn data(&self) -> &Array {
        &self.vectors.data
    }

    pub(super) fn read_indices(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        self.vectors.indices(from, n)
    }

    /// Begins to read some stored values and their indices.
    pub(super) fn begin(&self, from: usize, n: usize) -> Result<Coming> {
        let counts = move |vectors: &Vectors| vectors.counts(from, n);
        Ok(Coming { indices: self.begin_indices(from, n)?, counts: self.spawn(counts)? })
    }

    /// Begins to read the indices of some stored values.
    pub(super) fn begin_indices(
        &self,
        from: usize,
        n: usize,
    ) -> Result<JoinHandle<Result<Vec<u32>>>> {
        self.spawn(move |vectors| vectors.indices(from, n))
    }

    // Not rayon's: a thread of its pool that waits here would wait for itself
    // where the pool has no other.
    fn spawn<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Vectors) -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let vectors = Arc::clone(&self.vectors);
        let thread = Builder::new().spawn(move || read(&vectors));
        thread.map_err(Error::io(self.vectors.data.path()))
    }
}

impl Coming {
    /// Indices and counts, when both are read.
    pub(super) fn wait(self) -> Result<(Vec<u32>, Counts)> {
        let (indices, counts) = (wait(self.indices), wait(self.counts));
        Ok((indices?, counts?))
    }
}

/// What a thread found.
pub(super) fn wait<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Vectors {
    fn counts(&self, from: usize, n: usize) -> Result<Counts> {
        Values::read(&self.data, &[from], &[n]).map(Values::counts)
    }

    fn indices(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        if self.has_plain_indices() {
            // Negative ones become large; what they were, the checked reading tells.
            let indices: Vec<u32> = self.indices.slice(&[from], &[n])?;
            if indices.iter().all(|&index| (index as usize) < self.n_minor) {
                return Ok(indices);
            }
        }
        let indices: Vec<u32> = self.indices.integers(from, n)?;
        match indices.iter().position(|&index| index as usize >= self.n_minor) {
            None => Ok(indices),
            Some(offset) => Err(Error::Encoding {
                path: self.indices.path().to_owned(),
                object: self.indices.object().to_owned(),
                found: format!("index {} at {}", indices[offset], from + offset),
                expected: format!("indices below {}", self.n_minor),
            }),
        }
    }

    /// Whether the indices are integers of four bytes, as scipy makes them.
    fn has_plain_indices(&self) -> bool {
        let element = self.indices.element();
        matches!(element, Element::Integer { size: 4, order: Order::Little, .. })
    }
}

/// Where each row begins, some rows at a time.
struct Offsets {
    data: Array,
    n_values: usize,
    first: usize,
    window: Vec<usize>,
}

impl Offsets {
    fn at(&mut self, row: usize) -> Result<usize> {
        if let Some(&offset) = row.checked_sub(self.first).and_then(|at| self.window.get(at)) {
            return Ok(offset);
        }
        self.first = row / OFFSETS * OFFSETS;
        self.window = self.load(self.first)?;
        self.window.get(row - self.first).copied().ok_or_else(|| self.descending())
    }

    /// The offsets from a row on, up to the first of the next window, which
    /// ties the windows together.
    fn load(&self, first: usize) -> Result<Vec<usize>> {
        let n = (OFFSETS + 1).min(self.data.len() - first);
        let offsets: Vec<u64> = self.data.integers(first, n)?;
        let is_inside = offsets.last().is_none_or(|&last| last <= self.n_values as u64);
        if !offsets.is_sorted() || !is_inside {
            return Err(self.descending());
        }
        Ok(offsets.into_iter().map(|offset| offset as usize).collect())
    }

    fn descending(&self) -> Error {
        Error::Encoding {
            path: self.data.path().to_owned(),
            object: self.data.object().to_owned(),
            found: "descending offsets".to_owned(),
            expected: "offsets that ascend from 0".to_owned(),
        }
    }
}
