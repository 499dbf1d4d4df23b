//! Rows of tokens as one padded tensor: the only tensor in this crate.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

/// A batch of cells, padded on the right to the longest of them.
#[derive(Clone, Debug)]
pub struct TokenBatch<B: Backend> {
    /// Tokens, `[batch_size, seq_length]`.
    pub input_ids: Tensor<B, 2, Int>,
    /// Number of tokens of each row before its padding, `[batch_size]`.
    pub lengths: Vec<usize>,
}

impl<B: Backend> TokenBatch<B> {
    /// Pads `rows` with `pad` to the longest row and moves them to the device.
    ///
    /// # Shapes
    /// - rows: `batch_size` slices of any length
    /// - `input_ids`: `[batch_size, seq_length]`, `seq_length` the longest row
    ///
    /// ```
    /// use burn_flex::Flex;
    /// use gf_tokenize::TokenBatch;
    /// let rows: [&[i32]; 2] = [&[2, 7, 9, 3], &[2, 8, 3]];
    /// let batch = TokenBatch::<Flex>::new(&rows, 0, &Default::default());
    /// assert_eq!(batch.input_ids.dims(), [2, 4]);
    /// assert_eq!(batch.lengths, [4, 3]);
    /// ```
    pub fn new(rows: &[&[i32]], pad: i32, device: &B::Device) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let batch_size = rows.len();
        let seq_length = lengths.iter().copied().max().unwrap_or(0);
        let mut padded = vec![pad; batch_size * seq_length];
        for (row_idx, row) in rows.iter().enumerate() {
            padded[row_idx * seq_length..][..row.len()].copy_from_slice(row);
        }
        let data = TensorData::new(padded, [batch_size, seq_length]);
        Self { input_ids: Tensor::from_data(data, device), lengths }
    }
}
