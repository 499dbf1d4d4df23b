//! 10x MEX folders: `matrix.mtx`, `barcodes.tsv` and `features.tsv` (v3
//! layout) or `genes.tsv` (v2), each gzip or plain.
//!
//! The matrix is genes × cells, one entry a line. Every Cell Ranger writes it
//! sorted by cell, and then it is streamed; another order is noticed within
//! the first entries and the matrix is sorted in memory (12 bytes an entry).
//! A matrix that falls out of order only later is an error.
//! Several entries of one gene and cell are summed, as scipy does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{CountSource, Lines, OtherFeatures, SourceBlock, SourceGene, raw_count};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
};

const GENE_EXPRESSION: &str = "Gene Expression";
const LAYER: &str = "matrix.mtx";
/// Entries looked at, at least, to tell whether a matrix is sorted by cell.
const SNIFFED: usize = 1 << 16;

/// What a row of the matrix is.
#[derive(Clone, Copy)]
enum Row {
    Gene(u32),
    Other(u32),
}

/// One line of the matrix, 0-based.
#[derive(Clone, Copy)]
struct Entry {
    row: u32,
    cell: u32,
    count: u32,
}

/// How the rest of the matrix is fetched.
enum Body {
    Stream { entries: Entries, ahead: Option<Entry> },
    Sorted(std::iter::Peekable<std::vec::IntoIter<Entry>>),
}

/// What the two tables of the folder say, and where they lie.
struct Tables {
    folder: PathBuf,
    genes: Vec<SourceGene>,
    rows: Vec<Row>,
    cells: Vec<String>,
    other_kinds: Vec<String>,
}

/// An open MEX folder.
pub(super) struct MexSource {
    tables: Tables,
    other: BTreeMap<String, OtherFeatures>,
    body: Body,
    next_cell: usize,
}

impl MexSource {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let matrix = find(folder, &["matrix.mtx"])?;
        let barcodes = find(folder, &["barcodes.tsv"])?;
        let features = find(folder, &["features.tsv", "genes.tsv"])?;
        let mut tables = Tables {
            folder: folder.to_owned(),
            genes: Vec::new(),
            rows: Vec::new(),
            cells: read_barcodes(&barcodes)?,
            other_kinds: Vec::new(),
        };
        tables.read_features(&features)?;
        let mut other = BTreeMap::<String, OtherFeatures>::new();
        for row in &tables.rows {
            if let Row::Other(kind) = *row {
                other.entry(tables.other_kinds[kind as usize].clone()).or_default().rows += 1;
            }
        }
        let body = Body::open(&matrix, &tables)?;
        Ok(Self { tables, other, body, next_cell: 0 })
    }

    /// The gene entries of the next cell; the others are only summed.
    fn next_row(&mut self) -> Result<Vec<(u32, u32)>> {
        let mut row = Vec::new();
        while let Some(entry) = self.body.take(self.next_cell as u32, &self.tables)? {
            match self.tables.rows[entry.row as usize] {
                Row::Gene(gene) => row.push((gene, entry.count)),
                Row::Other(kind) => {
                    let kind = &self.tables.other_kinds[kind as usize];
                    if let Some(other) = self.other.get_mut(kind) {
                        other.counts += u64::from(entry.count);
                    }
                }
            }
        }
        Ok(row)
    }
}

impl Tables {
    fn read_features(&mut self, path: &Path) -> Result<()> {
        let mut lines = Lines::open(path)?;
        while lines.next_line()?.is_some() {
            let mut cells = lines.text()?.split('\t');
            let id = cells.next().unwrap_or_default().to_owned();
            let symbol = cells.next().map(str::to_owned);
            let kind = cells.next().unwrap_or(GENE_EXPRESSION);
            if kind != GENE_EXPRESSION {
                let row = self.other_row(kind);
                self.rows.push(row);
                continue;
            }
            self.rows.push(Row::Gene(index(self.genes.len(), &lines)?));
            self.genes.push(SourceGene { id, symbol });
        }
        Ok(())
    }

