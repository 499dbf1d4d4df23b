//! A data set and the model that is to read it, checked to fit.

use std::{borrow::Cow, ops::Range, path::Path};

use burn::tensor::backend::Backend;
use gf_model::{EncoderConfig, EncoderInput};
use gf_tokenize::{Dataset, TokenBatch, Vocabulary};

use crate::Error;

/// Cells of a data set as input for one model: each row that is read has passed
/// the model's checks and, where the vocabulary has a CLS token (V2), begins with it.
#[derive(Debug)]
pub struct CellReader<'a> {
    config: &'a EncoderConfig,
    dataset: &'a Dataset,
    vocabulary: &'a Vocabulary,
    cls: Option<i32>,
    eos: Option<i32>,
}

impl<'a> CellReader<'a> {
    /// Joins a data set, and the vocabulary its tokens come from, with the
    /// configuration of a model.
    ///
    /// # Errors
    ///
    /// The vocabulary has not as many tokens as the model.
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
        let special = vocabulary.special();
        let [cls, eos] = [special.cls, special.eos].map(|token| token.map(|token| token.0 as i32));
        Ok(Self { config, dataset, vocabulary, cls, eos })
    }

    /// The data set that is read.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// What the tokens mean.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// Refuses to read CLS embeddings of cells that have no CLS token (V1).
    ///
    /// # Errors
    ///
    /// The vocabulary has none.
    pub fn require_cls(&self) -> Result<(), Error> {
        self.cls.map(drop).ok_or_else(|| Error::NoClsInVocabulary { path: self.path() })
    }

    /// The tokens of a row, with CLS and EOS where the vocabulary has them.
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
        if let Some(expected) = self.cls.filter(|&cls| tokens[0] != cls) {
            let (cell_id, found) = (self.dataset.cell_id(row)?, tokens[0]);
            return Err(Error::NoCls { path: self.path(), row, cell_id, found, expected });
        }
        Ok(tokens)
    }

    /// The positions of the genes in a row of tokens: all but a CLS at its start and an
    /// EOS at its end.
    pub fn genes(&self, tokens: &[i32]) -> Range<usize> {
        let start = usize::from(self.cls.is_some() && tokens.first().copied() == self.cls);
        let ends = self.eos.is_some() && tokens.last().copied() == self.eos;
        start..(tokens.len() - usize::from(ends)).max(start)
    }

    /// Rows of tokens as padded input of the model.
    pub fn input<B: Backend>(&self, rows: &[&[i32]], device: &B::Device) -> EncoderInput<B> {
        let batch = TokenBatch::new(rows, self.config.pad_token_id, device);
        EncoderInput::new(batch.input_ids, batch.lengths)
    }

    /// The id of a row's cell.
    pub(crate) fn cell_id(&self, row: usize) -> Result<String, Error> {
        Ok(self.dataset.cell_id(row)?)
    }

    /// The embedding of a row is not finite.
    pub(crate) fn not_finite(&self, row: usize) -> Error {
        match self.cell_id(row) {
            Ok(cell_id) => Error::NotFinite { path: self.path(), row, cell_id },
            Err(error) => error,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        Path::to_owned(self.dataset.path())
    }
}
