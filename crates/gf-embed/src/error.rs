//! What can go wrong between a data set and its embeddings.

use std::path::PathBuf;

/// Failure of embedding cells.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set could not be read.
    #[error(transparent)]
    Dataset(#[from] gf_tokenize::Error),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The table could not be written as CSV.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: csv::Error,
    },
    /// A row of the data set does not fit the model.
    #[error("{path}: row {row} (cell {cell_id}): {source}")]
    Row {
        /// The data set.
        path: PathBuf,
        /// Row of the data set, 0-based.
        row: usize,
        /// The cell's id.
        cell_id: String,
        /// What does not fit.
        source: Box<gf_model::Error>,
    },
    /// A row was asked for that the data set does not have.
    #[error("{path}: row {row} was asked for, the data set has {len} rows")]
    NoSuchRow {
        /// The data set.
        path: PathBuf,
        /// Row asked for, 0-based.
        row: usize,
        /// Rows there are.
        len: usize,
    },
    /// A cell does not begin with the CLS token that is to be read.
    #[error(
        "{path}: row {row} (cell {cell_id}) begins with token {found}, expected <cls> ({expected})"
    )]
    NoCls {
        /// The data set.
        path: PathBuf,
        /// Row of the data set, 0-based.
        row: usize,
        /// The cell's id.
        cell_id: String,
        /// First token of the row.
        found: i32,
        /// Token id of `<cls>`.
        expected: i32,
    },
    /// The vocabulary has no CLS token (V1): there is no CLS embedding to read.
    #[error("{path}: the vocabulary has no <cls> token, expected a V2 data set")]
    NoClsInVocabulary {
        /// The data set.
        path: PathBuf,
    },
    /// The vocabulary has not as many tokens as the model: it is another one.
    #[error("{path}: the vocabulary has {found} tokens, the model has {expected}")]
    VocabularySize {
        /// The data set.
        path: PathBuf,
        /// Tokens of the data set's vocabulary.
        found: usize,
        /// Tokens of the model.
        expected: usize,
    },
    /// The state asked for is the embedding output, whose CLS row has seen no gene.
    #[error(
        "the second-to-last state of a model of {n_layers} layer has seen no gene, expected the last state or a deeper model"
    )]
    NoContext {
        /// Layers of the model.
        n_layers: usize,
    },
    /// An embedding is not a number.
    #[error(
        "{path}: row {row} (cell {cell_id}): the embedding is not finite, expected finite weights"
    )]
    NotFinite {
        /// The data set.
        path: PathBuf,
        /// Row of the data set, 0-based.
        row: usize,
        /// The cell's id.
        cell_id: String,
    },
    /// The caller ended the run.
    #[error("interrupted after {done} of {total} cells")]
    Interrupted {
        /// Cells done.
        done: usize,
        /// Cells asked for.
        total: usize,
    },
}
