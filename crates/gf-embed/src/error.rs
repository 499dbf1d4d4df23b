//! What can go wrong between a data set and its embeddings.

use std::path::{Path, PathBuf};

/// Failure of embedding cells.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set could not be read.
    #[error(transparent)]
    Dataset(Box<gf_tokenize::Error>),
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
    /// The table could not be written as Arrow.
    #[error("{path}: {source}")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: arrow2::error::Error,
    },
    /// Rows are not of the table they are pushed to.
    #[error(
        "{path}: found rows of {found:?} names, numbers and labels or of uneven columns, expected {expected:?}"
    )]
    TableShape {
        /// The file.
        path: PathBuf,
        /// Columns of names, of numbers, of labels.
        found: [usize; 3],
        /// Those of the table.
        expected: [usize; 3],
    },
    /// A table has no columns of numbers.
    #[error("{path}: found no column \"0\", expected an embedding in the columns 0, 1, …")]
    NoNumbers {
        /// The file.
        path: PathBuf,
    },
    /// A number of a table is none.
    #[error("{path}: data row {row}, column {column}: found {found:?}, expected a finite number")]
    Number {
        /// The file.
        path: PathBuf,
        /// 1-based, the header not counted.
        row: usize,
        /// The column.
        column: String,
        /// What is there.
        found: String,
    },
    /// A table has no such column.
    #[error("{path}: there is no column {column:?}, expected one of {available:?}")]
    NoSuchColumn {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        column: String,
        /// The columns of text there are.
        available: Vec<String>,
    },
    /// Another run is writing the same table.
    #[error("{path}: is being written by another run, expected to be alone")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Vectors are of another width than those before.
    #[error("{path}: found vectors of {found} numbers, expected {expected}")]
    SpoolWidth {
        /// The file.
        path: PathBuf,
        /// Width of the vectors.
        found: usize,
        /// Width of those before.
        expected: usize,
    },
    /// Vectors on disk are not as they were written.
    #[error("{path}: a block is not as it was written, expected nobody to change the file")]
    SpoolChanged {
        /// The file.
        path: PathBuf,
    },
    /// There are no points to draw.
    #[error(
        "a map of {rows} rows of {width} numbers cannot be drawn, expected at least {least} different ones"
    )]
    NoMap {
        /// Rows of the table.
        rows: usize,
        /// Numbers in each.
        width: usize,
        /// Rows that are needed.
        least: usize,
    },
    /// A file is not the JSON that was expected.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: serde_json::Error,
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
    /// A cell holds no gene whose states could be averaged.
    #[error("{path}: row {row} (cell {cell_id}): found no genes, expected at least one")]
    NoGenes {
        /// The data set.
        path: PathBuf,
        /// Row of the data set, 0-based.
        row: usize,
        /// The cell's id.
        cell_id: String,
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
    /// There is not one label per row of a table.
    #[error("found {found} labels, expected one for each of {expected} rows")]
    RowCount {
        /// Labels given.
        found: usize,
        /// Rows of the table.
        expected: usize,
    },
    /// The embeddings of states differ in width.
    #[error("state {state:?}: found {found} dimensions, expected {expected}")]
    StateWidth {
        /// The state.
        state: String,
        /// Its dimensions.
        found: usize,
        /// Dimensions of the first state.
        expected: usize,
    },
    /// The embedding of a state is not a number.
    #[error("state {state:?}: dimension {dimension} is not finite, expected a number")]
    StateNotFinite {
        /// The state.
        state: String,
        /// Where, 0-based.
        dimension: usize,
    },
    /// There is no embedding of a state.
    #[error("there is no state {state:?}, expected one of {available:?}")]
    NoSuchState {
        /// What was asked for.
        state: String,
        /// The states there are.
        available: Vec<String>,
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

    /// Puts the path into an error of a JSON file.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json { path: path.to_owned(), source }
    }
}
