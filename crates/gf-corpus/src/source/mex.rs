//! 10x MEX folders: `matrix.mtx`, `barcodes.tsv` and `features.tsv` (v3
//! layout) or `genes.tsv` (v2), each gzip or plain.
//!
//! The matrix is genes × cells, one entry a line. Every Cell Ranger writes it
//! sorted by cell, and then it is streamed; another order is noticed within
//! the first entries and the matrix is sorted in memory (12 bytes an entry).
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

/// An open MEX folder.
pub(super) struct MexSource {
    folder: PathBuf,
    genes: Vec<SourceGene>,
    rows: Vec<Row>,
    cells: Vec<String>,
    other: BTreeMap<String, OtherFeatures>,
    other_kinds: Vec<String>,
    other_counts: Vec<u64>,
    body: Body,
    next_cell: usize,
}

impl MexSource {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let matrix = find(folder, &["matrix.mtx"])?;
        let barcodes = find(folder, &["barcodes.tsv"])?;
        let features = find(folder, &["features.tsv", "genes.tsv"])?;
        let cells = read_barcodes(&barcodes)?;
        let mut source = Self {
            folder: folder.to_owned(),
            genes: Vec::new(),
            rows: Vec::new(),
            cells,
            other: BTreeMap::new(),
            other_kinds: Vec::new(),
            other_counts: Vec::new(),
            body: Body::Sorted(Vec::new().into_iter().peekable()),
            next_cell: 0,
        };
        source.read_features(&features)?;
        source.body = source.open_body(&matrix)?;
        Ok(source)
    }

    fn read_features(&mut self, path: &Path) -> Result<()> {
        let mut lines = Lines::open(path)?;
        while lines.next_line()?.is_some() {
            let mut cells = lines.text()?.split('\t');
            let id = cells.next().unwrap_or_default().to_owned();
            let symbol = cells.next().map(str::to_owned);
            match cells.next().unwrap_or(GENE_EXPRESSION) {
                GENE_EXPRESSION => {
                    self.rows.push(Row::Gene(index(self.genes.len(), &lines)?));
                    self.genes.push(SourceGene { id, symbol });
                }
                kind => self.add_other(kind),
            }
        }
        Ok(())
    }

    fn add_other(&mut self, kind: &str) {
        self.other.entry(kind.to_owned()).or_default().rows += 1;
        let known = self.other_kinds.iter().position(|k| k == kind);
        let kind_idx = known.unwrap_or_else(|| {
            self.other_kinds.push(kind.to_owned());
            self.other_counts.push(0);
            self.other_kinds.len() - 1
        });
        self.rows.push(Row::Other(kind_idx as u32));
    }

    fn open_body(&self, path: &Path) -> Result<Body> {
        let open = || Entries::open(path, self.rows.len(), self.cells.len(), self);
        if is_sorted(open()?, self.cells.len())? {
            return Ok(Body::Stream { entries: open()?, ahead: None });
        }
        let mut all = Vec::new();
        let mut entries = open()?;
        while let Some(entry) = entries.next_entry(self)? {
            all.push(entry);
        }
        all.sort_by_key(|entry| entry.cell);
        Ok(Body::Sorted(all.into_iter().peekable()))
    }

    /// Collects the entries of the next cell into `row`.
    fn fill(&mut self, row: &mut Vec<(u32, u32)>) -> Result<()> {
        while let Some(entry) = self.take_entry()? {
            match self.rows[entry.row as usize] {
                Row::Gene(gene) => row.push((gene, entry.count)),
                Row::Other(kind) => self.other_counts[kind as usize] += u64::from(entry.count),
            }
        }
        Ok(())
    }

    /// The next entry, if it belongs to the cell being filled.
    fn take_entry(&mut self) -> Result<Option<Entry>> {
        let cell = self.next_cell as u32;
        // The stream needs the names of rows and cells for its errors.
        let mut body = std::mem::replace(&mut self.body, Body::Sorted(Vec::new().into_iter().peekable()));
        let taken = match &mut body {
            Body::Sorted(entries) => Ok(entries.next_if(|entry| entry.cell == cell)),
            Body::Stream { entries, ahead } => self.take_streamed(entries, ahead, cell),
        };
        self.body = body;
        taken
    }

    fn take_streamed(
        &self,
        entries: &mut Entries,
        ahead: &mut Option<Entry>,
        cell: u32,
    ) -> Result<Option<Entry>> {
        if ahead.is_none() {
            *ahead = entries.next_entry(self)?;
        }
        if let Some(entry) = ahead.filter(|entry| entry.cell < cell) {
            return Err(Error::MexOrder {
                path: entries.lines.path.clone(),
                line: entries.lines.number(),
                cell: self.cells[entry.cell as usize].clone(),
            });
        }
        Ok(ahead.take_if(|entry| entry.cell == cell))
    }
}

