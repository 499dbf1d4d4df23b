//! From rows of tokens to one vector per cell.

use std::{borrow::Cow, ops::ControlFlow};

use burn::tensor::{Tensor, backend::Backend};
use gf_model::{Encoder, Projection};
use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use crate::{CellReader, Embeddings, Error, Readout};

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
    /// What of it becomes a cell's embedding.
    pub readout: Readout,
    /// Most tokens in one batch, padding included; a longer cell goes alone.
    pub tokens_per_batch: usize,
    /// Batches computed at the same time: 1 on a GPU, which one batch fills; one per
    /// core on a CPU, where many operations use a single core.
    pub batches_at_once: usize,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            layer: EmbedLayer::default(),
            readout: Readout::default(),
            tokens_per_batch: 8_192,
            batches_at_once: 1,
        }
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

/// The embedding of each row, in the order of `rows` (`EmbExtractor` of the reference's
/// `emb_extractor.py` with `emb_mode` cls or cell, without its shuffling and sorting).
///
/// # Errors
///
/// A row does not fit the model or the readout, an embedding is not finite, or
/// `progress` ended the run.
pub fn embed_cells<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &EmbedOptions,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Embeddings, Error> {
    let tokens = cells(reader, rows, options.readout)?;
    let k = options.layer.hidden_state(encoder.n_layers())?;
    let d_model = encoder.embeddings.layer_norm.gamma.dims()[0];
    let mut values = Array2::zeros((rows.len(), d_model));
    let embed = |batch: &[usize]| {
        let cells: Vec<&[i32]> = batch.iter().map(|&i| &*tokens[i]).collect();
        let genes: Vec<_> = cells.iter().map(|tokens| reader.genes(tokens)).collect();
        let input = reader.input(&cells, device);
        host_values(options.readout.embed(encoder, &input, &genes, k))
    };
    for_each_batch(&tokens, options, progress, embed, |batch, states| {
        for (&i, state) in batch.iter().zip(states.chunks(d_model)) {
            values.row_mut(i).assign(&ndarray::aview1(state));
        }
        Ok(())
    })?;
    check_finite(reader, rows, &values)?;
    let cell_ids =
        rows.iter().map(|&row| reader.dataset().cell_id(row)).collect::<Result<_, _>>()?;
    Ok(Embeddings { cell_ids, values })
}

/// The tokens of each row, fit for the readout.
fn cells<'a>(
    reader: &CellReader<'a>,
    rows: &[usize],
    readout: Readout,
) -> Result<Vec<Cow<'a, [i32]>>, Error> {
    if readout == Readout::Cls {
        reader.require_cls()?;
    }
    let cell = |&row: &usize| {
        let tokens = reader.tokens(row)?;
        if readout == Readout::Cell && reader.genes(&tokens).is_empty() {
            let (path, cell_id) = (reader.dataset().path().to_owned(), reader.cell_id(row)?);
            return Err(Error::NoGenes { path, row, cell_id });
        }
        Ok(tokens)
    };
    rows.iter().map(cell).collect()
}

/// Computes the cells in batches of similar length, some at a time, and takes what
/// `compute` made of each batch in a fixed order.
pub(crate) fn for_each_batch<T: Send>(
    tokens: &[Cow<'_, [i32]>],
    options: &EmbedOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    compute: impl Fn(&[usize]) -> T + Sync,
    mut take: impl FnMut(&[usize], T) -> Result<(), Error>,
) -> Result<(), Error> {
    let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
    let (mut done, total) = (0, tokens.len());
    let batches = batches_by_length(&lengths, options.tokens_per_batch);
    for round in batches.chunks(options.batches_at_once.max(1)) {
        let states: Vec<T> = round.par_iter().map(|batch| compute(batch)).collect();
        for (batch, states) in round.iter().zip(states) {
            take(batch, states)?;
            done += batch.len();
        }
        if progress(Progress { done, total }).is_break() && done < total {
            return Err(Error::Interrupted { done, total });
        }
    }
    Ok(())
}

/// Refuses values that are not finite; `rows` says which cell each is of.
pub(crate) fn check_finite(
    reader: &CellReader<'_>,
    rows: &[usize],
    values: &Array2<f32>,
) -> Result<(), Error> {
    let is_finite = |row: ArrayView1<'_, f32>| row.iter().all(|x| x.is_finite());
    match values.rows().into_iter().position(|row| !is_finite(row)) {
        None => Ok(()),
        Some(place) => Err(reader.not_finite(rows[place])),
    }
}

/// The values of a tensor in host memory, row by row.
pub(crate) fn host_values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
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
