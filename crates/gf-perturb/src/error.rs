//! What can go wrong in a perturbation run.

use std::path::PathBuf;

/// Failure of a perturbation run or of writing its results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cell could not be read or embedded.
    #[error(transparent)]
    Embed(#[from] gf_embed::Error),
    /// The data set could not be read.
    #[error(transparent)]
    Dataset(#[from] gf_tokenize::Error),
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
    /// None of the chosen cells has any of the chosen genes.
    #[error("none of the {n_genes} chosen genes is detected in any of the {n_cells} chosen cells")]
    NothingToDelete {
        /// Genes chosen.
        n_genes: usize,
        /// Cells chosen.
        n_cells: usize,
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

fn conditions(filters: &[(String, String)]) -> String {
    if filters.is_empty() {
        return "been found in it".to_owned();
    }
    let conditions: Vec<String> =
        filters.iter().map(|(column, value)| format!("{column} = {value}")).collect();
    conditions.join(" and ")
}
