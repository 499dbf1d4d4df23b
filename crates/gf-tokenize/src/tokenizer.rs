//! Cells become a data set: they are encoded in parallel and written in their order.

use std::{
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use gf_corpus::{CellBlock, Cells, Gene, Layout, MetadataField, MetadataValue};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    dataset::{DatasetWriter, WriterOptions},
    error::{Error, Result},
    lengths::Lengths,
    rank::{Arithmetic, CellCounts, Encoding, GeneColumns, RankEncoder},
};

/// Cells encoded before they are written; bounds the memory.
const CELLS_AT_ONCE: usize = 1_000;

/// Names of dropped cells that a report keeps.
const NAMED_CELLS: usize = 100;

/// How to tokenise.
#[derive(Clone, Debug)]
pub struct TokenizeOptions {
    /// Metadata columns of the cells to keep, in this order. Default: none.
    pub columns: Vec<String>,
    /// Whether to keep the counts behind the tokens, in CP10k. Default: no.
    pub counts: bool,
    /// Cells a file of the data set holds at most. Default: 100,000.
    pub shard_rows: usize,
    /// Whose rules to follow. Default: ours.
    pub compat: Compat,
}

/// Whose rules a tokenisation follows, where the reference does what one would not expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// A cell's total is what its file counts, values are computed alike for every file.
    #[default]
    Own,
    /// As `tokenizer.py` of Geneformer at commit 05fcbeb: a cell's total is its metadata column
    /// `n_counts`, cells whose `filter_pass` is there and not 1 are left out, and values are computed
    /// in the order and with the bits that numpy and scipy use for the file's number types. The files
    /// have to be opened by the reference's rules too ([`gf_corpus::GeneMap::reference`],
    /// [`gf_corpus::Collapse::Reference`]). Ties stay in the order of the genes, and zeros that a
    /// sparse file stores are no tokens: the reference's order of both depends on the CPU.
    Reference,
}

impl Default for TokenizeOptions {
    fn default() -> Self {
        let WriterOptions { counts, shard_rows, .. } = WriterOptions::default();
        Self { columns: Vec::new(), counts, shard_rows, compat: Compat::Own }
    }
}

/// How far a tokenisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Cells done.
    pub done: u64,
    /// Cells in all.
    pub total: u64,
}

/// What became of the cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizeReport {
    /// Cells that were to be encoded.
    pub cells: u64,
    /// Cells that were left out before: by the selection of a corpus, or without any count.
    pub not_selected: u64,
    /// Cells left out because their `filter_pass` is not 1 ([`Compat::Reference`]).
    pub not_passed: u64,
    /// Cells written.
    pub written: u64,
    /// Cells left out because they have no gene of the vocabulary.
    pub dropped: u64,
    /// The first 100 of these.
    pub dropped_cells: Vec<String>,
    /// Cells that lost genes to the longest length.
    pub truncated: u64,
    /// Tokens written, special ones included.
    pub tokens: u64,
    /// Lengths of the cells written.
    pub lengths: Lengths,
}

/// Encodes cells and writes a data set folder at `out`.
///
/// Cells keep their order; those without a gene of the vocabulary are left out and named in the
/// report. A data set of ours at `out` is replaced, when all is done. The bytes written do not depend on the number of threads (rayon's current pool).
///
/// A run that is broken off, killed or fails leaves its finished files in `.NAME.partial` beside
/// `out`; the same call goes on after them and the bytes are the same.
///
/// # Errors
/// `out` is something else than a data set of ours; a column to keep, or `n_counts` where the
/// reference needs it, is not there or holds no whole number; the cells cannot be read or the data set
/// cannot be written, or is being written by another run; `progress` broke off.
pub fn tokenize(
    cells: &mut dyn Cells,
    encoder: &RankEncoder,
    out: &Path,
    options: &TokenizeOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<TokenizeReport> {
    let mut job = Job::new(cells, encoder, options)?;
    let key = key(cells, encoder, options);
    let (mut writer, begun) =
        DatasetWriter::resume::<TokenizeReport>(out, job.writer_options(options), &key)?;
    let mut report = begun.unwrap_or_default();
    job.encode_all(cells, &mut writer, &mut report, progress)
        .map_err(|error| unfinished(error, &writer))?;
    report.not_selected = cells.n_all() - report.cells - report.not_passed;
    writer.finish(encoder.vocabulary(), encoder.medians_hash(), encoder.max_len())?;
    Ok(report)
}

/// The error with what stays of the work, if anything does.
fn unfinished(error: Error, writer: &DatasetWriter) -> Error {
    let (partial, rows) = writer.partial();
    match error {
        error if rows == 0 => error,
        Error::Interrupted { done, total, .. } => {
            Error::Interrupted { done, total, rows, partial: partial.into() }
        }
        source => Error::Unfinished { rows, partial: partial.into(), source: Box::new(source) },
    }
}

/// What decides the rows of a tokenisation.
fn key(cells: &dyn Cells, encoder: &RankEncoder, options: &TokenizeOptions) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (vocabulary, medians) = (encoder.vocabulary().content_hash(), encoder.medians_hash());
    let (cells, max_len) = (cells.fingerprint(), encoder.max_len());
    let all = format!("{version} {cells} {vocabulary} {medians} {max_len} {options:?}");
    format!("{:032x}", xxh3_128(all.as_bytes()))
}

