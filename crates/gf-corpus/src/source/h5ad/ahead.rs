//! Stored values read in larger pieces than they are asked for, and one piece
//! ahead of them, so that unpacking and use go on at the same time.

use std::ops::Range;

use super::compressed::{Coming, Compressed, Counts};
use crate::error::Result;

/// Fewest values read at a time.
const PIECE: usize = 1 << 18;
/// Most values read beyond those asked for.
const MAX_AHEAD: usize = 1 << 21;

/// A stretch of indices and counts, and the one behind it.
#[derive(Default)]
pub(super) struct Ahead {
    from: usize,
    indices: Vec<u32>,
    counts: Vec<u32>,
    coming: Option<(Range<usize>, Coming)>,
}

impl Ahead {
    /// The values of a range that begins no earlier than the one before.
    /// Pieces end where chunks of `chunk` values do, so that few chunks are
    /// unpacked twice. `refuse` gets where the first value stands that is no
    /// count, its index, and what it is.
    pub(super) fn values(
        &mut self,
        range: Range<usize>,
        chunk: usize,
        stored: &Compressed,
        refuse: impl Fn(usize, u32, String) -> crate::Error,
    ) -> Result<(&[u32], &[u32])> {
        let n_values = stored.n_values();
        if range.end > self.end() {
            self.drop_before(range.start);
        }
        while range.end > self.end() {
            let piece = match self.coming.take() {
                Some((piece, coming)) if piece.start == self.end() => (piece, coming),
                _ => begin(stored, self.end(), chunk, n_values),
            };
            self.take(piece, &refuse)?;
            if self.end() < n_values {
                self.coming = Some(begin(stored, self.end(), chunk, n_values));
            }
        }
        let span = range.start - self.from..range.end - self.from;
        Ok((&self.indices[span.clone()], &self.counts[span]))
    }

    fn end(&self) -> usize {
        self.from + self.counts.len()
    }

    fn take(
        &mut self,
        (piece, coming): (Range<usize>, Coming),
        refuse: impl Fn(usize, u32, String) -> crate::Error,
    ) -> Result<()> {
        let (indices, counts): (_, Counts) = coming.wait()?;
        let counts = counts.map_err(|(at, found)| refuse(piece.start + at, indices[at], found))?;
        append(&mut self.indices, indices);
        append(&mut self.counts, counts);
        Ok(())
    }

    fn drop_before(&mut self, start: usize) {
        let n = (start - self.from).min(self.counts.len());
        self.counts.drain(..n);
        self.indices.drain(..n);
        self.from = start.max(self.from);
    }
}

fn begin(
    stored: &Compressed,
    start: usize,
    chunk: usize,
    n_values: usize,
) -> (Range<usize>, Coming) {
    let end = piece_end(start, chunk).min(n_values);
    (start..end, stored.begin(start, end - start))
}

/// Puts new values behind those held; mostly none are.
fn append(held: &mut Vec<u32>, new: Vec<u32>) {
    if held.is_empty() {
        *held = new;
    } else {
        held.extend(new);
    }
}

/// Where a piece ends that begins at `start`: at the end of a chunk, unless
/// that is too far.
fn piece_end(start: usize, chunk: usize) -> usize {
    let wanted = start.saturating_add(PIECE);
    let aligned = wanted.div_ceil(chunk).saturating_mul(chunk);
    if aligned - wanted <= MAX_AHEAD { aligned } else { wanted }
}
