//! Everything that can go wrong between a configuration file and a trained model.

use std::path::PathBuf;

/// Failure of a training run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The configuration file is not the TOML of a pretraining run.
    #[error("{path}: not a pretraining configuration: {source}")]
    ConfigToml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and key.
        source: Box<toml::de::Error>,
    },
    /// The configuration could not be written as TOML.
    #[error("{path}: {source}")]
    ConfigWrite {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: Box<toml::ser::Error>,
    },
    /// A value of the configuration is outside its range.
    #[error("configuration: {key} is {found}, expected {expected}")]
    Config {
        /// Table and key, as in the file.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A log could not be written.
    #[error("{path}: {source}")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: csv::Error,
    },
    /// The output folder already holds a run.
    #[error("{path} already holds a run, expected a new or an empty folder")]
    RunExists {
        /// The run folder.
        path: PathBuf,
    },
    /// The data set has no vocabulary beside it.
    #[error("{path}: no vocabulary.tsv in the data set, expected one to name the model's tokens")]
    NoVocabulary {
        /// The data set folder.
        path: PathBuf,
    },
    /// The data set has no row to train on.
    #[error("{path}: {rows} rows, {held_out} of them held out, expected at least one to train on")]
    NoRows {
        /// The data set folder.
        path: PathBuf,
        /// Rows of the data set.
        rows: usize,
        /// Rows held out for evaluation.
        held_out: usize,
    },
    /// A row of the data set does not fit the model.
    #[error("{path}: row {row}: {source}")]
    Row {
        /// The data set folder.
        path: PathBuf,
        /// The row, 0-based.
        row: usize,
        /// What does not fit.
        source: gf_model::Error,
    },
    /// The loss is no longer a number: training has diverged.
    #[error("step {step}: the loss is {loss}, expected a finite number; try a lower learning_rate")]
    Diverged {
        /// The step, 1-based.
        step: u64,
        /// The loss found.
        loss: f64,
    },
    /// The model could not be made, read or written.
    #[error(transparent)]
    Model(#[from] gf_model::Error),
    /// The data set could not be read, or its vocabulary not written.
    #[error(transparent)]
    Tokenize(#[from] gf_tokenize::Error),
}

impl Error {
    /// Wraps an input/output failure at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Wraps a failure of writing a log at `path`.
    pub(crate) fn log(path: impl Into<PathBuf>) -> impl FnOnce(csv::Error) -> Self {
        let path = path.into();
        move |source| Self::Log { path, source }
    }
}