/// What the reference calls a cell's counts of all genes.
const TOTAL_COLUMN: &str = "n_counts";
/// What the reference calls whether a cell is good.
const FILTER_COLUMN: &str = "filter_pass";

/// What becomes of a cell.
enum Encoded {
    /// Its tokens, and the counts behind them if they are to be kept.
    Tokens(Encoding, Vec<f64>),
    NoGene,
    NotPassed,
}

/// What the cells of a tokenisation share.
struct Job<'a> {
    encoder: &'a RankEncoder,
    /// Those of the block at hand.
    genes: (Arc<[Gene]>, GeneColumns),
    /// Places of the columns to keep, and what they hold.
    kept: Vec<(usize, MetadataField)>,
    counts: bool,
    reference: Option<Reference>,
}

/// Where the reference's columns are.
struct Reference {
    total: usize,
    is_total_single: bool,
    filter: Option<usize>,
}

impl<'a> Job<'a> {
    fn new(cells: &dyn Cells, encoder: &'a RankEncoder, options: &TokenizeOptions) -> Result<Self> {
        let find = |name: &String| {
            let place = find_column(cells, name)?;
            Ok((place, cells.columns()[place].clone()))
        };
        let reference = match options.compat {
            Compat::Own => None,
            Compat::Reference => Some(Reference::find(cells)?),
        };
        Ok(Self {
            encoder,
            genes: (Arc::default(), encoder.gene_columns([])),
            kept: options.columns.iter().map(find).collect::<Result<_>>()?,
            counts: options.counts,
            reference,
        })
    }

    fn writer_options(&self, options: &TokenizeOptions) -> WriterOptions {
        let columns = self.kept.iter().map(|(_, field)| (field.name.clone(), field.kind));
        let TokenizeOptions { counts, shard_rows, .. } = *options;
        WriterOptions { columns: columns.collect(), counts, shard_rows }
    }

    /// Encodes and pushes the cells that the report has not seen yet.
    fn encode_all(
        &mut self,
        cells: &mut dyn Cells,
        writer: &mut DatasetWriter,
        report: &mut TokenizeReport,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut to_skip = report.cells + report.not_passed;
        let total = cells.n_cells();
        while let Some(block) = cells.next_block()? {
            self.turn_to(&block);
            let n_cells = block.cell_ids.len();
            let skipped = n_cells.min(usize::try_from(to_skip).unwrap_or(n_cells));
            to_skip -= skipped as u64;
            for first in (skipped..n_cells).step_by(CELLS_AT_ONCE) {
                let some = first..n_cells.min(first + CELLS_AT_ONCE);
                self.encode_some(&block, some, writer, report)?;
            }
            let done = cells.n_read();
            if progress(Progress { done, total }).is_break() {
                let (partial, rows) = (writer.partial().0.into(), 0);
                return Err(Error::Interrupted { done, total, rows, partial });
            }
        }
        Ok(())
    }

    /// Encodes cells of a block in parallel and pushes them in their order.
    fn encode_some(
        &self,
        block: &CellBlock,
        cells: Range<usize>,
        writer: &mut DatasetWriter,
        report: &mut TokenizeReport,
    ) -> Result<()> {
        let encoded = cells.clone().into_par_iter().map(|cell| self.encode(block, cell));
        let encoded: Vec<Encoded> = encoded.collect::<Result<_>>()?;
        for (cell, encoded) in cells.zip(encoded) {
            let cell_id = &block.cell_ids[cell];
            report.count(cell_id, &encoded);
            if let Encoded::Tokens(encoding, counts) = encoded {
                let metadata = self.metadata(block, cell);
                writer.push_counted(cell_id, &encoding.tokens, &counts, &metadata)?;
                writer.checkpoint(report)?;
            }
        }
        Ok(())
    }

