//! The header of a table and its rows, all of one width.

use std::path::{Path, PathBuf};

use super::fields::{Fields, name};
use crate::{
    error::{Error, Result},
    source::Lines,
};

/// Longest line: one row of all cells of a large atlas.
const MAX_LINE: usize = 256 << 20;
/// Most fields of a line.
const MAX_FIELDS: usize = 1 << 24;
/// Blank lines passed over between rows and at the end.
const MAX_BLANK: usize = 1000;
/// What may stand between fields; the first that fits header and first row.
const DELIMITERS: [u8; 4] = *b"\t,; ";
/// 1-based.
pub(super) const HEADER_LINE: u64 = 1;

/// An open table at its first row.
pub(super) struct Table {
    path: PathBuf,
    lines: Lines,
    header: Vec<u8>,
    pub(super) delimiter: u8,
    /// Of each row; the header may have one less, as R writes it.
    pub(super) n_fields: usize,
    pub(super) is_header_short: bool,
    /// The current line is the first row and was not taken yet.
    is_waiting: bool,
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut lines = Lines::open_wide(path, MAX_LINE)?;
        let header = lines.next_line()?.unwrap_or_default().to_vec();
        if header.is_empty() {
            return Err(lines.unexpected("a header".to_owned()));
        }
        let path = path.to_owned();
        let mut table = Self {
            path,
            lines,
            header,
            delimiter: 0,
            n_fields: 0,
            is_header_short: false,
            is_waiting: false,
        };
        if !table.next_row()? {
            return Err(table.unexpected("a row of counts after the header"));
        }
        table.is_waiting = true;
        table.find_width()?;
        Ok(table)
    }

    /// Finds out what stands between fields, and how many they are.
    fn find_width(&mut self) -> Result<()> {
        let row = self.lines.bytes();
        let widths = DELIMITERS.map(|delimiter| {
            let width = |line| Fields::new(line, delimiter).take(MAX_FIELDS + 1).count();
            (delimiter, width(&self.header), width(row))
        });
        let fits = |&&(_, header, row): &&(u8, usize, usize)| {
            row > 1 && (row == header || row == header + 1)
        };
        let Some(&(delimiter, n_header, n_fields)) = widths.iter().find(fits) else {
            return Err(self.unfit(&widths));
        };
        if n_fields > MAX_FIELDS {
            return Err(self.unexpected(&format!("at most {MAX_FIELDS} fields")));
        }
        self.delimiter = delimiter;
        self.n_fields = n_fields;
        self.is_header_short = n_header < n_fields;
        Ok(())
    }

    fn unfit(&self, widths: &[(u8, usize, usize)]) -> Error {
        match widths.iter().find(|(_, header, _)| *header > 1) {
            None => self.unexpected("fields between tabs, commas, semicolons or blanks"),
            Some(&(_, header, row)) => self.ragged(row, header),
        }
    }

    /// Goes to the next row; `false` after the last.
    pub(super) fn next_row(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.is_waiting) {
            return Ok(true);
        }
        for _ in 0..=MAX_BLANK {
            match self.lines.next_line()? {
                None => return Ok(false),
                Some([]) => {}
                Some(_) => return Ok(true),
            }
        }
        Err(self.unexpected(&format!("at most {MAX_BLANK} blank lines")))
    }

    /// The fields of the current row.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(self.lines.bytes(), self.delimiter)
    }

    /// The names of the header; the first belongs to column
    /// [`first_named`](Self::first_named).
    pub(super) fn header(&self) -> Fields<'_> {
        Fields::new(&self.header, self.delimiter)
    }

    /// The first column that has a name.
    pub(super) fn first_named(&self) -> usize {
        usize::from(self.is_header_short)
    }

    /// Where in the header the name of a column begins.
    pub(super) fn header_at(&self, column: usize) -> usize {
        let mut names = self.header();
        (self.first_named()..column).for_each(|_| _ = names.next());
        self.header.len() - names.rest().len()
    }

    /// The name of a column, to be told in an error.
    pub(super) fn column_name(&self, column: usize) -> String {
        let field = self.header().nth(column.saturating_sub(self.first_named()));
        String::from_utf8_lossy(field.unwrap_or_default()).into_owned()
    }

    pub(super) fn into_header(self) -> Vec<u8> {
        self.header
    }

    /// Refuses a row with more or fewer fields than the first.
    pub(super) fn check_n_fields(&self, found: usize) -> Result<()> {
        (found == self.n_fields).then_some(()).ok_or_else(|| self.ragged(found, self.n_fields))
    }

    fn ragged(&self, found: usize, expected: usize) -> Error {
        let what = format!("fields of line {}", self.line());
        let (found, expected) = (found as u64, expected as u64);
        Error::Length { path: self.path.clone(), what, found, expected }
    }

    /// A field of the current row as text.
    pub(super) fn text(&self, field: &[u8]) -> Result<String> {
        name(field, &self.path, self.line())
    }

    /// 1-based number of the current row's line.
    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Length of the current row.
    pub(super) fn row_bytes(&self) -> usize {
        self.lines.bytes().len()
    }

    pub(super) fn unexpected(&self, expected: &str) -> Error {
        self.lines.unexpected(expected.to_owned())
    }
}
