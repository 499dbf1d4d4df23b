//! The three vectors of a compressed matrix, read by windows.

use std::sync::Arc;

use super::{
    super::{
        element::{Element, Order},
        tree::{Array, Tree},
        values::{Numbers, Values},
    },
    worker::{Answer, Worker},
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
    data: Arc<Array>,
    indices: Arc<Indices>,
    /// Threads that read the two vectors.
    data_reader: Worker<Result<Counts>>,
    indices_reader: Worker<Result<Vec<u32>>>,
}

/// The indices of the stored values.
struct Indices {
    array: Array,
    n_minor: usize,
}

/// Stored values that threads are reading: each vector in one.
pub(super) struct Coming {
    indices: Answer<Result<Vec<u32>>>,
    counts: Answer<Result<Counts>>,
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
        let (data, indices) = (Arc::new(data), Arc::new(Indices { array: indices, n_minor }));
        let (values, places) = (Arc::clone(&data), Arc::clone(&indices));
        let counts = move |from, n| Values::read(&*values, &[from], &[n]).map(Values::counts);
        let data_reader = Worker::new(counts).map_err(Error::io(tree.path()))?;
        let indices_reader = Worker::new(move |from, n| places.read(from, n));
        let indices_reader = indices_reader.map_err(Error::io(tree.path()))?;
        Ok(Self { offsets, data, indices, data_reader, indices_reader })
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
        &self.data
    }

    pub(super) fn read_indices(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        self.indices.read(from, n)
    }

    /// Begins to read some stored values and their indices.
    pub(super) fn begin(&self, from: usize, n: usize) -> Coming {
        Coming { indices: self.begin_indices(from, n), counts: self.data_reader.ask(from, n) }
    }

    /// Begins to read the indices of some stored values.
    pub(super) fn begin_indices(&self, from: usize, n: usize) -> Answer<Result<Vec<u32>>> {
        self.indices_reader.ask(from, n)
    }
}

impl Coming {
    /// Indices and counts, when both are read.
    pub(super) fn wait(self) -> Result<(Vec<u32>, Counts)> {
        let (indices, counts) = (self.indices.wait(), self.counts.wait());
        Ok((indices?, counts?))
    }
}

impl Indices {
    fn read(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        if self.are_plain() {
            // Negative ones become large; what they were, the checked reading tells.
            let indices: Vec<u32> = self.array.slice(&[from], &[n])?;
            if indices.iter().all(|&index| (index as usize) < self.n_minor) {
                return Ok(indices);
            }
        }
        let indices: Vec<u32> = self.array.integers(from, n)?;
        match indices.iter().position(|&index| index as usize >= self.n_minor) {
            None => Ok(indices),
            Some(offset) => Err(Error::Encoding {
                path: self.array.path().to_owned(),
                object: self.array.object().to_owned(),
                found: format!("index {} at {}", indices[offset], from + offset),
                expected: format!("indices below {}", self.n_minor),
            }),
        }
    }

    /// Whether they are integers of four bytes, as scipy makes them.
    fn are_plain(&self) -> bool {
        let element = self.array.element();
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
