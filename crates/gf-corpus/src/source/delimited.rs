//! Dense tables of text: `.csv`, `.tsv`, `.txt`, gzip or plain, genes × cells
//! or cells × genes.
//!
//! Which of the two is told by where more gene names stand: in the first
//! column or in the header. Genes × cells may have a second column of names;
//! the counts are sorted by cell in bounded memory. Of cells × genes, a column
//! that is not called as a gene and holds text is metadata; one that holds
//! numbers is taken for a gene row, of which mapping then says that it is
//! unknown. Without a column of ids, the first being a gene's counts, cells are
//! called by the number of their row, from 1. What is missing (`NA`, nothing) is no count and refused.
//!
//! The lines are taken apart here and not by the csv crate, whose records
//! grow without bound: a file is not to be trusted with that.

use std::path::{Path, PathBuf};

use super::{
    CountSource, SourceBlock, SourceGene,
    text::count,
    turned::{Entry, Turned},
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField},
    sort::ExternalSort,
};

mod fields;
mod table;
mod survey;

use fields::{is_missing, name};
use survey::{Column, Layout, Survey};
use table::Table;

const LAYER: &str = "table";
const ENDINGS: [&str; 3] = [".csv", ".tsv", ".txt"];
/// Bytes of lines after which a block of cells is full, whatever was asked for.
const FULL_BLOCK: usize = 64 << 20;

/// Whether a file is called as a table of text is.
pub(super) fn is_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    ENDINGS.iter().any(|end| name.ends_with(end))
}

/// An open table.
pub(super) struct DelimitedSource {
    path: PathBuf,
    survey: Survey,
    /// From the first block on.
    body: Option<Body>,
    next_cell: usize,
}

/// How the cells are fetched.
enum Body {
    Genes { turned: Turned, header: Vec<u8>, next_name: usize },
    Cells(Table),
}

