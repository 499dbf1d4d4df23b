//! Everything that can go wrong between a checkpoint folder and a hidden state.

use std::path::PathBuf;

/// Failure of reading, checking or writing a model.
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
    /// `config.json` is not the JSON of a BERT configuration.
    #[error("{path}: not a BERT configuration: {source}")]
    ConfigJson {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A configuration value is outside what the encoder supports.
    #[error("configuration: {key} is {found}, expected {expected}")]
    Config {
        /// The key of `config.json`.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// No preset has this name.
    #[error("no configuration is named {found:?}, expected one of {expected}")]
    UnknownPreset {
        /// The name given.
        found: String,
        /// All names.
        expected: String,
    },
    /// The weight file is not a safetensors file.
    #[error("{path}: not a safetensors file: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// A folder holds no weights under any name that is known.
    #[error("{folder}: no weights, expected {expected}")]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The names that are known.
        expected: String,
    },
    /// The index of a sharded checkpoint is not one.
    #[error("{path}: not an index of shards: {source}")]
    IndexJson {
        /// The index.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// An index names a shard outside its folder.
    #[error("{path}: found the shard {found:?}, expected the name of a file beside the index")]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name found.
        found: String,
    },
    /// `pytorch_model.bin` is a damaged archive.
    #[error("{path}: not a file of torch.save: {source}")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: zip::result::ZipError,
    },
    /// `pytorch_model.bin` holds something else than a dictionary of tensors; it is
    /// never run.
    #[error("{path}: byte {position}: found {found}, expected {expected}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where reading stopped, 0-based.
        position: usize,
        /// What stands there.
        found: Box<str>,
        /// What may stand there.
        expected: &'static str,
    },
    /// A block of numbers in `pytorch_model.bin` is damaged.
    #[error("{path}: {storage}: found {found}, expected {expected}")]
    Storage {
        /// The file.
        path: PathBuf,
        /// The block.
        storage: Box<str>,
        /// What was found.
        found: Box<str>,
        /// What was expected.
        expected: Box<str>,
    },
    /// Tensors of the file do not fit the configuration.
    #[error("{path}: tensors do not fit the configuration: {}", problems.join("; "))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One line per tensor: missing, unexpected, wrong shape or wrong type.
        problems: Vec<String>,
    },
    /// A head has another number of classes than there are labels.
    #[error("{found} labels, the head has {expected} classes")]
    Labels {
        /// Labels given.
        found: usize,
        /// Classes of the head.
        expected: usize,
    },
    /// A row has more tokens than the model has positions.
    #[error("{found} tokens, the model has {expected} positions")]
    TooLong {
        /// Tokens in the row.
        found: usize,
        /// Positions of the model.
        expected: usize,
    },
    /// A row has no token.
    #[error("no token in the row, expected at least one")]
    EmptyRow,
    /// A token id is outside the vocabulary.
    #[error("token {found} at position {position}, expected 0 to {}", vocab_size - 1)]
    UnknownToken {
        /// The token id.
        found: i32,
        /// Where it stands, 0-based.
        position: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
}

impl Error {
    /// Wraps an input/output failure at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
