//! What can go wrong between a folder on disk and a quantised or adapted encoder.

use std::path::PathBuf;

/// Failure of reading, checking or writing quantised models and adapters.
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
    /// The weight file is not a safetensors file.
    #[error("{path}: not a safetensors file: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// A configuration is not the JSON expected.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A tensor is missing or is not what it should be.
    #[error("{path}: tensor {name} is {found}, expected {expected}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// What is there.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// A key of a configuration has a value that is not supported.
    #[error("{path}: {key} is {found}, expected {expected}")]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// Hyper-parameters of an adapter cannot mean anything.
    #[error("adapter: {key} is {found}, expected {expected}")]
    Lora {
        /// Which.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// An adapter was made for an encoder of another shape.
    #[error("adapter for {place} has shapes {found}, expected {expected}")]
    Misfit {
        /// Layer and projection.
        place: String,
        /// Shapes of its two matrices.
        found: String,
        /// Shapes that fit the encoder.
        expected: String,
    },
    /// The model's configuration cannot be read.
    #[error(transparent)]
    Model(#[from] gf_model::Error),
}

impl Error {
    /// Wraps an input/output failure at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
