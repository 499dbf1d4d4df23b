//! Which tokens of a cell are hidden from the model, and what it must answer.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use gf_model::EncoderInput;
use rand::{Rng, RngExt};

/// Of the selected tokens, this part becomes the mask token.
const MASKED_PART: f64 = 0.8;
/// Of the selected tokens, this part becomes a random token; the rest stays.
const RANDOM_PART: f64 = 0.1;

/// The rule by which tokens are selected and replaced.
///
/// As `DataCollatorForLanguageModeling` under the reference's
/// `GeneformerPreCollator` (REFERENCE.md §4): every token is selected
/// independently; of the selected 80 % become the mask token, 10 % a token drawn
/// from the whole vocabulary, special tokens included, 10 % stay as they are.
/// Padding is never selected because a row has none yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Masking {
    /// Chance of a token to be selected.
    pub probability: f64,
    /// Token that hides another.
    pub mask_token: i32,
    /// Random replacements are drawn from `0..vocab_size`.
    pub vocab_size: usize,
    /// Tokens that are never selected; empty in the reference, which selects CLS
    /// and EOS like any gene.
    pub never_selected: Vec<i32>,
}

/// One cell after masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedRow {
    /// What the model reads.
    pub input_ids: Vec<i32>,
    /// Selected positions, ascending.
    pub positions: Vec<usize>,
    /// The token that stood at each selected position.
    pub labels: Vec<i32>,
}

impl Masking {
    /// Masks one row of tokens.
    ///
    /// ```
    /// use gf_train::Masking;
    /// use rand::SeedableRng;
    ///
    /// let masking = Masking { probability: 1.0, mask_token: 1, vocab_size: 9, never_selected: vec![2] };
    /// let row = masking.mask(&[2, 7, 8], &mut rand_chacha::ChaCha8Rng::seed_from_u64(0));
    /// assert_eq!((row.positions, row.labels), (vec![1, 2], vec![7, 8]));
    /// ```
    pub fn mask(&self, tokens: &[i32], rng: &mut impl Rng) -> MaskedRow {
        let mut row =
            MaskedRow { input_ids: tokens.to_vec(), positions: Vec::new(), labels: Vec::new() };
        for (position, &token) in tokens.iter().enumerate() {
            if !self.never_selected.contains(&token) && rng.random_bool(self.probability) {
                row.input_ids[position] = self.replace(token, rng);
                row.positions.push(position);
                row.labels.push(token);
            }
        }
        row
    }

    fn replace(&self, token: i32, rng: &mut impl Rng) -> i32 {
        match rng.random::<f64>() {
            u if u < MASKED_PART => self.mask_token,
            u if u < MASKED_PART + RANDOM_PART => rng.random_range(0..self.vocab_size) as i32,
            _ => token,
        }
    }
}

/// Masked cells as tensors; the positions to predict are listed, so that nothing
/// is computed for those nobody predicts.
#[derive(Debug, Clone)]
pub struct MaskedBatch<B: Backend> {
    /// Token ids `[batch_size, seq_length]` and real lengths.
    pub input: EncoderInput<B>,
    /// Selected positions `[batch_size, n_selected]`, each row filled up with 0 to
    /// the most that any row has.
    pub positions: Tensor<B, 2, Int>,
    /// Where the real ones are among the flattened `positions`, `[n_predicted]`.
    pub predicted: Tensor<B, 1, Int>,
    /// The token to predict at each of them, `[n_predicted]`.
    pub labels: Tensor<B, 1, Int>,
}

impl<B: Backend> MaskedBatch<B> {
    /// Pads rows with `pad` and gathers what is to be predicted.
    pub fn new(rows: &[MaskedRow], pad: i32, device: &B::Device) -> Self {
        let input_ids: Vec<&[i32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let n_selected = rows.iter().map(|row| row.positions.len()).max().unwrap_or(0);
        let mut positions = vec![0; rows.len() * n_selected];
        let mut predicted = Vec::new();
        for (row, slots) in rows.iter().zip(positions.chunks_mut(n_selected.max(1))) {
            for (slot, &position) in slots.iter_mut().zip(&row.positions) {
                *slot = position as i32;
            }
        }
        for (row_idx, row) in rows.iter().enumerate() {
            let first = row_idx * n_selected;
            predicted.extend((first..first + row.positions.len()).map(|slot| slot as i32));
        }
        let labels: Vec<i32> = rows.iter().flat_map(|row| row.labels.iter().copied()).collect();
        Self {
            input: EncoderInput::from_rows(&input_ids, pad, device),
            positions: Tensor::from_data(
                TensorData::new(positions, [rows.len(), n_selected]),
                device,
            ),
            predicted: Tensor::from_data(predicted.as_slice(), device),
            labels: Tensor::from_data(labels.as_slice(), device),
        }
    }

    /// Number of positions to predict.
    pub fn n_predicted(&self) -> usize {
        self.labels.dims()[0]
    }

    /// Number of tokens, without padding.
    pub fn n_tokens(&self) -> usize {
        self.input.lengths().iter().sum()
    }
}
