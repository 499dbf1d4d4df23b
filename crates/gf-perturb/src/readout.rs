//! What is compared of a cell before and after (REFERENCE.md §6.4).

use std::ops::Range;

use gf_embed::{Readout, similarity::cosine};
use gf_tokenize::TokenId;

use crate::{Effect, PerturbOptions};

/// A cell as the model sees it.
pub(crate) struct CellState {
    /// What stands for the cell, `[d_model]`.
    embedding: Vec<f32>,
    /// Its genes, and the state of each; empty where CLS alone is read.
    genes: Vec<i32>,
    rows: Vec<f32>,
}

impl CellState {
    /// Takes what is read from the hidden states of a row of tokens.
    ///
    /// # Shapes
    ///
    /// - `hidden` `[seq_length, d_model]`, or `[1, d_model]` of CLS alone
    pub fn new(
        hidden: &[f32],
        d_model: usize,
        tokens: &[i32],
        genes: Range<usize>,
        options: &PerturbOptions,
    ) -> Self {
        if !options.needs_rows() {
            return Self { embedding: hidden.to_vec(), genes: Vec::new(), rows: Vec::new() };
        }
        let rows = &hidden[genes.start * d_model..genes.end * d_model];
        let embedding = match options.readout {
            Readout::Cls => hidden[..d_model].to_vec(),
            Readout::Cell => mean(rows, d_model),
        };
        Self { embedding, genes: tokens[genes].to_vec(), rows: rows.to_vec() }
    }

    /// The genes that are not in `group`, each with its state.
    fn others<'a>(&'a self, group: &'a [i32]) -> impl Iterator<Item = (i32, &'a [f32])> {
        let d_model = self.embedding.len();
        let genes = self.genes.iter().copied().zip(self.rows.chunks(d_model));
        genes.filter(|(gene, _)| !group.contains(gene))
    }
}

fn mean(rows: &[f32], d_model: usize) -> Vec<f32> {
    let n_rows = (rows.len() / d_model) as f64;
    let mut sums = vec![0.0f64; d_model];
    for row in rows.chunks(d_model) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| (sum / n_rows) as f32).collect()
}

/// Compares a cell before and after the perturbation of `group`. Genes are paired in
/// their order, which no edit changes among those that are not in the group.
pub(crate) fn effect(
    group: &[i32],
    before: &CellState,
    after: &CellState,
    options: &PerturbOptions,
) -> Effect {
    let pairs = after.others(group).zip(before.others(group));
    let affected: Vec<(TokenId, f64)> = pairs
        .map(|((gene, after), (_, before))| (TokenId(gene as u32), cosine(after, before)))
        .collect();
    let cosine_to_original = match options.readout {
        Readout::Cls => cosine(&after.embedding, &before.embedding),
        Readout::Cell => affected.iter().map(|(_, c)| c).sum::<f64>() / affected.len() as f64,
    };
    let shift = |state: &[f32]| cosine(&after.embedding, state) - cosine(&before.embedding, state);
    Effect {
        genes: group.iter().map(|&gene| TokenId(gene as u32)).collect(),
        cosine: cosine_to_original,
        shifts: options.states.iter().map(|(_, state)| shift(state)).collect(),
        affected: if options.reads_genes { affected } else { Vec::new() },
    }
}
