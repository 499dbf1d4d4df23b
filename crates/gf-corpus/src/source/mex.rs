//! 10x MEX folders: `matrix.mtx`, `barcodes.tsv` and `features.tsv` (v3
//! layout) or `genes.tsv` (v2), each gzip or plain, all with one prefix
//! (`GSM1_`) or none.
//!
//! The matrix is genes × cells, one entry a line. Every Cell Ranger writes it
//! sorted by cell, and then it is streamed; another order is noticed within
//! the first entries and the matrix is sorted in bounded memory. A matrix that
//! falls out of order only later is an error.
//! Several entries of one gene and cell are summed, as scipy does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    CountSource, Lines, OtherFeatures, SourceBlock, SourceGene,
    market::Market,
    turned::{Entry, Turned},
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::MetadataField,
    sort::ExternalSort,
};

mod parts;

use parts::Parts;
pub(super) use parts::is_matrix;

const GENE_EXPRESSION: &str = "Gene Expression";
const LAYER: &str = "matrix.mtx";
/// Entries looked at, at least, to tell whether a matrix is sorted by cell.
const SNIFFED: usize = 1 << 16;
/// Most rows of a feature table.
const MAX_ROWS: usize = 1 << 20;
/// Most bytes of a feature table.
const MAX_TABLE_BYTES: usize = 64 << 20;
/// Most kinds of features, as genes, antibodies and peaks are.
const MAX_KINDS: usize = 100;
/// Most barcodes; all possible ones of the largest chemistry are 7 million.
const MAX_CELLS: usize = 1 << 28;
/// Most entries of one cell, which may name a gene several times.
const MAX_CELL_ENTRIES: usize = 1 << 23;
/// Entries at which a block of cells is full, whatever was asked for.
const FULL_BLOCK: usize = 1 << 22;

/// What a row of the matrix is.
#[derive(Clone, Copy)]
enum Row {
    Gene(u32),
    Other(u32),
}

/// What the feature table says.
#[derive(Default)]
struct Features {
    genes: Vec<SourceGene>,
    rows: Vec<Row>,
    other_kinds: Vec<String>,
}

/// An open MEX folder.
pub(super) struct MexSource {
    path: PathBuf,
    parts: Parts,
    features: Features,
    other: BTreeMap<String, OtherFeatures>,
    n_cells: usize,
    /// From the first block on.
    reading: Option<Reading>,
    next_cell: usize,
}

/// The matrix and, in step with it, the barcodes.
struct Reading {
    body: Body,
    barcodes: Lines,
}

/// How the entries are fetched.
enum Body {
    Stream { market: Market, block: Vec<Entry>, next: usize },
    Turned(Turned),
}

impl MexSource {
    /// Opens a folder, or the matrix file of one.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let parts = Parts::find(path)?;
        let market = Market::open(&parts.matrix)?;
        let features = Features::read(&parts.features)?;
        let n_cells = count_barcodes(&parts.barcodes)?;
        let agree = |what: &str, found: u64, expected: usize| {
            let what = format!("{what} of the matrix against {}", path.display());
            let (path, expected) = (parts.matrix.clone(), expected as u64);
            let error = Error::Length { path, what, found, expected };
            (found == expected).then_some(()).ok_or(error)
        };
        agree("gene rows", market.n_rows, features.rows.len())?;
        agree("cell columns", market.n_cells, n_cells)?;
        let path = path.to_owned();
        let other = features.count_other();
        Ok(Self { path, parts, features, other, n_cells, reading: None, next_cell: 0 })
    }
}

