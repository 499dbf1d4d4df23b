//! Sorting more records than memory holds.
//!
//! Records gather in memory; when it is full they are sorted and written to an
//! unnamed temporary file as one run; at the end the runs are merged. Whoever
//! needs cells from a file that is stored gene by gene, or equal fingerprints
//! from a whole corpus, sorts with it in bounded memory.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use bytemuck::Pod;
use rayon::slice::ParallelSliceMut;

use crate::error::{Error, Result};

/// Bytes of records held in memory before a run is written.
const MEMORY: usize = 96 << 20;
/// Bytes read at a time from each run of a merge.
const RUN_BUFFER: usize = 1 << 16;

/// Takes records in any order and gives them back sorted.
pub(crate) struct ExternalSort<T> {
    records: Vec<T>,
    capacity: usize,
    file: Option<File>,
    /// Bytes at which each run ends.
    ends: Vec<u64>,
}

impl<T: Pod + Ord + Send> ExternalSort<T> {
    pub(crate) fn new() -> Self {
        Self::with_memory(MEMORY)
    }

    fn with_memory(n_bytes: usize) -> Self {
        let capacity = (n_bytes / size_of::<T>()).max(1);
        Self { records: Vec::new(), capacity, file: None, ends: Vec::new() }
    }

    pub(crate) fn push(&mut self, record: T) -> Result<()> {
        if self.records.len() == self.capacity {
            self.write_run()?;
        }
        self.records.push(record);
        Ok(())
    }

    fn write_run(&mut self) -> Result<()> {
        self.records.par_sort_unstable();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile().map_err(temporary)?,
        };
        let bytes: &[u8] = bytemuck::cast_slice(&self.records);
        file.write_all(bytes).map_err(temporary)?;
        self.ends.push(self.ends.last().unwrap_or(&0) + bytes.len() as u64);
        self.file = Some(file);
        self.records.clear();
        Ok(())
    }

    /// All records in ascending order.
    pub(crate) fn finish(mut self) -> Result<Sorted<T>> {
        if self.file.is_none() {
            self.records.par_sort_unstable();
            return Ok(Sorted::Memory(self.records.into_iter()));
        }
        if !self.records.is_empty() {
            self.write_run()?;
        }
        // Before the runs' buffers are made, the memory of this one goes.
        self.records = Vec::new();
        let Some(file) = self.file else { return Ok(Sorted::Memory(Vec::new().into_iter())) };
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let runs =
            starts.zip(&self.ends).map(|(at, &end)| Run { at, end, buffer: Vec::new(), next: 0 });
        let mut merge = Merge { file, runs: runs.collect(), heads: BinaryHeap::new() };
        for run in 0..merge.runs.len() {
            merge.refill(run)?;
        }
        Ok(Sorted::Merge(merge))
    }
}

/// The records of an [`ExternalSort`], ascending.
pub(crate) enum Sorted<T> {
    Memory(std::vec::IntoIter<T>),
    Merge(Merge<T>),
}

/// Runs of a file and the first record of each.
pub(crate) struct Merge<T> {
    file: File,
    runs: Vec<Run<T>>,
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

struct Run<T> {
    at: u64,
    end: u64,
    buffer: Vec<T>,
    next: usize,
}

impl<T: Pod + Ord> Merge<T> {
    fn advance(&mut self) -> Result<Option<T>> {
        let Some(Reverse((record, run))) = self.heads.pop() else { return Ok(None) };
        self.refill(run)?;
        Ok(Some(record))
    }

    /// Puts the next record of a run among the heads.
    fn refill(&mut self, run_idx: usize) -> Result<()> {
        let run = &mut self.runs[run_idx];
        if run.next == run.buffer.len() && run.at < run.end {
            let room = (RUN_BUFFER / size_of::<T>()).max(1);
            let left = (run.end - run.at) as usize / size_of::<T>();
            run.buffer.resize(room.min(left), T::zeroed());
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut run.buffer);
            self.file.seek(SeekFrom::Start(run.at)).map_err(temporary)?;
            self.file.read_exact(bytes).map_err(temporary)?;
            run.at += bytes.len() as u64;
            run.next = 0;
        }
        if let Some(&record) = run.buffer.get(run.next) {
            run.next += 1;
            self.heads.push(Reverse((record, run_idx)));
        }
        Ok(())
    }
}

impl<T: Pod + Ord> Iterator for Sorted<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Memory(records) => records.next().map(Ok),
            Self::Merge(merge) => merge.advance().transpose(),
        }
    }
}

fn temporary(source: std::io::Error) -> Error {
    Error::Io { path: std::env::temp_dir(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorted_like_the_standard_library(mut records: Vec<u32>, memory in 0usize..200) {
            let mut sort = ExternalSort::with_memory(memory);
            for &record in &records {
                sort.push(record).unwrap();
            }
            let found: Vec<u32> = sort.finish().unwrap().map(|record| record.unwrap()).collect();
            records.sort_unstable();
            prop_assert_eq!(found, records);
        }
    }
}
