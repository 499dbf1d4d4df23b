//! A corpus becomes a data set: cells are encoded in parallel and written in their order.

use std::{
    ops::{ControlFlow, Range},
    path::Path,
};

use gf_corpus::{CellBlock, Corpus, MetadataKind, MetadataValue, Selection};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    dataset::{DatasetWriter, WriterOptions},
    error::{Error, Result},
    lengths::Lengths,
    rank::{CellCounts, Encoding, GeneColumns, RankEncoder},
};

/// Cells encoded before they are written; bounds the memory.
const CELLS_AT_ONCE: usize = 1_000;

/// Names of dropped cells that a report keeps.
const NAMED_CELLS: usize = 100;

/// How to tokenise.
#[derive(Clone, Debug)]
pub struct TokenizeOptions {
    /// Metadata columns of the corpus to keep, in this order. Default: none.
    pub columns: Vec<String>,
    /// Whether to keep the counts behind the tokens, in CP10k. Default: no.
    pub counts: bool,
    /// Cells a file of the data set holds at most. Default: 100,000.
    pub shard_rows: usize,
    /// Which cells to encode. Default: all.
    pub selection: Selection,
}

impl Default for TokenizeOptions {
    fn default() -> Self {
        let WriterOptions { counts, shard_rows, .. } = WriterOptions::default();
        Self { columns: Vec::new(), counts, shard_rows, selection: Selection::ALL }
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
    /// Cells of the selection.
    pub cells: u64,
    /// Cells of the corpus that the selection leaves out.
    pub not_selected: u64,
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

/// Encodes every cell of a corpus and writes a data set folder at `out`.
///
/// Cells keep their order; those without a gene of the vocabulary are left out and named in the
/// report. A data set of ours at `out` is replaced, when all is done. The bytes written do not depend on the number of threads (rayon's current pool).
///
/// A run that is broken off, killed or fails leaves its finished files in `.NAME.partial` beside
/// `out`; the same call goes on after them and the bytes are the same.
///
/// # Errors
/// `out` is something else than a data set of ours; a column to keep is not in the corpus; the corpus cannot be read or the data set
/// cannot be written, or is being written by another run; `progress` broke off.
pub fn tokenize(
    corpus: &Corpus,
    encoder: &RankEncoder,
    out: &Path,
    options: &TokenizeOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<TokenizeReport> {
    let job = Job::new(corpus, encoder, options)?;
    let key = key(corpus, encoder, options);
    let (mut writer, begun) =
        DatasetWriter::resume::<TokenizeReport>(out, job.writer_options(options), &key)?;
    let mut report = begun.unwrap_or_default();
    let encoded = job.encode_all(&mut writer, &mut report, progress);
    if let Err(error) = encoded {
        return Err(unfinished(error, &writer));
    }
    report.not_selected = corpus.n_cells() as u64 - report.cells;
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
fn key(corpus: &Corpus, encoder: &RankEncoder, options: &TokenizeOptions) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (vocabulary, medians) = (encoder.vocabulary().content_hash(), encoder.medians_hash());
    let (corpus, max_len) = (corpus.content_hash(), encoder.max_len());
    let all = format!("{version} {corpus} {vocabulary} {medians} {max_len} {options:?}");
    format!("{:032x}", xxh3_128(all.as_bytes()))
}

/// What the cells of a tokenisation share.
struct Job<'a> {
    corpus: &'a Corpus,
    selection: Selection,
    encoder: &'a RankEncoder,
    genes: GeneColumns,
    /// Places of the columns to keep among the corpus's.
    kept: Vec<usize>,
    counts: bool,
}

impl<'a> Job<'a> {
    fn new(
        corpus: &'a Corpus,
        encoder: &'a RankEncoder,
        options: &TokenizeOptions,
    ) -> Result<Self> {
        let kept = find_columns(corpus, &options.columns)?;
        let genes = encoder.gene_columns(corpus.genes().iter().map(|gene| gene.id));
        let TokenizeOptions { selection, counts, .. } = *options;
        Ok(Self { corpus, selection, encoder, genes, kept, counts })
    }

    fn writer_options(&self, options: &TokenizeOptions) -> WriterOptions {
        let columns = options.columns.iter().map(|name| (name.clone(), MetadataKind::Text));
        let TokenizeOptions { counts, shard_rows, .. } = *options;
        WriterOptions { columns: columns.collect(), counts, shard_rows }
    }

    /// Encodes and pushes the cells that the report has not seen yet.
    fn encode_all(
        &self,
        writer: &mut DatasetWriter,
        report: &mut TokenizeReport,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        let total = self.corpus.n_cells_in(self.selection);
        let mut to_skip = report.cells;
        for block in self.corpus.select(self.selection) {
            let block = block?;
            let n_cells = block.cell_ids.len();
            let skipped = n_cells.min(usize::try_from(to_skip).unwrap_or(n_cells));
            to_skip -= skipped as u64;
            for first in (skipped..n_cells).step_by(CELLS_AT_ONCE) {
                self.encode_some(
                    &block,
                    first..n_cells.min(first + CELLS_AT_ONCE),
                    writer,
                    report,
                )?;
                let done = report.cells;
                if progress(Progress { done, total }).is_break() {
                    let (partial, rows) = (writer.partial().0.into(), 0);
                    return Err(Error::Interrupted { done, total, rows, partial });
                }
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
        let encoded: Vec<_> =
            cells.clone().into_par_iter().map(|cell| self.encode(block, cell)).collect();
        for (cell, encoded) in cells.zip(encoded) {
            let cell_id = &block.cell_ids[cell];
            report.count(cell_id, encoded.as_ref().map(|(encoding, _)| encoding));
            if let Some((encoding, counts)) = encoded {
                let metadata = self.metadata(block, cell);
                writer.push_counted(cell_id, &encoding.tokens, &counts, &metadata)?;
                writer.checkpoint(report)?;
            }
        }
        Ok(())
    }

    /// A cell's tokens, and the counts behind them if they are to be kept.
    fn encode(&self, block: &CellBlock, cell: usize) -> Option<(Encoding, Vec<f64>)> {
        let (genes, counts) = block.counts.row(cell);
        let cell = CellCounts { genes, counts, total: block.totals[cell] };
        let encoding = self.encoder.encode(&self.genes, cell)?;
        let counts = match self.counts {
            true => self.encoder.normalised(&self.genes, cell, &encoding),
            false => Vec::new(),
        };
        Some((encoding, counts))
    }

    fn metadata<'b>(&self, block: &'b CellBlock, cell: usize) -> Vec<MetadataValue<'b>> {
        let value = |&column: &usize| match &block.columns[column][cell] {
            Some(text) => MetadataValue::Text(text),
            None => MetadataValue::Missing,
        };
        self.kept.iter().map(value).collect()
    }
}

impl TokenizeReport {
    fn count(&mut self, cell_id: &str, encoding: Option<&Encoding>) {
        self.cells += 1;
        let Some(Encoding { tokens, truncated }) = encoding else {
            self.dropped += 1;
            if self.dropped_cells.len() < NAMED_CELLS {
                self.dropped_cells.push(cell_id.to_owned());
            }
            return;
        };
        self.written += 1;
        self.truncated += u64::from(*truncated);
        self.tokens += tokens.len() as u64;
        self.lengths.add(tokens.len());
    }
}

fn find_columns(corpus: &Corpus, names: &[String]) -> Result<Vec<usize>> {
    let available = corpus.columns();
    let find = |name: &String| {
        let idx = available.iter().position(|column| column == name);
        idx.ok_or_else(|| Error::NoSuchColumn {
            path: corpus.path().into(),
            column: name.clone(),
            available: available.to_vec(),
        })
    };
    names.iter().map(find).collect()
}
