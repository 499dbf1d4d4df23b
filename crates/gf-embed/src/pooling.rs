//! One vector per cell out of its hidden states (REFERENCE.md §5.3).

use std::ops::Range;

use burn::tensor::{Bool, FloatDType, Tensor, TensorData, backend::Backend};
use gf_model::{Encoder, EncoderInput, Projection};

/// What of a cell's hidden states is its embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readout {
    /// The row of the CLS token, which only V2 cells have: the reference's
    /// `emb_mode="cls"`, its default.
    #[default]
    Cls,
    /// The mean over the rows of the cell's genes: the reference's `emb_mode="cell"`.
    /// CLS and EOS are no genes; V1 cells have neither.
    Cell,
}

impl Readout {
    /// The embedding of each cell of a batch, from hidden state `k`; `genes` are the
    /// positions of each cell's genes ([`CellReader::genes`](crate::CellReader::genes)),
    /// at least one a cell. No more is computed than the readout needs.
    ///
    /// # Shapes
    ///
    /// - output `[batch_size, d_model]`
    pub fn embed<B: Backend, P: Projection<B>>(
        self,
        encoder: &Encoder<B, P>,
        input: &EncoderInput<B>,
        genes: &[Range<usize>],
        k: usize,
    ) -> Tensor<B, 2> {
        match self {
            Self::Cls => encoder.cls_state(input, k),
            Self::Cell => mean_pool(encoder.hidden_state(input, k), genes),
        }
    }
}

/// The mean of each cell's hidden states over the positions in its range, summed in
/// 32 bits whatever the format of `hidden` (`mean_nonpadding_embs` of the reference's
/// `perturber_utils.py`). Rows outside take no part, whatever they hold; an empty
/// range gives NaN.
///
/// # Shapes
///
/// - `hidden` `[batch_size, seq_length, d_model]`
/// - output `[batch_size, d_model]`
pub fn mean_pool<B: Backend>(hidden: Tensor<B, 3>, ranges: &[Range<usize>]) -> Tensor<B, 2> {
    let [batch_size, seq_length, d_model] = hidden.dims();
    let device = hidden.device();
    let outside: Vec<bool> = ranges
        .iter()
        .flat_map(|range| (0..seq_length).map(|position| !range.contains(&position)))
        .collect();
    let outside = TensorData::new(outside, [batch_size, seq_length, 1]);
    let outside =
        Tensor::<B, 3, Bool>::from_data(outside, &device).expand([batch_size, seq_length, d_model]);
    let counts: Vec<f32> = ranges.iter().map(|range| range.len() as f32).collect();
    let counts = Tensor::<B, 2>::from_data(
        TensorData::new(counts, [batch_size, 1]),
        (&device, burn::tensor::DType::F32),
    );
    let sum = hidden.cast(FloatDType::F32).mask_fill(outside, 0.0).sum_dim(1);
    sum.squeeze_dim::<2>(1) / counts
}
