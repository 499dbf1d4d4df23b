//! What the encoder reads: rows of token ids, padded at the end.

use burn::tensor::{Bool, Int, Tensor, TensorData, backend::Backend};

/// A batch of token rows; row `i` holds `lengths[i]` real tokens, then padding.
#[derive(Debug, Clone)]
pub struct EncoderInput<B: Backend> {
    input_ids: Tensor<B, 2, Int>,
    lengths: Vec<usize>,
}

impl<B: Backend> EncoderInput<B> {
    /// Pads rows at the end with `pad` to the longest of them.
    ///
    /// Rows are expected to have passed [`EncoderConfig::check_row`](crate::EncoderConfig::check_row).
    pub fn from_rows(rows: &[&[i32]], pad: i32, device: &B::Device) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let seq_length = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * seq_length);
        for row in rows {
            ids.extend_from_slice(row);
            ids.resize(ids.len() + seq_length - row.len(), pad);
        }
        let data = TensorData::new(ids, [rows.len(), seq_length]);
        Self { input_ids: Tensor::from_data(data, device), lengths }
    }

    /// Rows that are already a tensor `[batch_size, seq_length]`.
    pub fn new(input_ids: Tensor<B, 2, Int>, lengths: Vec<usize>) -> Self {
        Self { input_ids, lengths }
    }

    /// Token ids, `[batch_size, seq_length]`.
    pub fn input_ids(&self) -> Tensor<B, 2, Int> {
        self.input_ids.clone()
    }

    /// Real tokens in each row.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// True where a key is padding, `[batch_size, 1, 1, seq_length]`; `None` where
    /// no row has any.
    pub fn padding_mask(&self) -> Option<Tensor<B, 4, Bool>> {
        let [batch_size, seq_length] = self.input_ids.dims();
        if self.lengths.iter().all(|&length| length == seq_length) {
            return None;
        }
        let device = self.input_ids.device();
        let lengths: Vec<i32> = self.lengths.iter().map(|&length| length as i32).collect();
        let lengths = Tensor::<B, 1, Int>::from_data(lengths.as_slice(), &device);
        let positions = Tensor::<B, 1, Int>::arange(0..seq_length as i64, &device);
        let shape = [batch_size, seq_length];
        let positions = positions.reshape([1, seq_length]).expand(shape);
        let lengths = lengths.reshape([batch_size, 1]).expand(shape);
        Some(positions.greater_equal(lengths).reshape([batch_size, 1, 1, seq_length]))
    }
}
