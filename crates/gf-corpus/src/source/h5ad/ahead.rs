//! Stored values read in larger pieces than they are asked for.

use std::ops::Range;

use crate::error::Result;

/// Fewest values read at a time.
const PIECE: usize = 1 << 20;
/// Most values held beyond those asked for.
const MAX_AHEAD: usize = 1 << 21;

/// A stretch of indices and counts.
#[derive(Default)]
pub(super) struct Ahead {
    from: usize,
    indices: Vec<u32>,
    counts: Vec<u32>,
}

impl Ahead {
    /// The values of a range that begins no earlier than the one before.
    ///
    /// What is missing is read with `load`, up to the end of a chunk of
    /// `chunk` values, so that few chunks are unpacked twice.
    pub(super) fn values(
        &mut self,
        range: Range<usize>,
        chunk: usize,
        n_values: usize,
        load: impl FnOnce(usize, usize) -> Result<(Vec<u32>, Vec<u32>)>,
    ) -> Result<(&[u32], &[u32])> {
        let end = self.from + self.counts.len();
        if range.end > end {
            self.drop_before(range.start);
            let start = self.from + self.counts.len();
            let to = piece_end(start, range.end, chunk).min(n_values).max(range.end);
            let (indices, counts) = load(start, to - start)?;
            append(&mut self.indices, indices);
            append(&mut self.counts, counts);
        }
        let span = range.start - self.from..range.end - self.from;
        Ok((&self.indices[span.clone()], &self.counts[span]))
    }

    fn drop_before(&mut self, start: usize) {
        let n = (start - self.from).min(self.counts.len());
        self.counts.drain(..n);
        self.indices.drain(..n);
        self.from = start.max(self.from);
    }
}

/// Puts new values behind those held; mostly none are.
fn append(held: &mut Vec<u32>, new: Vec<u32>) {
    if held.is_empty() {
        *held = new;
    } else {
        held.extend(new);
    }
}

/// Where a piece ends that begins at `start` and must reach `needed`: at the
/// end of a chunk, unless that is too far.
fn piece_end(start: usize, needed: usize, chunk: usize) -> usize {
    let wanted = needed.max(start.saturating_add(PIECE));
    let aligned = wanted.div_ceil(chunk).saturating_mul(chunk);
    if aligned - wanted <= MAX_AHEAD { aligned } else { needed }
}
