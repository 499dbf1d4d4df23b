//! A cell without one of its tokens, for many tokens at once.
//!
//! Up to the deleted token such a cell is the cell without its last token, from there on
//! the cell without its first. So hidden state 0 of all deletions has two rows of
//! different numbers, and the queries, keys and values of the first layer are projected
//! once a cell; its attention is shared as well. Above it each deletion goes its own way.

use std::ops::Range;

use burn::tensor::{Tensor, backend::Backend};

use crate::{
    Encoder, EncoderInput, Projection,
    kernels::{AttentionArithmetic, Joined},
};

/// What all deletions of single tokens of one cell share.
pub struct Deletions<'a, B: Backend, P> {
    encoder: &'a Encoder<B, P>,
    cell: &'a [i32],
    /// Hidden state 0 without the last token, and without the first:
    /// `[2, seq_length - 1, d_model]`.
    ends: Tensor<B, 3>,
    joined: Joined,
}

impl<'a, B: Backend, P: Projection<B>> Deletions<'a, B, P> {
    /// Prepares the deletions of the tokens of a cell of at least two, which is expected to
    /// have passed [`EncoderConfig::check_row`](crate::EncoderConfig::check_row). `None`
    /// where nothing can be shared: without a layer, on another backend than Flex, in
    /// another number format than f32, under a tape for gradients.
    pub fn new(encoder: &'a Encoder<B, P>, cell: &'a [i32], device: &B::Device) -> Option<Self> {
        let layer = encoder.layers.first()?;
        let (without_last, without_first) = (cell.split_last()?.1, cell.split_first()?.1);
        if without_last.is_empty() {
            return None;
        }
        let input = EncoderInput::from_rows(&[without_last, without_first], 0, device);
        let ends = encoder.embeddings.forward(input.input_ids());
        let joined = layer.attention.join(&ends)?;
        Some(Self { encoder, cell, ends, joined })
    }

    /// [`Encoder::hidden_state`] of the cell itself, for comparison: the first layer's
    /// attention is in f32, as that of the deletions, also where INT8 layers would round it.
    ///
    /// # Shapes
    ///
    /// - output `[1, seq_length, d_model]`
    pub fn whole_hidden_state(&self, k: usize) -> Tensor<B, 3> {
        let (encoder, input) = (self.encoder, self.input());
        let hidden = encoder.embeddings.forward(input.input_ids());
        let Some(above) = k.min(encoder.n_layers()).checked_sub(1) else { return hidden };
        let layer = &encoder.layers[0];
        let arithmetic = AttentionArithmetic::Float;
        let mixed = layer.attention.forward_all_in(hidden, &input, arithmetic);
        let first = layer.feed_forward.forward(mixed);
        let layers = encoder.layers[1..].iter().take(above);
        layers.fold(first, |hidden, layer| layer.forward(hidden, &input))
    }

    /// [`Encoder::cls_state`] of the cell itself, as
    /// [`whole_hidden_state`](Self::whole_hidden_state).
    ///
    /// # Shapes
    ///
    /// - output `[1, d_model]`
    pub fn whole_cls_state(&self, k: usize) -> Tensor<B, 2> {
        let first = match k.min(self.encoder.n_layers()) {
            k @ 0..=1 => self.whole_hidden_state(k).narrow(1, 0, 1),
            k => {
                let below = self.whole_hidden_state(k - 1);
                self.encoder.layers[k - 1].forward_first(below, &self.input())
            }
        };
        first.squeeze_dim(1)
    }

    fn input(&self) -> EncoderInput<B> {
        EncoderInput::from_rows(&[self.cell], 0, &self.ends.device())
    }

    /// Attention of the first layer in the cell without each of the tokens at `positions`,
    /// 0-based and below the cell's length. Neighbouring positions share most: `n` tokens
    /// whose deletions spread over `w` of them are as much work as one cell of `n + w`.
    pub fn without(&self, positions: &[usize]) -> WithoutTokens<'_, B, P> {
        let mixed = self.joined.attend(positions);
        let mixed = mixed.unwrap_or_else(|| unreachable!("only what is in host memory is joined"));
        WithoutTokens { deletions: self, positions: positions.to_vec(), mixed }
    }
}

/// A cell without each of some tokens, computed up to the attention of the first layer.
pub struct WithoutTokens<'a, B: Backend, P> {
    deletions: &'a Deletions<'a, B, P>,
    positions: Vec<usize>,
    /// `[n_positions, seq_length - 1, d_model]`.
    mixed: Tensor<B, 3>,
}

impl<B: Backend, P: Projection<B>> WithoutTokens<'_, B, P> {
    /// [`Encoder::hidden_state`] of the cell without the tokens at some of the positions: a
    /// range of their list, not empty.
    ///
    /// # Shapes
    ///
    /// - output `[range.len(), seq_length - 1, d_model]`
    pub fn hidden_state(&self, range: Range<usize>, k: usize) -> Tensor<B, 3> {
        let n_rows = self.deletions.cell.len() - 1;
        let Some(above) = k.min(self.deletions.encoder.n_layers()).checked_sub(1) else {
            return self.embedded(range, n_rows);
        };
        let input = self.input(range.clone());
        let first = self.first_layer(range, n_rows);
        let layers = self.deletions.encoder.layers[1..].iter().take(above);
        layers.fold(first, |hidden, layer| layer.forward(hidden, &input))
    }

    /// [`Encoder::cls_state`] of the cell without the tokens at some of the positions: a
    /// range of their list, not empty.
    ///
    /// # Shapes
    ///
    /// - output `[range.len(), d_model]`
    pub fn cls_state(&self, range: Range<usize>, k: usize) -> Tensor<B, 2> {
        let first = match k.min(self.deletions.encoder.n_layers()) {
            0 => self.embedded(range, 1),
            1 => self.first_layer(range, 1),
            k => {
                let input = self.input(range.clone());
                let below = self.hidden_state(range, k - 1);
                self.deletions.encoder.layers[k - 1].forward_first(below, &input)
            }
        };
        first.squeeze_dim(1)
    }

    /// The first `n_rows` rows of hidden state 0, `[range.len(), n_rows, d_model]`.
    fn embedded(&self, range: Range<usize>, n_rows: usize) -> Tensor<B, 3> {
        let ends = &self.deletions.ends;
        let [_, _, d_model] = ends.dims();
        let n_cells = range.len();
        let parts = self.positions[range].iter().flat_map(|&position| {
            let place = position.min(n_rows);
            [(0, 0..place), (1, place..n_rows)]
        });
        let parts = parts.filter(|(_, rows)| !rows.is_empty());
        let rows = parts.map(|(end, rows)| ends.clone().slice([end..end + 1, rows])).collect();
        Tensor::cat(rows, 1).reshape([n_cells, n_rows, d_model])
    }

    /// The first `n_rows` rows of hidden state 1, `[range.len(), n_rows, d_model]`.
    fn first_layer(&self, range: Range<usize>, n_rows: usize) -> Tensor<B, 3> {
        let layer = &self.deletions.encoder.layers[0];
        let mixed = self.mixed.clone().slice([range.clone(), 0..n_rows]);
        layer.feed_forward.forward(layer.attention.finish(self.embedded(range, n_rows), mixed))
    }

    fn input(&self, range: Range<usize>) -> EncoderInput<B> {
        let without = |&position: &usize| {
            let (before, behind) = self.deletions.cell.split_at(position);
            [before, &behind[1..]].concat()
        };
        let rows: Vec<Vec<i32>> = self.positions[range].iter().map(without).collect();
        let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
        EncoderInput::from_rows(&rows, 0, &self.mixed.device())
    }
}