impl CountSource for MexSource {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn layer(&self) -> &str {
        LAYER
    }

    fn genes(&self) -> &[SourceGene] {
        &self.genes
    }

    fn n_cells(&self) -> usize {
        self.cells.len()
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
        let start = self.next_cell;
        let end = self.cells.len().min(start + max_cells.max(1));
        let mut counts = CountMatrix::new(self.genes.len());
        while self.next_cell < end {
            let mut row = Vec::new();
            self.fill(&mut row)?;
            counts.push_row(row)?;
            self.next_cell += 1;
        }
        for (kind, &n) in self.other_kinds.iter().zip(&self.other_counts) {
            self.other.entry(kind.clone()).or_default().counts = n;
        }
        let cell_ids = self.cells[start..end].to_vec();
        if end == self.cells.len() {
            // Reads the end of the file, so that a truncated one is noticed.
            self.take_entry()?;
        }
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
    fn open(path: &Path, n_rows: usize, n_cells: usize, names: &MexSource) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let banner = lines.next_line()?.unwrap_or_default().to_ascii_lowercase();
        let words: Vec<&[u8]> = banner.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
        let known = [b"integer".as_slice(), b"real"];
        if !matches!(words[..], [b"%%matrixmarket", b"matrix", b"coordinate", kind, b"general"] if known.contains(&kind)) {
            let expected = "%%MatrixMarket matrix coordinate integer (or real) general";
            return Err(lines.unexpected(expected.to_owned()));
        }
        while lines.next_line()?.is_some_and(|line| line.starts_with(b"%") || line.is_empty()) {}
        let size: Vec<Option<u64>> = lines.line.split(|&b| b == b' ').map(digits).collect();
        let [Some(rows), Some(cells), Some(n_declared)] = size[..] else {
            return Err(lines.unexpected("the numbers of rows, columns and entries".to_owned()));
        };
        let agree = |what: &str, found: u64, expected: usize| {
            let (path, expected) = (path.to_owned(), expected as u64);
            let what = format!("{what} of the matrix against {}", names.folder.display());
            if found == expected { Ok(()) } else { Err(Error::Length { path, what, found, expected }) }
        };
        agree("gene rows", rows, n_rows)?;
        agree("cell columns", cells, n_cells)?;
        Ok(Self { lines, n_rows, n_cells, n_declared, n_read: 0 })
    }

    fn next_entry(&mut self, names: &MexSource) -> Result<Option<Entry>> {
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
            return Err(self.lines.unexpected(format!("the end after {} entries", self.n_declared)));
        }
        let (row, cell) = ((row - 1) as u32, (cell - 1) as u32);
        let count = count(value).ok_or_else(|| names.not_counts(&self.lines.path, row, cell, value))?;
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

impl MexSource {
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

/// Whether the cells ascend as far as one whole gene of a gene-by-gene file
/// would reach: such a file always shows itself within `n_cells + 1` entries.
fn is_sorted(mut entries: Entries, n_cells: usize) -> Result<bool> {
    let mut last = 0;
    for _ in 0..=n_cells {
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
    let (row, rest) = word(line)?;
    let (cell, rest) = word(rest)?;
    let (value, rest) = word(rest)?;
    let blank = rest.iter().all(u8::is_ascii_whitespace);
    blank.then_some((digits(row)?, digits(cell)?, value))
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = line.iter().position(|&b| b != b' ' && b != b'\t')?;
    let line = &line[start..];
    let end = line.iter().position(|&b| b == b' ' || b == b'\t').unwrap_or(line.len());
    Some(line.split_at(end))
}

/// A number of at most 18 digits.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
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
    let paths = names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    paths
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::MissingFile { path: folder.to_owned(), expected: names[0] })
}
