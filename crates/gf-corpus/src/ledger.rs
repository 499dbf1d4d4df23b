//! The account of an ingest: what came in, what was kept, and why not the rest.
//!
//! Every file balances: counts read = counts by route + ambiguous + unknown,
//! and counts by route = kept + in copies + in dropped cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    annotation::Route,
    catalogue::Superseded,
    qc::{QcOptions, Verdict},
    source::OtherFeatures,
};

/// The account of all files of a corpus, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// What a cell needed to be kept.
    pub qc: QcOptions,
    /// One entry a file.
    pub files: Vec<FileLedger>,
    /// Rows of the catalogue that were not read because another row offers the
    /// same study.
    pub superseded: Vec<SupersededStudy>,
    /// Copies of cells, by the study they are in and the one they were first in.
    pub overlaps: Vec<Overlap>,
}

/// A row of the catalogue that another row stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupersededStudy {
    /// Which row, by which, and why.
    #[serde(flatten)]
    pub superseded: Superseded,
    /// The cells its file holds; `None` if the file cannot be opened.
    pub n_cells: Option<u64>,
}

/// Cells of one study that an earlier study, or the same one, already has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The study of the copies.
    pub study: String,
    /// The study that has the cells first.
    pub of: String,
    /// How many cells.
    pub cells: u64,
}

/// The account of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLedger {
    /// The path as it was given.
    pub path: String,
    /// The study's id.
    pub name: String,
    /// The database that offers it, where the catalogue says so.
    pub source_database: Option<String>,
    /// The matrix that was read, for example `raw/X`.
    pub layer: String,
    /// Its cells.
    pub cells: CellTally,
    /// UMI counts a droplet needed to be called a cell, where droplets were called.
    pub droplet_threshold: Option<u64>,
    /// What a test of the droplets below found, where one was asked for.
    pub droplet_test: Option<DropletTest>,
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
    /// Counts of mapped rows in copies of other cells.
    pub counts_in_copies: u64,
    /// Counts of mapped rows in dropped cells.
    pub counts_in_dropped_cells: u64,
    /// Rows that are no genes, by feature type; they are in no other number.
    pub other_features: BTreeMap<String, OtherFeatures>,
    /// Metadata that was left out, as [`CountSource::unread_columns`] has it.
    ///
    /// [`CountSource::unread_columns`]: crate::CountSource::unread_columns
    pub unread_columns: Vec<String>,
    /// Whether its cells are called `NAME:id`, because an earlier study has one
    /// of their ids.
    pub qualified_ids: bool,
}

/// A test of droplets by their genes, as [`EmptyDrops`](crate::EmptyDrops) does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropletTest {
    /// Droplets that told the ambient profile; without any nothing is tested.
    pub n_ambient: u64,
    /// Droplets below the threshold that were to be tested.
    pub n_candidates: u64,
    /// Those that are cells.
    pub n_cells: u64,
}

/// Cells of a file by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellTally {
    /// All cells of the file.
    pub read: u64,
    /// Those in the corpus.
    pub kept: u64,
    /// Those that passed but are copies of earlier cells.
    pub copies: u64,
    /// Those that did not pass, by the reason.
    pub dropped: BTreeMap<Verdict, u64>,
}

impl CellTally {
    /// Enters one cell.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.read += 1;
        match verdict {
            Verdict::Kept => self.kept += 1,
            reason => *self.dropped.entry(reason).or_default() += 1,
        }
    }

    /// Cells that did not pass.
    #[must_use]
    pub fn n_dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    fn plus(mut self, other: &Self) -> Self {
        self.read += other.read;
        self.kept += other.kept;
        self.copies += other.copies;
        for (&reason, n) in &other.dropped {
            *self.dropped.entry(reason).or_default() += n;
        }
        self
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What one source database brought (the paper's Extended Data Fig. 1a).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTally {
    /// The database, or `unnamed`.
    pub source_database: String,
    /// Its studies in the corpus.
    pub studies: u64,
    /// Its studies that another database's row stands for.
    pub superseded_studies: u64,
    /// Cells that passed, copies included, and all cells of superseded studies.
    pub cells: u64,
    /// Cells that entered the corpus from it.
    pub unique_cells: u64,
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
            cells: sum.cells.plus(&file.cells),
            mapped: plus(sum.mapped, file.mapped()),
            unmapped: plus(sum.unmapped, file.unmapped()),
            counts_kept: sum.counts_kept + file.counts_kept,
        })
    }

    /// Total against unique cells of each source database, in alphabetical order.
    #[must_use]
    pub fn by_source_database(&self) -> Vec<SourceTally> {
        let mut tallies = BTreeMap::<&str, SourceTally>::new();
        for file in &self.files {
            let tally = tally_of(&mut tallies, file.source_database.as_deref());
            tally.studies += 1;
            tally.cells += file.cells.kept + file.cells.copies;
            tally.unique_cells += file.cells.kept;
        }
        for study in &self.superseded {
            let tally = tally_of(&mut tallies, study.superseded.study.source_database.as_deref());
            tally.superseded_studies += 1;
            tally.cells += study.n_cells.unwrap_or(0);
        }
        tallies.into_values().collect()
    }
}

fn tally_of<'t, 'n>(
    tallies: &'t mut BTreeMap<&'n str, SourceTally>,
    database: Option<&'n str>,
) -> &'t mut SourceTally {
    let name = database.unwrap_or("unnamed");
    tallies.entry(name).or_insert_with(|| SourceTally {
        source_database: name.to_owned(),
        studies: 0,
        superseded_studies: 0,
        cells: 0,
        unique_cells: 0,
    })
}

fn plus(a: Tally, b: Tally) -> Tally {
    Tally { rows: a.rows + b.rows, counts: a.counts + b.counts }
}