impl DelimitedSource {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (path, survey) = (path.to_owned(), Survey::of(path)?);
        Ok(Self { path, survey, body: None, next_cell: 0 })
    }

    fn open_body(&self) -> Result<Body> {
        let table = Table::open(&self.path)?;
        match self.survey.layout {
            Layout::Cells { .. } => Ok(Body::Cells(table)),
            Layout::Genes { first_count } => self.turn(table, first_count),
        }
    }

    /// Sorts a table of genes × cells by cell.
    fn turn(&self, mut table: Table, first_count: usize) -> Result<Body> {
        let mut entries = ExternalSort::new();
        let mut n_rows = 0;
        while table.next_row()? {
            let mut n_fields = 0;
            for (column, field) in table.fields().enumerate() {
                n_fields += 1;
                if column < first_count || column >= table.n_fields || field == b"0" {
                    continue;
                }
                let cell = column - first_count;
                let count = value(field).ok_or_else(|| {
                    let cell = table.column_name(column);
                    self.not_counts(&table, cell, self.gene_name(n_rows), field)
                })?;
                if count > 0 {
                    entries.push(Entry { cell: cell as u32, row: n_rows as u32, count })?;
                }
            }
            table.check_n_fields(n_fields)?;
            n_rows += 1;
            self.same("gene rows", n_rows.max(self.survey.genes.len()), self.survey.genes.len())?;
        }
        self.same("gene rows", n_rows, self.survey.genes.len())?;
        let next_name = table.header_at(first_count);
        Ok(Body::Genes { turned: Turned::new(entries)?, header: table.into_header(), next_name })
    }

    /// The file must not have changed since it was opened.
    fn same(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        let (found, expected) = (found as u64, expected as u64);
        let (path, what) = (self.path.clone(), format!("{what}, read again"));
        (found == expected).then_some(()).ok_or(Error::Length { path, what, found, expected })
    }

    fn gene_name(&self, row: usize) -> String {
        self.survey.genes.get(row).map(|gene| gene.id.clone()).unwrap_or_default()
    }

    fn not_counts(&self, table: &Table, cell: String, gene: String, found: &[u8]) -> Error {
        let (path, layer) = (self.path.clone(), format!("line {}", table.line()));
        let found = String::from_utf8_lossy(found).into_owned();
        Error::NotCounts { path, layer, cell, gene, found }
    }

    /// Adds the cell that the table's current row is.
    fn add_cell(&self, table: &Table, block: &mut SourceBlock) -> Result<()> {
        let Layout::Cells { columns } = &self.survey.layout else { return Ok(()) };
        let mut id = match columns.first() {
            Some(Column::Id) => String::new(),
            _ => (self.next_cell + 1).to_string(),
        };
        let (mut row, mut n_fields, mut n_texts) = (Vec::new(), 0, 0);
        let mut gene = 0;
        for field in table.fields() {
            match columns.get(n_fields) {
                Some(Column::Id) => id = table.text(field)?,
                Some(Column::Gene) => {
                    let not = || self.not_counts(table, id.clone(), self.gene_name(gene), field);
                    let count = value(field).ok_or_else(not)?;
                    if count > 0 {
                        row.push((gene as u32, count));
                    }
                    gene += 1;
                }
                Some(Column::Text) => {
                    let text = (!is_missing(field)).then(|| table.text(field)).transpose()?;
                    if let MetadataColumn::Text(texts) = &mut block.columns[n_texts] {
                        texts.push(text);
                    }
                    n_texts += 1;
                }
                None => {}
            }
            n_fields += 1;
        }
        table.check_n_fields(n_fields)?;
        if id.is_empty() {
            return Err(table.unexpected("a cell id"));
        }
        block.cell_ids.push(id);
        block.counts.push_row(row)
    }

    fn fill(&mut self, body: &mut Body, max_cells: usize, block: &mut SourceBlock) -> Result<()> {
        let mut n_bytes = 0;
        let end = self.survey.n_cells.min(self.next_cell + max_cells);
        while self.next_cell < end && n_bytes < FULL_BLOCK {
            match body {
                Body::Genes { turned, header, next_name } => {
                    let mut names =
                        fields::Fields::new(&header[*next_name..], self.survey.delimiter);
                    let id =
                        name(names.next().unwrap_or_default(), &self.path, table::HEADER_LINE)?;
                    *next_name = header.len() - names.rest().len();
                    let row = turned.row(self.next_cell as u32)?;
                    n_bytes += size_of::<Entry>() * row.len();
                    block.cell_ids.push(id);
                    block.counts.push_row(row)?;
                }
                Body::Cells(table) => {
                    let found = self.next_cell + usize::from(table.next_row()?);
                    self.same("rows", found, self.next_cell + 1)?;
                    n_bytes += table.row_bytes();
                    self.add_cell(table, block)?;
                }
            }
            self.next_cell += 1;
        }
        Ok(())
    }
}

/// The count in a field, around which there may be blanks.
fn value(field: &[u8]) -> Option<u32> {
    count(field).or_else(|| count(field.trim_ascii()))
}

impl CountSource for DelimitedSource {
    fn path(&self) -> &Path {
        &self.path
    }

    fn layer(&self) -> &str {
        LAYER
    }

    fn genes(&self) -> &[SourceGene] {
        &self.survey.genes
    }

    fn n_cells(&self) -> usize {
        self.survey.n_cells
    }

    fn columns(&self) -> &[MetadataField] {
        &self.survey.metadata
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        if self.next_cell == self.survey.n_cells {
            return Ok(None);
        }
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open_body()?,
        };
        let mut block = SourceBlock {
            cell_ids: Vec::new(),
            counts: CountMatrix::new(self.survey.genes.len()),
            columns: vec![MetadataColumn::Text(Vec::new()); self.survey.metadata.len()],
        };
        self.fill(&mut body, max_cells.max(1), &mut block)?;
        self.body = Some(body);
        Ok(Some(block))
    }
}
