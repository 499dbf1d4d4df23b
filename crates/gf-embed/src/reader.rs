//! A data set and the model that is to read it, checked to fit.

use std::{borrow::Cow, path::Path};

use burn::tensor::backend::Backend;
use gf_model::{EncoderConfig, EncoderInput};
use gf_tokenize::{Dataset, TokenBatch, Vocabulary};

use crate::Error;

/// Cells of a data set as input for one model: each row that is read has passed
/// the model's checks and begins with CLS.
#[derive(Debug)]
pub struct CellReader<'a> {
    config: &'a EncoderConfig,
    dataset: &'a Dataset,
    vocabulary: &'a Vocabulary,
    cls: i32,
}

impl<'a> CellReader<'a> {
    /// Joins a data set, and the vocabulary its tokens come from, with the
    /// configuration of a model.
    ///
    /// # Errors
    ///
    /// The vocabulary has no CLS, or not as many tokens as the model.
    pub fn new(
        config: &'a EncoderConfig,
        dataset: &'a Dataset,
        vocabulary: &'a Vocabulary,
    ) -> Result<Self, Error> {
        let path = || dataset.path().to_owned();
        if vocabulary.len() != config.vocab_size {
            let (found, expected) = (vocabulary.len(), config.vocab_size);
            return Err(Error::VocabularySize { path: path(), found, expected });
        }
        let cls = vocabulary.special().cls;
        let cls = cls.ok_or_else(|| Error::NoClsInVocabulary { path: path() })?;
        Ok(Self { config, dataset, vocabulary, cls: cls.0 as i32 })
    }

    /// The data set that is read.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// What the tokens mean.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// The tokens of a row, from CLS to EOS.
    ///
    /// # Errors
    ///
    /// There is no such row, it is corrupt, or the model cannot read it.
    pub fn tokens(&self, row: usize) -> Result<Cow<'a, [i32]>, Error> {
        let len = self.dataset.len();
        if row >= len {
            return Err(Error::NoSuchRow { path: self.path(), row, len });
        }
        let tokens = self.dataset.tokens(row)?;
        if let Err(source) = self.config.check_row(&tokens) {
            let (cell_id, source) = (self.dataset.cell_id(row)?, Box::new(source));
            return Err(Error::Row { path: self.path(), row, cell_id, source });
        }
        if tokens[0] != self.cls {
            let (cell_id, found) = (self.dataset.cell_id(row)?, tokens[0]);
            let expected = self.cls;
            return Err(Error::NoCls { path: self.path(), row, cell_id, found, expected });
        }
        Ok(tokens)
    }

    /// Rows of tokens as padded input of the model.
    pub fn input<B: Backend>(&self, rows: &[&[i32]], device: &B::Device) -> EncoderInput<B> {
        let batch = TokenBatch::new(rows, self.config.pad_token_id, device);
        EncoderInput::new(batch.input_ids, batch.lengths)
    }

    fn path(&self) -> std::path::PathBuf {
        Path::to_owned(self.dataset.path())
    }
}
