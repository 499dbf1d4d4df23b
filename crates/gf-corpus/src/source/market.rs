//! MatrixMarket files of counts: genes × cells, one entry a line.

use std::path::Path;

use super::{
    text::{Lines, count, digits},
    turned::Entry,
};
use crate::error::{Error, Result};

/// Lines of comments allowed before the size.
const MAX_COMMENTS: u64 = 1 << 16;
/// Entries parsed at a time.
const BLOCK: usize = 1 << 13;

/// An open matrix file; its entries are checked one by one.
pub(super) struct Market {
    lines: Lines,
    pub(super) n_rows: u64,
    pub(super) n_cells: u64,
    n_entries: u64,
    n_read: u64,
}

impl Market {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let banner = lines.next_line()?.unwrap_or_default().to_ascii_lowercase();
        let known = [b"integer".as_slice(), b"real"];
        if !matches!(words(&banner)[..], [b"%%matrixmarket", b"matrix", b"coordinate", kind, b"general"] if known.contains(&kind))
        {
            let expected = "%%MatrixMarket matrix coordinate integer (or real) general";
            return Err(lines.unexpected(expected.to_owned()));
        }
        while lines.next_line()?.is_some_and(|line| line.starts_with(b"%") || line.is_empty()) {
            if lines.number() > MAX_COMMENTS {
                return Err(lines.unexpected(format!("at most {MAX_COMMENTS} lines of comments")));
            }
        }
        let size: Vec<Option<u64>> = words(lines.bytes()).into_iter().map(digits).collect();
        let [Some(n_rows), Some(n_cells), Some(n_entries)] = size[..] else {
            return Err(lines.unexpected("the numbers of rows, columns and entries".to_owned()));
        };
        Ok(Self { lines, n_rows, n_cells, n_entries, n_read: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        self.lines.path()
    }

    /// 1-based number of the line that the last entry read stands on.
    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Puts the next entries into `block`; none at the end of the file.
    ///
    /// `not_counts` makes the error for an entry whose value is no count.
    pub(super) fn next_block(
        &mut self,
        block: &mut Vec<Entry>,
        not_counts: &dyn Fn(Entry, &[u8]) -> Error,
    ) -> Result<()> {
        block.clear();
        while block.len() < BLOCK {
            self.plain_entries(block);
            let Some(entry) = self.next_entry(not_counts)? else { break };
            block.push(entry);
        }
        Ok(())
    }

    /// Takes entries as long as they are in memory and written in the plainest
    /// way; whatever else stands there is left to [`Self::next_entry`].
    fn plain_entries(&mut self, block: &mut Vec<Entry>) {
        let room = (BLOCK - block.len()) as u64;
        let room = room.min(self.n_entries - self.n_read);
        let ahead = self.lines.ahead();
        let (mut n_bytes, mut n_lines) = (0, 0);
        while n_lines < room {
            let Some((row, cell, count, end)) = plain_entry(ahead, n_bytes) else { break };
            if !(1..=self.n_rows).contains(&row.into())
                || !(1..=self.n_cells).contains(&cell.into())
            {
                break;
            }
            block.push(Entry { cell: cell - 1, row: row - 1, count });
            (n_bytes, n_lines) = (end, n_lines + 1);
        }
        self.n_read += n_lines;
        self.lines.pass(n_bytes, n_lines);
    }

    fn next_entry(&mut self, not_counts: &dyn Fn(Entry, &[u8]) -> Error) -> Result<Option<Entry>> {
        if self.lines.next_line()?.is_none() {
            return self.end();
        }
        let Some((row, cell, value)) = split(self.lines.bytes()) else {
            return Err(self.lines.unexpected("row, column and count".to_owned()));
        };
        if !(1..=self.n_rows).contains(&row) {
            return Err(self.lines.unexpected(format!("a gene row from 1 to {}", self.n_rows)));
        }
        if !(1..=self.n_cells).contains(&cell) {
            return Err(self.lines.unexpected(format!("a cell column from 1 to {}", self.n_cells)));
        }
        if self.n_read == self.n_entries {
            let expected = format!("the end after {} entries", self.n_entries);
            return Err(self.lines.unexpected(expected));
        }
        self.n_read += 1;
        let mut entry = Entry { row: (row - 1) as u32, cell: (cell - 1) as u32, count: 0 };
        entry.count = count(value).ok_or_else(|| not_counts(entry, value))?;
        Ok(Some(entry))
    }

    fn end(&self) -> Result<Option<Entry>> {
        if self.n_read == self.n_entries {
            return Ok(None);
        }
        let what = "entries of the matrix (is the file cut off?)".to_owned();
        let path = self.path().to_owned();
        Err(Error::Length { path, what, found: self.n_read, expected: self.n_entries })
    }

    /// Whether the cells ascend over the next `n_entries`.
    pub(super) fn ascends(mut self, n_entries: usize) -> Result<bool> {
        let mut last = 0;
        for _ in 0..n_entries {
            let Some(line) = self.lines.next_line()? else { break };
            // What is malformed is reported where it is read in earnest.
            let Some((_, cell, _)) = split(line) else { break };
            if cell < last {
                return Ok(false);
            }
            last = cell;
        }
        Ok(true)
    }
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// Row, cell and count of `row cell count\n` at a place, and the place after it.
#[inline]
fn plain_entry(bytes: &[u8], at: usize) -> Option<(u32, u32, u32, usize)> {
    let (row, at) = plain_number(bytes, at, b' ')?;
    let (cell, at) = plain_number(bytes, at, b' ')?;
    let (count, at) = plain_number(bytes, at, b'\n')?;
    Some((row, cell, count, at))
}

/// A number of one to nine digits that `end` follows, and the place after that.
#[inline]
fn plain_number(bytes: &[u8], start: usize, end: u8) -> Option<(u32, usize)> {
    let mut number = 0u32;
    for (n_digits, &byte) in bytes[start..].iter().enumerate().take(10) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (byte == end && n_digits > 0).then_some((number, start + n_digits + 1));
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
    }
    None
}

/// A line's row, column and value.
fn split(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (row, rest) = number(line.trim_ascii_start())?;
    let (cell, rest) = number(rest.trim_ascii_start())?;
    let value = rest.trim_ascii();
    let one_word = !value.is_empty() && !value.iter().any(u8::is_ascii_whitespace);
    one_word.then_some((row, cell, value))
}

/// The number a line begins with, and what follows from the next blank on.
fn number(line: &[u8]) -> Option<(u64, &[u8])> {
    let end = line.iter().position(|&b| b == b' ' || b == b'\t')?;
    Some((digits(&line[..end])?, &line[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // The careful parser is the test of the fast one.
        #[test]
        fn plain_entries_are_what_the_careful_parser_says(line in "[0-9]{0,10}[ \t][0-9]{0,10} {0,2}[-0-9.]{0,10}") {
            let text = format!("{line}\n");
            if let Some((row, cell, value, end)) = plain_entry(text.as_bytes(), 0) {
                let (slow_row, slow_cell, slow_value) = split(line.as_bytes()).ok_or_else(|| TestCaseError::fail("refused"))?;
                prop_assert_eq!((u64::from(row), u64::from(cell)), (slow_row, slow_cell));
                prop_assert_eq!(Some(value), count(slow_value));
                prop_assert_eq!(end, text.len());
            }
        }
    }
}
