//! The account of an ingest: what came in, what was kept, and why not the rest.
//!
//! Every file balances: counts read = counts by route + ambiguous + unknown,
//! and counts by route = kept + in dropped cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{annotation::Route, qc::Verdict, source::OtherFeatures};

/// The account of all files of a corpus, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Detected protein-coding genes a cell needed to be kept.
    pub min_protein_coding: usize,
    /// One entry a file.
    pub files: Vec<FileLedger>,
}

/// The account of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLedger {
    /// The path as it was given.
    pub path: String,
    /// The short name that stands before renamed cells.
    pub name: String,
    /// The matrix that was read, for example `raw/X`.
    pub layer: String,
    /// Its cells.
    pub cells: CellTally,
    /// Its gene rows that found a gene, by the way they found it.
    pub routes: BTreeMap<Route, Tally>,
    /// Rows whose name several genes share.
    pub ambiguous: Tally,
    /// Rows whose name no gene has.
    pub unknown: Tally,
    /// The first of the ambiguous names.
    pub ambiguous_names: Vec<String>,
    /// The first of the unknown names.
    pub unknown_names: Vec<String>,
    /// Rows that were added to an earlier row of the same gene.
    pub summed_rows: u64,
    /// Counts of mapped rows in kept cells.
    pub counts_kept: u64,
    /// Counts of mapped rows in dropped cells.
    pub counts_in_dropped_cells: u64,
    /// Rows that are no genes, by feature type; they are in no other number.
    pub other_features: BTreeMap<String, OtherFeatures>,
    /// Metadata columns left out because of the way they are stored.
    pub unread_columns: Vec<String>,
}

/// Cells of a file by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellTally {
    /// All cells of the file.
    pub read: u64,
    /// Those in the corpus.
    pub kept: u64,
    /// Dropped: no counts at all.
    pub empty: u64,
    /// Dropped: too few detected protein-coding genes.
    pub few_protein_coding: u64,
    /// Dropped: outside one of the optional limits.
    #[serde(default)]
    pub outside_limits: u64,
    /// Kept under another id, because theirs was taken.
    pub renamed: u64,
}

impl CellTally {
    /// Enters one cell.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.read += 1;
        *match verdict {
            Verdict::Kept => &mut self.kept,
            Verdict::Empty => &mut self.empty,
            Verdict::FewProteinCoding => &mut self.few_protein_coding,
            _ => &mut self.outside_limits,
        } += 1;
    }

    /// Cells that were not kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.read - self.kept
    }
}

/// Gene rows and the counts they carry over all cells read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many rows.
    pub rows: u64,
    /// The sum of their counts.
    pub counts: u64,
}

/// Sums over the files of a ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All cells.
    pub cells: CellTally,
    /// Gene rows that found a gene.
    pub mapped: Tally,
    /// Gene rows that did not.
    pub unmapped: Tally,
    /// Counts in the corpus.
    pub counts_kept: u64,
}

impl FileLedger {
    /// Gene rows that found a gene.
    #[must_use]
    pub fn mapped(&self) -> Tally {
        self.routes.values().copied().fold(Tally::default(), plus)
    }

    /// Gene rows that did not, ambiguous ones included.
    #[must_use]
    pub fn unmapped(&self) -> Tally {
        plus(self.ambiguous, self.unknown)
    }

    /// Counts of all gene rows in all cells.
    #[must_use]
    pub fn counts_read(&self) -> u64 {
        self.mapped().counts + self.unmapped().counts
    }
}

impl Ledger {
    /// Sums over all files.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.files.iter().fold(Totals::default(), |sum, file| Totals {
            cells: CellTally {
                read: sum.cells.read + file.cells.read,
                kept: sum.cells.kept + file.cells.kept,
                empty: sum.cells.empty + file.cells.empty,
                few_protein_coding: sum.cells.few_protein_coding + file.cells.few_protein_coding,
                outside_limits: sum.cells.outside_limits + file.cells.outside_limits,
                renamed: sum.cells.renamed + file.cells.renamed,
            },
            mapped: plus(sum.mapped, file.mapped()),
            unmapped: plus(sum.unmapped, file.unmapped()),
            counts_kept: sum.counts_kept + file.counts_kept,
        })
    }
}

fn plus(a: Tally, b: Tally) -> Tally {
    Tally { rows: a.rows + b.rows, counts: a.counts + b.counts }
}
