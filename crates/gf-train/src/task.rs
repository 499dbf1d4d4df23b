//! What a run works on: rows, their order, their masks; fixed before the first step.

use burn::tensor::backend::Backend;
use gf_model::EncoderConfig;
use gf_tokenize::{Dataset, Fractions, ModelTokens, Split, Vocabulary};

use crate::{
    CheckedConfig, Error, MaskedBatch, MaskedRow, Masking, Schedule,
    random::{Purpose, stream},
    sampler::epoch_batches,
};

/// What is fixed before the first step.
pub(crate) struct Task<'a> {
    dataset: &'a Dataset,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) config: &'a CheckedConfig,
    pub(crate) encoder: EncoderConfig,
    masking: Masking,
    /// Tokens of each row.
    lengths: Vec<usize>,
    pub(crate) split: Split,
    pub(crate) schedule: Schedule,
}

impl<'a> Task<'a> {
    pub(crate) fn new(dataset: &'a Dataset, config: &'a CheckedConfig) -> Result<Self, Error> {
        let path = || dataset.path().to_owned();
        let vocabulary =
            dataset.vocabulary().ok_or_else(|| Error::NoVocabulary { path: path() })?;
        let encoder = config.encoder(vocabulary);
        let mut lengths = Vec::with_capacity(dataset.len());
        for row in 0..dataset.len() {
            let tokens = dataset.tokens(row)?;
            let unfit = |source| Error::Row { path: path(), row, source };
            encoder.check_row(&tokens).map_err(unfit)?;
            lengths.push(tokens.len());
        }
        let training = config.training();
        let fractions = Fractions { valid: training.eval_fraction, test: 0.0 };
        let mut rng = stream(training.seed, Purpose::Split, 0, 0);
        let split = Split::by_row(dataset.len(), fractions, &mut rng)?;
        if split.train.is_empty() {
            let held_out = split.valid.len();
            return Err(Error::NoRows { path: path(), rows: dataset.len(), held_out });
        }
        let schedule = config.schedule(split.train.len());
        let masking = masking(config, vocabulary);
        Ok(Self { dataset, vocabulary, config, encoder, masking, lengths, split, schedule })
    }

    /// What the data set says of its tokens.
    pub(crate) fn tokens(&self) -> Option<ModelTokens> {
        self.dataset.manifest().map(ModelTokens::of)
    }

    /// The rows of every step of an epoch.
    pub(crate) fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let training = self.config.training();
        let length = |row: usize| self.lengths[row];
        epoch_batches(&self.split.train, length, training.batch_size, training.seed, epoch)
    }

    /// Rows after masking, each from its own random stream.
    pub(crate) fn mask(
        &self,
        rows: &[usize],
        purpose: Purpose,
        epoch: u64,
    ) -> Result<Vec<MaskedRow>, Error> {
        let seed = self.config.training().seed;
        let mask = |&row: &usize| {
            let mut rng = stream(seed, purpose, epoch, row as u64);
            Ok(self.masking.mask(&self.dataset.tokens(row)?, &mut rng))
        };
        rows.iter().map(mask).collect()
    }

    /// Masked rows as the batches of one forward pass each; those that predict
    /// nothing are left out.
    pub(crate) fn micro_batches<B: Backend>(
        &self,
        rows: &[MaskedRow],
        device: &B::Device,
    ) -> impl Iterator<Item = MaskedBatch<B>> {
        rows.chunks(self.config.training().micro_batch_size)
            .map(|rows| MaskedBatch::new(rows, self.encoder.pad_token_id, device))
            .filter(|batch| batch.n_predicted() > 0)
    }
}

fn masking(config: &CheckedConfig, vocabulary: &Vocabulary) -> Masking {
    let special = vocabulary.special();
    let never_selected = match config.training().mask_special_tokens {
        true => Vec::new(),
        false => special.named().map(|(_, token)| token.0 as i32).collect(),
    };
    Masking {
        probability: config.training().mask_probability,
        mask_token: special.mask.0 as i32,
        vocab_size: vocabulary.len(),
        never_selected,
    }
}
