//! What can go wrong in a perturbation run.

use std::path::{Path, PathBuf};

/// Failure of a perturbation run or of writing its results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cell could not be read or embedded.
    #[error(transparent)]
    Embed(Box<gf_embed::Error>),
    /// The data set could not be read.
    #[error(transparent)]
    Dataset(Box<gf_tokenize::Error>),
    /// No cell passes the filters.
    #[error("{path}: no cell has {}", conditions(filters))]
    NoCells {
        /// The data set.
        path: PathBuf,
        /// Columns and the values asked for.
        filters: Vec<(String, String)>,
    },
    /// A result file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A result file could not be written as CSV.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: csv::Error,
    },
    /// A result file could not be written or read as Arrow.
    #[error("{path}: {source}")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What the writer or reader said.
        source: arrow2::error::Error,
    },
    /// None of the chosen cells has any of the chosen genes.
    #[error("none of the chosen genes can be perturbed in any of the {n_cells} chosen cells")]
    NothingToPerturb {
        /// Cells chosen.
        n_cells: usize,
    },
    /// The embedding of a state is not of the model's width.
    #[error("state {state:?}: found {found} dimensions, the model has {expected}")]
    StateWidth {
        /// The state.
        state: String,
        /// Its dimensions.
        found: usize,
        /// Dimensions of the model.
        expected: usize,
    },
    /// A cosine is not a number.
    #[error("row {row} (cell {cell_id}): a cosine is not finite, expected finite weights")]
    NotFinite {
        /// Row of the data set, 0-based.
        row: usize,
        /// The cell's id.
        cell_id: String,
    },
    /// Another run is writing the same results.
    #[error("{path}: is being written by another run, expected to be alone")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Results of other settings are in the way, or among the shards.
    #[error("{path}: holds results of other cells or settings, expected those of this run")]
    OtherRun {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no results.
    #[error("{path}: found another kind of Arrow file, expected results of gf perturb")]
    NoResults {
        /// The file.
        path: PathBuf,
    },
    /// A file ends before its last cell.
    #[error("{path}: ends after {found} of {expected} cells, expected a finished run")]
    BrokenOff {
        /// The file.
        path: PathBuf,
        /// Cells there are.
        found: usize,
        /// Cells of the shard.
        expected: usize,
    },
    /// A shard is missing or there twice.
    #[error("{path}: found shard {} of {}, expected {} of {}", found.0, found.1, expected.0, expected.1)]
    Shard {
        /// The file.
        path: PathBuf,
        /// Which shard of how many it is.
        found: (usize, usize),
        /// Which was due.
        expected: (usize, usize),
    },
    /// There is nothing to join.
    #[error("found no shards, expected at least one")]
    NoShards,
    /// There are no numbers to make statistics of.
    #[error("the results hold no {what}, expected a run with {needs}")]
    NoNumbers {
        /// What is missing.
        what: String,
        /// How a run has it.
        needs: &'static str,
    },
    /// The caller ended the run.
    #[error("interrupted after {done} of {total} forward passes")]
    Interrupted {
        /// Forward passes done.
        done: u64,
        /// Forward passes planned.
        total: u64,
    },
}

impl From<gf_embed::Error> for Error {
    fn from(error: gf_embed::Error) -> Self {
        Self::Embed(Box::new(error))
    }
}

impl From<gf_tokenize::Error> for Error {
    fn from(error: gf_tokenize::Error) -> Self {
        Self::Dataset(Box::new(error))
    }
}

impl Error {
    /// Puts the path into an I/O error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Puts the path into an error of arrow2.
    pub(crate) fn arrow(path: &Path) -> impl FnOnce(arrow2::error::Error) -> Self {
        move |source| Self::Arrow { path: path.to_owned(), source }
    }
}

fn conditions(filters: &[(String, String)]) -> String {
    if filters.is_empty() {
        return "been found in it".to_owned();
    }
    let conditions: Vec<String> =
        filters.iter().map(|(column, value)| format!("{column} = {value}")).collect();
    conditions.join(" and ")
}
