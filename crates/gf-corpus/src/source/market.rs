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
#[inline(always)]
fn plain_entry(bytes: &[u8], at: usize) -> Option<(u32, u32, u32, usize)> {
    let (row, at) = plain_number(bytes, at, b' ')?;
    let (cell, at) = plain_number(bytes, at, b' ')?;
    let (count, at) = plain_number(bytes, at, b'\n')?;
    Some((row, cell, count, at))
}

/// A number of one to seven digits that `end` follows, and the place after that.
///
/// Eight bytes are looked at together, so that no branch hangs on how many
/// digits there are; whatever has fewer bytes behind it is left to the careful
/// parser.
#[inline(always)]
fn plain_number(bytes: &[u8], start: usize, end: u8) -> Option<(u32, usize)> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_le_bytes(bytes.get(start..start + 8)?.try_into().ok()?);
    let digits = text ^ (EACH * u64::from(b'0'));
    // The highest bit of each byte that is not 0 to 9. A carry can only reach
    // the bytes behind the first of them.
    let others = (digits.wrapping_add(EACH * 0x76) | digits) & (EACH * 0x80);
    let n_bits = others.trailing_zeros() & !7;
    let is_number = (8..64).contains(&n_bits) && (text >> n_bits) as u8 == end;
    is_number.then(|| (eight_digits(digits << (64 - n_bits)), start + n_bits as usize / 8 + 1))
}

/// The number of eight decimal digits, a byte each, the first in the lowest.
#[inline(always)]
fn eight_digits(digits: u64) -> u32 {
    const PAIR: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let odd = (pairs & PAIR).wrapping_mul(100 + (1_000_000 << 32));
    let even = ((pairs >> 16) & PAIR).wrapping_mul(1 + (10_000 << 32));
    (odd.wrapping_add(even) >> 32) as u32
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

    /// What [`plain_number`] is to say, read digit by digit.
    fn obvious(bytes: &[u8], end: u8) -> Option<(u32, usize)> {
        let n_digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = (1..8).contains(&n_digits) && bytes[n_digits] == end;
        let text = std::str::from_utf8(&bytes[..n_digits]).ok()?;
        is_plain.then(|| text.parse().ok()).flatten().map(|number| (number, n_digits + 1))
    }

    proptest! {
        #[test]
        fn plain_numbers_are_read_digit_by_digit(
            digits in "[0-9]{0,9}", others: [u8; 8], before in 0usize..4,
        ) {
            let bytes = [&b"12 4"[..before], digits.as_bytes(), &others].concat();
            for end in [b' ', others[0]] {
                let found = plain_number(&bytes, before, end);
                let expected = obvious(&bytes[before..], end);
                prop_assert_eq!(found, expected.map(|(number, n_bytes)| (number, before + n_bytes)));
            }
            prop_assert_eq!(plain_number(&bytes[..7.min(bytes.len())], 0, b' '), None);
        }

        // The careful parser is the test of the fast one.
        #[test]
        fn plain_entries_are_what_the_careful_parser_says(line in "[0-9]{0,10}[ \t][0-9]{0,10} {0,2}[-0-9.]{0,10}") {
            let line_end = line.len() + 1;
            let text = format!("{line}\n1234567 1 1\n");
            if let Some((row, cell, value, end)) = plain_entry(text.as_bytes(), 0) {
                let (slow_row, slow_cell, slow_value) = split(line.as_bytes()).ok_or_else(|| TestCaseError::fail("refused"))?;
                prop_assert_eq!((u64::from(row), u64::from(cell)), (slow_row, slow_cell));
                prop_assert_eq!(Some(value), count(slow_value));
                prop_assert_eq!(end, line_end);
            }
        }
    }
}