    fn other_row(&mut self, kind: &str) -> Row {
        let known = self.other_kinds.iter().position(|k| k == kind);
        Row::Other(known.unwrap_or_else(|| {
            self.other_kinds.push(kind.to_owned());
            self.other_kinds.len() - 1
        }) as u32)
    }

    fn not_counts(&self, path: &Path, row: u32, cell: u32, value: &[u8]) -> Error {
        let gene = match self.rows[row as usize] {
            Row::Gene(gene) => &self.genes[gene as usize].id,
            Row::Other(kind) => &self.other_kinds[kind as usize],
        };
        Error::NotCounts {
            path: path.to_owned(),
            layer: LAYER.to_owned(),
            cell: self.cells[cell as usize].clone(),
            gene: gene.clone(),
            found: String::from_utf8_lossy(value).into_owned(),
        }
    }
}

impl Body {
    fn open(path: &Path, tables: &Tables) -> Result<Self> {
        if is_sorted(Entries::open(path, tables)?, tables.cells.len())? {
            return Ok(Self::Stream { entries: Entries::open(path, tables)?, ahead: None });
        }
        let mut all = Vec::new();
        let mut entries = Entries::open(path, tables)?;
        while let Some(entry) = entries.next_entry(tables)? {
            all.push(entry);
        }
        all.sort_by_key(|entry| entry.cell);
        Ok(Self::Sorted(all.into_iter().peekable()))
    }

    /// The next entry, if it belongs to `cell`.
    fn take(&mut self, cell: u32, tables: &Tables) -> Result<Option<Entry>> {
        let (entries, ahead) = match self {
            Self::Sorted(entries) => return Ok(entries.next_if(|entry| entry.cell == cell)),
            Self::Stream { entries, ahead } => (entries, ahead),
        };
        if ahead.is_none() {
            *ahead = entries.next_entry(tables)?;
        }
        if let Some(entry) = ahead.filter(|entry| entry.cell < cell) {
            return Err(Error::MexOrder {
                path: entries.lines.path.clone(),
                line: entries.lines.number(),
                cell: tables.cells[entry.cell as usize].clone(),
            });
        }
        Ok(ahead.take_if(|entry| entry.cell == cell))
    }
}

impl CountSource for MexSource {
    fn path(&self) -> &Path {
        &self.tables.folder
    }

    fn layer(&self) -> &str {
        LAYER
    }

    fn genes(&self) -> &[SourceGene] {
        &self.tables.genes
    }

    fn n_cells(&self) -> usize {
        self.tables.cells.len()
    }

    fn columns(&self) -> &[String] {
        &[]
    }

    fn unread_columns(&self) -> &[String] {
        &[]
    }

    fn other_features(&self) -> &BTreeMap<String, OtherFeatures> {
        &self.other
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        let (start, n_cells) = (self.next_cell, self.n_cells());
        let end = n_cells.min(start + max_cells.max(1));
        let mut counts = CountMatrix::new(self.tables.genes.len());
        while self.next_cell < end {
            counts.push_row(self.next_row()?)?;
            self.next_cell += 1;
        }
        if end == n_cells {
            // Reads the end of the file, so that a truncated one is noticed.
            self.body.take(n_cells as u32, &self.tables)?;
        }
        let cell_ids = self.tables.cells[start..end].to_vec();
        Ok((start < end).then_some(SourceBlock { cell_ids, counts, columns: Vec::new() }))
    }
}

/// The entries of a matrix file, checked one by one.
struct Entries {
    lines: Lines,
    n_rows: usize,
    n_cells: usize,
    n_declared: u64,
    n_read: u64,
}

