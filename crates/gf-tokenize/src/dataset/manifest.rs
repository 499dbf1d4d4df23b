//! `geneformer.json`: what the tokens of a data set were made with.

use std::{fs, io::Write, path::Path};

use serde::{Deserialize, Serialize};

use super::reader::Dataset;
use crate::{
    error::{Error, Result},
    output::{at, write_beside},
};

/// The provenance of a data set, checked when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format_version: u32,
    /// [`Vocabulary::content_hash`](crate::Vocabulary::content_hash) of the vocabulary.
    pub vocabulary_hash: String,
    /// [`RankEncoder::medians_hash`](crate::RankEncoder::medians_hash) of the medians.
    pub medians_hash: String,
    /// Longest sequence in tokens.
    pub max_len: usize,
    /// Program and version that wrote the data set.
    pub produced_by: String,
}

impl Manifest {
    pub(super) const FILE: &str = "geneformer.json";
    const FORMAT_VERSION: u32 = 1;

    pub(super) fn new(vocabulary_hash: &str, medians_hash: &str, max_len: usize) -> Self {
        Self {
            format_version: Self::FORMAT_VERSION,
            vocabulary_hash: vocabulary_hash.to_owned(),
            medians_hash: medians_hash.to_owned(),
            max_len,
            produced_by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The manifest of a folder, if it has one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        let Some(manifest) = read_json::<Self>(&path)? else {
            return Ok(None);
        };
        match manifest.format_version {
            0..=Self::FORMAT_VERSION => Ok(Some(manifest)),
            found => Err(Error::FormatVersion { path, found, expected: Self::FORMAT_VERSION }),
        }
    }
}

/// `tokens.json` in a model folder: what the tokens mean that the model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTokens {
    /// [`Vocabulary::content_hash`](crate::Vocabulary::content_hash) of the vocabulary.
    pub vocabulary: String,
    /// [`RankEncoder::medians_hash`](crate::RankEncoder::medians_hash) of the medians.
    pub medians: String,
    /// Longest sequence in tokens.
    pub max_len: usize,
}

impl ModelTokens {
    /// Name of the file.
    pub const FILE: &str = "tokens.json";

    /// Those of a data set that a model is trained on.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            vocabulary: manifest.vocabulary_hash.clone(),
            medians: manifest.medians_hash.clone(),
            max_len: manifest.max_len,
        }
    }

    /// Those of a model folder; nothing if it does not say, as the official ones.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn read(model: &Path) -> Result<Option<Self>> {
        read_json(&model.join(Self::FILE))
    }

    /// Writes the file into a model folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, model: &Path) -> Result<()> {
        write_json(&model.join(Self::FILE), self)
    }

    /// Checks that a data set was ranked by the same medians over the same vocabulary, if it says by
    /// which.
    ///
    /// # Errors
    /// It was not.
    pub fn check(&self, dataset: &Dataset) -> Result<()> {
        let Some(manifest) = dataset.manifest() else { return Ok(()) };
        let path = || dataset.path().to_owned();
        if manifest.vocabulary_hash != self.vocabulary {
            let (found, expected) = (manifest.vocabulary_hash.clone(), self.vocabulary.clone());
            return Err(Error::VocabularyHash { path: path(), found, expected });
        }
        if manifest.medians_hash != self.medians {
            let (found, expected) = (manifest.medians_hash.clone(), self.medians.clone());
            return Err(Error::MediansHash { path: path(), found, expected });
        }
        Ok(())
    }
}

/// A JSON file, if it is there.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(path).map_err(at(path))?;
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|source| Error::Json { path: path.into(), source })
}

/// Writes a value as indented JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_beside(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}