impl Features {
    fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut features = Self::default();
        let mut n_bytes = 0;
        while let Some(line) = lines.next_line()? {
            n_bytes += line.len();
            if features.rows.len() == MAX_ROWS || n_bytes > MAX_TABLE_BYTES {
                let expected = format!("at most {MAX_ROWS} rows of {MAX_TABLE_BYTES} bytes in all");
                return Err(lines.unexpected(expected));
            }
            features.add(&lines)?;
        }
        Ok(features)
    }

    fn add(&mut self, lines: &Lines) -> Result<()> {
        let mut cells = lines.text()?.split('\t');
        let id = cells.next().unwrap_or_default().to_owned();
        let symbol = cells.next().map(str::to_owned);
        let kind = cells.next().unwrap_or(GENE_EXPRESSION);
        if id.is_empty() && symbol.is_none() {
            return Err(lines.unexpected("a gene id".to_owned()));
        }
        if kind != GENE_EXPRESSION {
            let row = self.other_row(kind, lines)?;
            self.rows.push(row);
            return Ok(());
        }
        self.rows.push(Row::Gene(self.genes.len() as u32));
        self.genes.push(SourceGene { id, symbol });
        Ok(())
    }

    fn other_row(&mut self, kind: &str, lines: &Lines) -> Result<Row> {
        if let Some(known) = self.other_kinds.iter().position(|k| k == kind) {
            return Ok(Row::Other(known as u32));
        }
        if self.other_kinds.len() == MAX_KINDS {
            return Err(lines.unexpected(format!("at most {MAX_KINDS} feature types")));
        }
        self.other_kinds.push(kind.to_owned());
        Ok(Row::Other(self.other_kinds.len() as u32 - 1))
    }

    fn count_other(&self) -> BTreeMap<String, OtherFeatures> {
        let mut other = BTreeMap::<String, OtherFeatures>::new();
        for row in &self.rows {
            if let Row::Other(kind) = *row {
                other.entry(self.other_kinds[kind as usize].clone()).or_default().rows += 1;
            }
        }
        other
    }

    fn name(&self, row: u32) -> String {
        match self.rows[row as usize] {
            Row::Gene(gene) => self.genes[gene as usize].id.clone(),
            Row::Other(kind) => self.other_kinds[kind as usize].clone(),
        }
    }
}

impl Reading {
    fn open(parts: &Parts, features: &Features, n_cells: usize) -> Result<Self> {
        let market = Market::open(&parts.matrix)?;
        // A gene-by-gene file shows itself within one whole gene.
        let is_sorted = Market::open(&parts.matrix)?.ascends(SNIFFED.max(n_cells + 1))?;
        let mut body = Body::Stream { market, block: Vec::new(), next: 0 };
        if !is_sorted {
            let mut entries = ExternalSort::new();
            while let Some(entry) = body.next_entry(parts, features)? {
                entries.push(entry)?;
            }
            body = Body::Turned(Turned::new(entries)?);
        }
        Ok(Self { body, barcodes: Lines::open(&parts.barcodes)? })
    }

    fn next_barcode(&mut self, n_before: usize) -> Result<String> {
        if self.barcodes.next_line()?.is_some() {
            return barcode(&self.barcodes).map(str::to_owned);
        }
        let (path, what) = (self.barcodes.path().to_owned(), "barcodes, read again".to_owned());
        let found = n_before as u64;
        Err(Error::Length { path, what, found, expected: found + 1 })
    }
}

impl Body {
    /// The next entry of any cell, in the order of the file.
    fn next_entry(&mut self, parts: &Parts, features: &Features) -> Result<Option<Entry>> {
        let entry = self.ahead(parts, features)?.first().copied();
        self.pass(usize::from(entry.is_some()));
        Ok(entry)
    }

    /// The next entries of a streamed matrix, none only at its end.
    fn ahead(&mut self, parts: &Parts, features: &Features) -> Result<&[Entry]> {
        let Self::Stream { market, block, next } = self else { return Ok(&[]) };
        if *next == block.len() {
            market.next_block(block, &|entry, value| Error::NotCounts {
                path: parts.matrix.clone(),
                layer: LAYER.to_owned(),
                cell: nth_barcode(parts, entry.cell),
                gene: features.name(entry.row),
                found: String::from_utf8_lossy(value).into_owned(),
            })?;
            *next = 0;
        }
        Ok(&block[*next..])
    }

    /// Is done with some of the entries [`ahead`](Self::ahead).
    fn pass(&mut self, n_entries: usize) {
        if let Self::Stream { next, .. } = self {
            *next += n_entries;
        }
    }

    /// Gives `take` the entries of `cell`, some at a time; ask for ascending cells.
    fn cell(
        &mut self,
        cell: u32,
        parts: &Parts,
        features: &Features,
        mut take: impl FnMut(&[Entry]) -> Result<()>,
    ) -> Result<()> {
        if let Self::Turned(entries) = self {
            while let Some(entry) = entries.take(cell)? {
                take(&[entry])?;
            }
            return Ok(());
        }
        loop {
            let ahead = self.ahead(parts, features)?;
            let n_own = ahead.iter().take_while(|entry| entry.cell == cell).count();
            take(&ahead[..n_own])?;
            let after = ahead.get(n_own).copied();
            let is_end = ahead.is_empty();
            self.pass(n_own);
            match after {
                Some(entry) if entry.cell < cell => return Err(self.late(entry, parts)),
                Some(_) => return Ok(()),
                None if is_end => return Ok(()),
                None => {}
            }
        }
    }