impl Entries {
    fn open(path: &Path, tables: &Tables) -> Result<Self> {
        let (n_rows, n_cells) = (tables.rows.len(), tables.cells.len());
        let mut lines = Lines::open(path)?;
        let banner = lines.next_line()?.unwrap_or_default().to_ascii_lowercase();
        let words: Vec<&[u8]> =
            banner.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
        let known = [b"integer".as_slice(), b"real"];
        if !matches!(words[..], [b"%%matrixmarket", b"matrix", b"coordinate", kind, b"general"] if known.contains(&kind))
        {
            let expected = "%%MatrixMarket matrix coordinate integer (or real) general";
            return Err(lines.unexpected(expected.to_owned()));
        }
        while lines.next_line()?.is_some_and(|line| line.starts_with(b"%") || line.is_empty()) {}
        let words = lines.line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let size: Vec<Option<u64>> = words.map(digits).collect();
        let [Some(rows), Some(cells), Some(n_declared)] = size[..] else {
            return Err(lines.unexpected("the numbers of rows, columns and entries".to_owned()));
        };
        let agree = |what: &str, found: u64, expected: usize| {
            let (path, expected) = (path.to_owned(), expected as u64);
            let what = format!("{what} of the matrix against {}", tables.folder.display());
            if found == expected {
                Ok(())
            } else {
                Err(Error::Length { path, what, found, expected })
            }
        };
        agree("gene rows", rows, n_rows)?;
        agree("cell columns", cells, n_cells)?;
        Ok(Self { lines, n_rows, n_cells, n_declared, n_read: 0 })
    }

    fn next_entry(&mut self, tables: &Tables) -> Result<Option<Entry>> {
        if self.lines.next_line()?.is_none() {
            return self.end();
        }
        let Some((row, cell, value)) = split(&self.lines.line) else {
            return Err(self.lines.unexpected("row, column and count".to_owned()));
        };
        let in_range = |number: u64, n: usize| (1..=n as u64).contains(&number);
        if !in_range(row, self.n_rows) {
            return Err(self.lines.unexpected(format!("a gene row from 1 to {}", self.n_rows)));
        }
        if !in_range(cell, self.n_cells) {
            return Err(self.lines.unexpected(format!("a cell column from 1 to {}", self.n_cells)));
        }
        self.n_read += 1;
        if self.n_read > self.n_declared {
            return Err(self
                .lines
                .unexpected(format!("the end after {} entries", self.n_declared)));
        }
        let (row, cell) = ((row - 1) as u32, (cell - 1) as u32);
        let count =
            count(value).ok_or_else(|| tables.not_counts(&self.lines.path, row, cell, value))?;
        Ok(Some(Entry { row, cell, count }))
    }

    fn end(&self) -> Result<Option<Entry>> {
        if self.n_read == self.n_declared {
            return Ok(None);
        }
        let what = "entries of the matrix (is the file cut off?)".to_owned();
        let path = self.lines.path.clone();
        Err(Error::Length { path, what, found: self.n_read, expected: self.n_declared })
    }
}

/// Whether the cells ascend over the first [`SNIFFED`] entries, and as far as
/// one whole gene of a gene-by-gene file would reach: such a file shows itself
/// within `n_cells + 1` entries.
fn is_sorted(mut entries: Entries, n_cells: usize) -> Result<bool> {
    let mut last = 0;
    for _ in 0..SNIFFED.max(n_cells + 1) {
        let Some(line) = entries.lines.next_line()? else { break };
        // What is malformed is reported where it is read in earnest.
        let Some((_, cell, _)) = split(line) else { break };
        if cell < last {
            return Ok(false);
        }
        last = cell;
    }
    Ok(true)
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

/// A number of at most 18 digits.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut number = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number)
}

fn count(value: &[u8]) -> Option<u32> {
    match digits(value) {
        Some(whole) => u32::try_from(whole).ok(),
        None => raw_count(std::str::from_utf8(value).ok()?.parse().ok()?),
    }
}

fn index(n: usize, lines: &Lines) -> Result<u32> {
    u32::try_from(n).map_err(|_| lines.unexpected("fewer than 4294967296 rows".to_owned()))
}

fn read_barcodes(path: &Path) -> Result<Vec<String>> {
    let mut lines = Lines::open(path)?;
    let mut barcodes = Vec::new();
    while lines.next_line()?.is_some() {
        index(barcodes.len(), &lines)?;
        let barcode = lines.text()?.split('\t').next().unwrap_or_default();
        barcodes.push(barcode.to_owned());
    }
    Ok(barcodes)
}

/// The first of the named files that is there, plain or `.gz`.
fn find(folder: &Path, names: &[&'static str]) -> Result<PathBuf> {
    let paths =
        names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    paths
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::MissingFile { path: folder.to_owned(), expected: names[0] })
}
