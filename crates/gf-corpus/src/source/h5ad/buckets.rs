//! Cells from a matrix that is stored gene by gene.
//!
//! Entries are dealt into buckets of consecutive cells, which lie on disk; one
//! bucket at a time comes back and is put in order by counting. Nothing is
//! compared, and of two entries of a cell the one dealt first stays first.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use bytemuck::Zeroable;

use super::super::turned::Entry;
use crate::error::{Error, Result};

/// Entries of a bucket, unless one group of cells has more: 12 bytes each as
/// dealt, 8 more in order.
const BUCKET: u64 = 1 << 21;
/// Most entries of a bucket.
pub(super) const MAX_BUCKET: u64 = 1 << 23;
/// Most cells of a bucket.
const MAX_CELLS: usize = 1 << 20;
/// Most groups of cells that are counted apart.
const MAX_GROUPS: usize = 1 << 20;
/// Bytes of all buckets that wait to be written, and most of one.
const WAITING: usize = 64 << 20;
const MAX_WAITING: usize = 1 << 16;

/// How many entries each group of consecutive cells has.
pub(super) struct Census {
    n_cells: usize,
    /// A group has 2 to the power of this cells.
    shift: u32,
    groups: Vec<u64>,
}

impl Census {
    pub(super) fn new(n_cells: usize) -> Self {
        let shift = n_cells.div_ceil(MAX_GROUPS).next_power_of_two().trailing_zeros();
        Self { n_cells, shift, groups: vec![0; (n_cells >> shift) + 1] }
    }

    /// Counts the entries of these cells, all below the number of cells.
    pub(super) fn add(&mut self, cells: &[u32]) {
        for &cell in cells {
            self.groups[cell as usize >> self.shift] += 1;
        }
    }

    /// Buckets with room for what was counted; else the first cell of a group
    /// that does not fit in one.
    pub(super) fn buckets(self) -> Result<Buckets, usize> {
        let (mut first_cells, mut of_group) = (vec![0], Vec::with_capacity(self.groups.len()));
        let mut n_entries = 0;
        for (group, &more) in self.groups.iter().enumerate() {
            let cell = group << self.shift;
            if more > MAX_BUCKET {
                return Err(cell);
            }
            let n_cells = cell - first_cells[first_cells.len() - 1];
            if n_cells > 0 && (n_entries + more > BUCKET || n_cells >= MAX_CELLS) {
                first_cells.push(cell);
                n_entries = 0;
            }
            n_entries += more;
            of_group.push(first_cells.len() as u32 - 1);
        }
        let n_buckets = first_cells.len();
        let waiting = (WAITING / n_buckets).min(MAX_WAITING) / size_of::<Entry>();
        first_cells.push(self.n_cells);
        Ok(Buckets {
            shift: self.shift,
            of_group,
            first_cells,
            file: None,
            n_written: 0,
            most_waiting: waiting.max(1),
            waiting: vec![Vec::new(); n_buckets],
            written: vec![Vec::new(); n_buckets],
            sorted: Sorted::default(),
        })
    }
}

/// Entries by bucket; the cells of one bucket in order.
pub(super) struct Buckets {
    shift: u32,
    /// The bucket of each group of cells.
    of_group: Vec<u32>,
    /// The first cell of each bucket, and the number of cells.
    first_cells: Vec<usize>,
    file: Option<File>,
    /// Bytes in the file.
    n_written: u64,
    /// Entries of a bucket that are written together.
    most_waiting: usize,
    waiting: Vec<Vec<Entry>>,
    /// Where the pieces of each bucket begin that were written.
    written: Vec<Vec<u64>>,
    sorted: Sorted,
}

/// The entries of some consecutive cells in order.
#[derive(Default)]
struct Sorted {
    first_cell: usize,
    ends: Vec<usize>,
    genes: Vec<u32>,
    counts: Vec<u32>,
}

impl Buckets {
    /// Takes an entry; those of a cell come by ascending genes.
    pub(super) fn push(&mut self, entry: Entry) -> Result<()> {
        let bucket = self.of_group[entry.cell as usize >> self.shift] as usize;
        let waiting = &mut self.waiting[bucket];
        waiting.push(entry);
        if waiting.len() == self.most_waiting { self.write(bucket) } else { Ok(()) }
    }

