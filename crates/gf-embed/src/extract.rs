//! From rows of tokens to one vector per cell.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, backend::Backend};
use gf_model::{Encoder, Projection};
use ndarray::Array2;
use rayon::prelude::*;

use crate::{CellReader, Embeddings, Error};

/// Which hidden state an embedding is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmbedLayer {
    /// The second-to-last: the reference's `emb_layer = -1`, its default and the
    /// paper's choice without fine-tuning.
    #[default]
    SecondToLast,
    /// The last: the reference's `emb_layer = 0`, for fine-tuned models.
    Last,
}

impl EmbedLayer {
    /// Index of the hidden state among `1..=n_layers`.
    ///
    /// # Errors
    ///
    /// It would be 0, the embedding output: its CLS row is the same for every cell.
    pub fn hidden_state(self, n_layers: usize) -> Result<usize, Error> {
        let state = match self {
            Self::SecondToLast => n_layers.saturating_sub(1),
            Self::Last => n_layers,
        };
        if state == 0 { Err(Error::NoContext { n_layers }) } else { Ok(state) }
    }
}

/// How cells are embedded.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions {
    /// The layer that is read.
    pub layer: EmbedLayer,
    /// Most tokens in one batch, padding included; a longer cell goes alone.
    pub tokens_per_batch: usize,
    /// Batches computed at the same time: 1 on a GPU, which one batch fills; one per
    /// core on a CPU, where many operations use a single core.
    pub batches_at_once: usize,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self { layer: EmbedLayer::default(), tokens_per_batch: 8_192, batches_at_once: 1 }
    }
}

/// Cells embedded so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Cells done.
    pub done: usize,
    /// Cells in all.
    pub total: usize,
}

/// The CLS embedding of each row, in the order of `rows`
/// (`EmbExtractor(emb_mode="cls")` of the reference's `emb_extractor.py`, without
/// its shuffling and sorting).
///
/// # Errors
///
/// A row does not fit the model, or `progress` ended the run.
pub fn cls_embeddings<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &EmbedOptions,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Embeddings, Error> {
    let tokens = rows.iter().map(|&row| reader.tokens(row)).collect::<Result<Vec<_>, _>>()?;
    let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
    let k = options.layer.hidden_state(encoder.n_layers())?;
    let d_model = encoder.embeddings.layer_norm.gamma.dims()[0];
    let mut values = Array2::zeros((rows.len(), d_model));
    let cls_rows = |batch: &Vec<usize>| {
        let cells: Vec<&[i32]> = batch.iter().map(|&i| &*tokens[i]).collect();
        host_rows(encoder.cls_state(&reader.input(&cells, device), k))
    };
    let mut done = 0;
    let batches = batches_by_length(&lengths, options.tokens_per_batch);
    for round in batches.chunks(options.batches_at_once.max(1)) {
        let states: Vec<Vec<f32>> = round.par_iter().map(cls_rows).collect();
        for (&i, state) in round.iter().flatten().zip(states.concat().chunks(d_model)) {
            values.row_mut(i).assign(&ndarray::aview1(state));
        }
        done += round.iter().map(Vec::len).sum::<usize>();
        if progress(Progress { done, total: rows.len() }).is_break() && done < rows.len() {
            return Err(Error::Interrupted { done, total: rows.len() });
        }
    }
    if let Some(place) =
        values.rows().into_iter().position(|row| !row.iter().all(|x| x.is_finite()))
    {
        let (path, row) = (reader.dataset().path().to_owned(), rows[place]);
        return Err(Error::NotFinite { path, row, cell_id: reader.dataset().cell_id(row)? });
    }
    let cell_ids =
        rows.iter().map(|&row| reader.dataset().cell_id(row)).collect::<Result<_, _>>()?;
    Ok(Embeddings { cell_ids, values })
}

/// The rows of a matrix in host memory, one after another.
fn host_rows<B: Backend>(matrix: Tensor<B, 2>) -> Vec<f32> {
    matrix.into_data().iter::<f32>().collect()
}

/// Indices of `lengths` in batches whose padded size stays within
/// `tokens_per_batch`: longest first, equal lengths in their given order.
///
/// ```
/// let batches = gf_embed::batches_by_length(&[3, 9, 4, 9], 12);
/// assert_eq!(batches, [vec![1], vec![3], vec![2, 0]]);
/// ```
pub fn batches_by_length(lengths: &[usize], tokens_per_batch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut rest = order.as_slice();
    let mut batches = Vec::new();
    while let Some(&longest) = rest.first() {
        let n_rows = (tokens_per_batch / lengths[longest].max(1)).clamp(1, rest.len());
        let (batch, later) = rest.split_at(n_rows);
        batches.push(batch.to_vec());
        rest = later;
    }
    batches
}