    /// The next entry belongs to a cell that was handed on.
    fn late(&self, entry: Entry, parts: &Parts) -> Error {
        let line = match self {
            Self::Stream { market, block, next } => market.line() - (block.len() - next - 1) as u64,
            Self::Turned(_) => 0,
        };
        let (path, cell) = (parts.matrix.clone(), nth_barcode(parts, entry.cell));
        Error::MexOrder { path, line, cell }
    }
}

impl CountSource for MexSource {
    fn path(&self) -> &Path {
        &self.path
    }

    fn layer(&self) -> &str {
        LAYER
    }

    fn genes(&self) -> &[SourceGene] {
        &self.features.genes
    }

    fn n_cells(&self) -> usize {
        self.n_cells
    }

    fn columns(&self) -> &[MetadataField] {
        &[]
    }

    fn other_features(&self) -> &BTreeMap<String, OtherFeatures> {
        &self.other
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        if self.next_cell == self.n_cells {
            return Ok(None);
        }
        let Self { parts, features, n_cells, .. } = self;
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => Reading::open(parts, features, *n_cells)?,
        };
        let mut block = SourceBlock {
            cell_ids: Vec::new(),
            counts: CountMatrix::new(features.genes.len()),
            columns: Vec::new(),
        };
        let end = *n_cells.min(&mut (self.next_cell + max_cells.max(1)));
        while self.next_cell < end && block.counts.n_entries() < FULL_BLOCK {
            block.cell_ids.push(reading.next_barcode(self.next_cell)?);
            let row = self.next_row(&mut reading.body)?;
            block.counts.push_row(row)?;
            self.next_cell += 1;
        }
        if self.next_cell == self.n_cells {
            // Reads the end of the file, so that a truncated one is noticed.
            let no_cell = self.n_cells as u32;
            reading.body.cell(no_cell, &self.parts, &self.features, |_| Ok(()))?;
        }
        self.reading = Some(reading);
        Ok(Some(block))
    }
}

impl MexSource {
    /// The gene entries of the next cell; the others are only summed.
    fn next_row(&mut self, body: &mut Body) -> Result<Vec<(u32, u32)>> {
        let Self { parts, features, other, .. } = self;
        let mut row = Vec::new();
        body.cell(self.next_cell as u32, parts, features, |entries| {
            for entry in entries {
                match features.rows[entry.row as usize] {
                    Row::Gene(gene) => row.push((gene, entry.count)),
                    Row::Other(kind) => {
                        let kind = &features.other_kinds[kind as usize];
                        let other = other.get_mut(kind);
                        other.into_iter().for_each(|o| o.counts += u64::from(entry.count));
                    }
                }
            }
            match entries.first() {
                Some(entry) if row.len() > MAX_CELL_ENTRIES => {
                    Err(too_many(parts, entry.cell, row.len()))
                }
                _ => Ok(()),
            }
        })?;
        Ok(row)
    }
}

fn too_many(parts: &Parts, cell: u32, n_entries: usize) -> Error {
    Error::Length {
        path: parts.matrix.clone(),
        what: format!("entries of cell {}", nth_barcode(parts, cell)),
        found: n_entries as u64,
        expected: MAX_CELL_ENTRIES as u64,
    }
}

fn count_barcodes(path: &Path) -> Result<usize> {
    let mut lines = Lines::open(path)?;
    let mut n_cells = 0;
    while lines.next_line()?.is_some() {
        barcode(&lines)?;
        n_cells += 1;
        if n_cells > MAX_CELLS {
            return Err(lines.unexpected(format!("at most {MAX_CELLS} barcodes")));
        }
    }
    Ok(n_cells)
}

fn barcode(lines: &Lines) -> Result<&str> {
    match lines.text()?.split('\t').next() {
        Some("") | None => Err(lines.unexpected("a barcode".to_owned())),
        Some(barcode) => Ok(barcode),
    }
}

/// The barcode of a cell that an error is to name.
fn nth_barcode(parts: &Parts, cell: u32) -> String {
    let nth = || {
        let mut lines = Lines::open(&parts.barcodes)?;
        for _ in 0..=cell {
            lines.next_line()?;
        }
        barcode(&lines).map(str::to_owned)
    };
    nth().unwrap_or_else(|_| format!("{} (barcode unreadable)", u64::from(cell) + 1))
}