    fn write(&mut self, bucket: usize) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(temporary)?),
        };
        let bytes: &[u8] = bytemuck::cast_slice(&self.waiting[bucket]);
        file.write_all(bytes).map_err(temporary)?;
        self.written[bucket].push(self.n_written);
        self.n_written += bytes.len() as u64;
        self.waiting[bucket].clear();
        Ok(())
    }

    /// Genes and counts of a cell; ask for ascending cells, once all is dealt.
    pub(super) fn row(&mut self, cell: usize) -> Result<(&[u32], &[u32])> {
        if cell >= self.sorted.first_cell + self.sorted.ends.len() {
            let bucket = self.of_group[cell >> self.shift] as usize;
            // The cells before are let go before more are read.
            self.sorted = Sorted::default();
            let entries = self.read(bucket)?;
            let [first, end] = [self.first_cells[bucket], self.first_cells[bucket + 1]];
            self.sorted = Sorted::new(&entries, first, end - first);
        }
        Ok(self.sorted.row(cell - self.sorted.first_cell))
    }

    /// The entries of a bucket as they were dealt.
    fn read(&mut self, bucket: usize) -> Result<Vec<Entry>> {
        let (pieces, rest) = (&self.written[bucket], std::mem::take(&mut self.waiting[bucket]));
        let Some(file) = self.file.as_mut().filter(|_| !pieces.is_empty()) else { return Ok(rest) };
        let n_written = pieces.len() * self.most_waiting;
        let mut entries = Vec::with_capacity(n_written + rest.len());
        entries.resize(n_written, Entry::zeroed());
        for (piece, &at) in entries.chunks_exact_mut(self.most_waiting).zip(pieces) {
            file.seek(SeekFrom::Start(at)).map_err(temporary)?;
            file.read_exact(bytemuck::cast_slice_mut(piece)).map_err(temporary)?;
        }
        entries.extend(rest);
        Ok(entries)
    }
}

impl Sorted {
    /// Entries of `n_cells` cells from `first_cell` on.
    fn new(entries: &[Entry], first_cell: usize, n_cells: usize) -> Self {
        let mut ends = vec![0; n_cells + 1];
        for entry in entries {
            ends[entry.cell as usize - first_cell + 1] += 1;
        }
        for cell in 0..n_cells {
            ends[cell + 1] += ends[cell];
        }
        let (mut genes, mut counts) = (vec![0; entries.len()], vec![0; entries.len()]);
        // Each cell's start moves to its end as its entries find their places.
        for entry in entries {
            let at = &mut ends[entry.cell as usize - first_cell];
            genes[*at] = entry.row;
            counts[*at] = entry.count;
            *at += 1;
        }
        ends.pop();
        Self { first_cell, ends, genes, counts }
    }

    fn row(&self, cell: usize) -> (&[u32], &[u32]) {
        let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
        let span = start..self.ends[cell];
        (&self.genes[span.clone()], &self.counts[span])
    }
}

fn temporary(source: std::io::Error) -> Error {
    Error::Io { path: std::env::temp_dir(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Deals entries by ascending genes into buckets of few entries and reads
    /// them cell by cell: what a stable sort by cell gives.
    fn check(entries: &[(u32, u32)], n_cells: usize, shift: u32, most_waiting: usize) {
        let entry = |(gene, &(cell, count)): (usize, &(u32, u32))| Entry {
            cell,
            row: gene as u32 / 2,
            count,
        };
        let entries: Vec<Entry> = entries.iter().enumerate().map(entry).collect();
        let mut census = Census { n_cells, shift, groups: vec![0; (n_cells >> shift) + 1] };
        census.add(&entries.iter().map(|entry| entry.cell).collect::<Vec<_>>());
        // As if each entry stood for many, so that there are several buckets.
        census.groups.iter_mut().for_each(|n| *n *= BUCKET / 8);
        let Ok(mut buckets) = census.buckets() else { return };
        buckets.most_waiting = most_waiting;
        entries.iter().for_each(|&entry| buckets.push(entry).unwrap());
        for cell in 0..n_cells {
            let of_cell = entries.iter().filter(|entry| entry.cell as usize == cell);
            let (genes, counts): (Vec<u32>, Vec<u32>) =
                of_cell.map(|entry| (entry.row, entry.count)).unzip();
            assert_eq!(buckets.row(cell).unwrap(), (&genes[..], &counts[..]), "cell {cell}");
        }
    }

    proptest! {
        #[test]
        fn dealt_like_a_stable_sort(
            entries in vec((0u32..40, 1u32..9), 0..200),
            shift in 0u32..4,
            most_waiting in 1usize..20,
        ) {
            check(&entries, 40, shift, most_waiting);
        }
    }

    #[test]
    fn a_group_beyond_the_cap_is_refused() {
        let census = Census { n_cells: 8, shift: 1, groups: vec![1, MAX_BUCKET, MAX_BUCKET + 1] };
        assert_eq!(census.buckets().err(), Some(4));
    }
}