    /// Prepares the genes of a block, which mostly are those of the one before.
    fn turn_to(&mut self, block: &CellBlock) {
        if !Arc::ptr_eq(&self.genes.0, &block.genes) {
            let columns = self.encoder.gene_columns(block.genes.iter().map(|gene| gene.id));
            self.genes = (Arc::clone(&block.genes), columns);
        }
    }

    fn encode(&self, block: &CellBlock, cell: usize) -> Result<Encoded> {
        let (genes, counts) = block.counts.row(cell);
        let (total, arithmetic) = match &self.reference {
            None => (block.totals[cell], Arithmetic::default()),
            Some(reference) if !reference.is_passed(block, cell) => return Ok(Encoded::NotPassed),
            Some(reference) => (reference.total(block, cell)?, reference.arithmetic(block)),
        };
        let counts = CellCounts { genes, counts, total };
        let Some(encoding) = self.encoder.encode_with(&self.genes.1, counts, arithmetic) else {
            return Ok(Encoded::NoGene);
        };
        let behind = match self.counts {
            true => self.encoder.normalised(&self.genes.1, counts, &encoding, arithmetic),
            false => Vec::new(),
        };
        Ok(Encoded::Tokens(encoding, behind))
    }

    fn metadata<'b>(&self, block: &'b CellBlock, cell: usize) -> Vec<MetadataValue<'b>> {
        self.kept.iter().map(|(place, _)| block.columns[*place].get(cell)).collect()
    }
}

impl Reference {
    fn find(cells: &dyn Cells) -> Result<Self> {
        let total = find_column(cells, TOTAL_COLUMN)?;
        let filter = cells.columns().iter().position(|column| column.name == FILTER_COLUMN);
        Ok(Self { total, is_total_single: cells.columns()[total].is_single, filter })
    }

    fn is_passed(&self, block: &CellBlock, cell: usize) -> bool {
        self.filter.is_none_or(|place| match block.columns[place].get(cell) {
            MetadataValue::Integer(value) => value == 1,
            MetadataValue::Float(value) => value == 1.0,
            MetadataValue::Boolean(value) => value,
            MetadataValue::Text(_) | MetadataValue::Missing => false,
        })
    }

    fn total(&self, block: &CellBlock, cell: usize) -> Result<u64> {
        let value = block.columns[self.total].get(cell);
        let whole = match value {
            MetadataValue::Integer(value) => u64::try_from(value).ok(),
            MetadataValue::Float(value) => (value as u64 as f64 == value).then_some(value as u64),
            MetadataValue::Text(text) => text.parse().ok(),
            MetadataValue::Boolean(_) | MetadataValue::Missing => None,
        };
        whole.filter(|&total| total > 0).ok_or_else(|| Error::NoTotal {
            cell_id: block.cell_ids[cell].clone(),
            column: TOTAL_COLUMN,
            found: value.text().unwrap_or_else(|| "nothing".to_owned()),
        })
    }

    fn arithmetic(&self, block: &CellBlock) -> Arithmetic {
        Arithmetic {
            divides: block.storage.layout != Layout::Sparse,
            single_total: self.is_total_single,
            single_counts: block.storage.is_narrow,
        }
    }
}

impl TokenizeReport {
    fn count(&mut self, cell_id: &str, encoded: &Encoded) {
        let Encoding { tokens, truncated } = match encoded {
            Encoded::Tokens(encoding, _) => encoding,
            Encoded::NotPassed => {
                self.not_passed += 1;
                return;
            }
            Encoded::NoGene => {
                self.cells += 1;
                self.dropped += 1;
                if self.dropped_cells.len() < NAMED_CELLS {
                    self.dropped_cells.push(cell_id.to_owned());
                }
                return;
            }
        };
        self.cells += 1;
        self.written += 1;
        self.truncated += u64::from(*truncated);
        self.tokens += tokens.len() as u64;
        self.lengths.add(tokens.len());
    }
}

fn find_column(cells: &dyn Cells, name: &str) -> Result<usize> {
    let available = cells.columns();
    let place = available.iter().position(|column| column.name == name);
    place.ok_or_else(|| Error::NoSuchColumn {
        path: cells.path().into(),
        column: name.to_owned(),
        available: available.iter().map(|column| column.name.clone()).collect(),
    })
}
