//! Contextual embeddings of genes: the hidden state at each gene of each cell, or their
//! mean over the cells (`emb_mode="gene"` of the reference, REFERENCE.md §5.3).

use std::{collections::BTreeMap, ops::ControlFlow};

use burn::tensor::backend::Backend;
use gf_model::{Encoder, Projection};
use gf_tokenize::TokenId;
use ndarray::{Array1, Array2};

use crate::{
    CellReader, EmbedOptions, Error, Progress,
    extract::{check_finite, for_each_batch, host_values},
};

/// Which tokens of a cell are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GeneTokens {
    /// The genes.
    #[default]
    Genes,
    /// CLS and EOS as well, as the reference does.
    All,
}

/// The hidden states of tokens of some cells, in the order of the cells and, in a cell,
/// of its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneStates {
    /// The row of the data set each is of.
    pub rows: Vec<usize>,
    /// Its place in the cell, 0-based, CLS counted.
    pub positions: Vec<usize>,
    /// The token there.
    pub tokens: Vec<TokenId>,
    /// `[n_tokens, d_model]`.
    pub values: Array2<f32>,
}

/// The contextual embedding of each gene of each row. Memory grows with the tokens of
/// `rows`: take some rows at a time. The readout of the options plays no part.
///
/// # Errors
///
/// A row does not fit the model, a state is not finite, or `progress` ended the run.
pub fn embed_genes<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    which: GeneTokens,
    options: &EmbedOptions,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<GeneStates, Error> {
    let cells = rows.iter().map(|&row| reader.tokens(row)).collect::<Result<Vec<_>, _>>()?;
    let k = options.layer.hidden_state(encoder.n_layers())?;
    let d_model = encoder.embeddings.layer_norm.gamma.dims()[0];
    let mut states = places(reader, rows, &cells, which);
    let starts: Vec<usize> = (0..rows.len())
        .scan(0, |end, i| {
            let start = *end;
            *end += span(reader, &cells[i], which).len();
            Some(start)
        })
        .collect();
    let mut values = Array2::zeros((states.tokens.len(), d_model));
    let embed = |batch: &[usize]| {
        let cells: Vec<&[i32]> = batch.iter().map(|&i| &*cells[i]).collect();
        host_values(encoder.hidden_state(&reader.input(&cells, device), k))
    };
    for_each_batch(&cells, options, progress, embed, |batch, hidden| {
        let per_cell = hidden.len() / batch.len();
        for (&i, hidden) in batch.iter().zip(hidden.chunks(per_cell)) {
            let hidden: Vec<&[f32]> = hidden.chunks(d_model).collect();
            for (at, position) in span(reader, &cells[i], which).enumerate() {
                values.row_mut(starts[i] + at).assign(&ndarray::aview1(hidden[position]));
            }
        }
        Ok(())
    })?;
    check_finite(reader, &states.rows, &values)?;
    states.values = values;
    Ok(states)
}

fn span(reader: &CellReader<'_>, tokens: &[i32], which: GeneTokens) -> std::ops::Range<usize> {
    match which {
        GeneTokens::Genes => reader.genes(tokens),
        GeneTokens::All => 0..tokens.len(),
    }
}

/// Which tokens the states are of, in order.
fn places(
    reader: &CellReader<'_>,
    rows: &[usize],
    cells: &[std::borrow::Cow<'_, [i32]>],
    which: GeneTokens,
) -> GeneStates {
    let places = rows.iter().zip(cells).flat_map(|(&row, cell)| {
        span(reader, cell, which).map(move |position| (row, position, cell[position]))
    });
    let mut states = GeneStates {
        rows: vec![],
        positions: vec![],
        tokens: vec![],
        values: Array2::zeros((0, 0)),
    };
    for (row, position, token) in places {
        states.rows.push(row);
        states.positions.push(position);
        states.tokens.push(TokenId(token as u32));
    }
    states
}

/// The mean of each gene's contextual embeddings: the reference's
/// `gene_emb_style="mean_pool"`. Summed in 64 bits in the order they come, so that the
/// same cells give the same mean. Memory grows with the genes, not with the cells.
#[derive(Debug, Clone, Default)]
pub struct GeneMeans(BTreeMap<TokenId, (u64, Array1<f64>)>);

impl GeneMeans {
    /// Adds states.
    pub fn add(&mut self, states: &GeneStates) {
        let d_model = states.values.ncols();
        for (&token, state) in states.tokens.iter().zip(states.values.rows()) {
            let (n, sum) = self.0.entry(token).or_insert_with(|| (0, Array1::zeros(d_model)));
            *n += 1;
            sum.zip_mut_with(&state, |sum, &x| *sum += f64::from(x));
        }
    }

    /// Each token with how often it was added and its mean, by number of the token.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, u64, Array1<f32>)> {
        self.0.iter().map(|(&token, (n, sum))| (token, *n, sum.mapv(|x| (x / *n as f64) as f32)))
    }

    /// Each token's count and sums.
    pub(crate) fn sums(&self) -> &BTreeMap<TokenId, (u64, Array1<f64>)> {
        &self.0
    }

    /// What [`sums`](Self::sums) gave.
    pub(crate) fn from_sums(sums: BTreeMap<TokenId, (u64, Array1<f64>)>) -> Self {
        Self(sums)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
