//! One cell: its variants read in batches and compared with what it was.

use std::collections::{BTreeMap, btree_map::Entry};

use burn::tensor::{Tensor, backend::Backend};
use gf_embed::CellReader;
use gf_model::{Deletions, Encoder, Projection};
use rayon::prelude::*;

use crate::{
    CellShifts, Effect, Error, PerturbOptions,
    perturbation::{Edit, Variant},
    readout::{CellState, effect},
    run::variants,
};

/// Fewer deletions share nothing: the shared attention of a cell is as much work as that
/// of four deletions at most, where they are spread over all of it.
const MIN_SHARED: usize = 4;
/// Batches whose first attention is computed together: more of them share more, and hold
/// more memory.
pub const SHARED_BATCHES: usize = 4;

/// Takes a number of forward passes done; an error ends the run.
pub type Report<'a> = &'a mut dyn FnMut(u64) -> Result<(), Error>;

/// What every cell of a run shares.
pub struct Perturber<'a, B: Backend, P> {
    pub encoder: &'a Encoder<B, P>,
    pub reader: &'a CellReader<'a>,
    pub options: &'a PerturbOptions,
    pub device: &'a B::Device,
    /// The hidden state that is read.
    pub state: usize,
}

/// What every variant of a cell shares.
struct Cell<'a, B: Backend, P> {
    tokens: &'a [i32],
    variants: &'a [Variant],
    /// The cell before, by how many genes it lost.
    originals: BTreeMap<usize, CellState>,
    /// The deletions, with the position of each variant's gene, where they share work.
    deletions: Option<(Deletions<'a, B, P>, Vec<usize>)>,
    /// Most variants in a batch.
    per_batch: usize,
}

impl<B: Backend, P: Projection<B>> Perturber<'_, B, P> {
    /// A cell, and how many forward passes it took.
    pub fn counted_cell(&self, row: usize) -> Result<(CellShifts, u64), Error> {
        let mut n_passes = 0;
        let mut count = |n: u64| {
            n_passes += n;
            Ok(())
        };
        let cell = self.cell(row, &mut count)?;
        Ok((cell, n_passes))
    }

    /// A cell, its effects in the order of its variants.
    pub fn cell(&self, row: usize, report: Report<'_>) -> Result<CellShifts, Error> {
        let tokens = self.reader.tokens(row)?;
        let variants = variants(&tokens, self.reader, self.options);
        let longest = variants.iter().map(|v| v.n_genes).max().unwrap_or(0);
        let n_special = tokens.len() - self.reader.genes(&tokens).len();
        let deletions = self.deletions(&tokens, &variants);
        let cell = Cell {
            originals: self.originals(&tokens, &variants, deletions.as_ref(), report)?,
            deletions,
            per_batch: (self.options.tokens_per_batch / (longest + n_special).max(1)).max(1),
            tokens: &tokens,
            variants: &variants,
        };
        let effects = self.effects(&cell, report)?;
        let cell_id = self.reader.dataset().cell_id(row)?;
        if effects.iter().any(|effect| !effect.cosine.is_finite()) {
            return Err(Error::NotFinite { row, cell_id });
        }
        Ok(CellShifts { row, cell_id, effects })
    }

    fn originals(
        &self,
        tokens: &[i32],
        variants: &[Variant],
        deletions: Option<&(Deletions<'_, B, P>, Vec<usize>)>,
        report: Report<'_>,
    ) -> Result<BTreeMap<usize, CellState>, Error> {
        let genes = self.reader.genes(tokens);
        let mut originals = BTreeMap::new();
        for variant in variants {
            if let Entry::Vacant(place) = originals.entry(variant.n_cut) {
                let original = [variant.original(tokens, genes.clone())];
                let hidden = match deletions {
                    None => self.hidden(&original),
                    Some((deletions, _)) => self.whole(deletions),
                };
                place.insert(self.states(hidden, &original).remove(0));
                report(1)?;
            }
        }
        Ok(originals)
    }

    /// The shared part of the variants' work, if each is the whole cell without one token.
    fn deletions<'c>(
        &'c self,
        tokens: &'c [i32],
        variants: &[Variant],
    ) -> Option<(Deletions<'c, B, P>, Vec<usize>)> {
        let PerturbOptions { edit, shares_first_layer, .. } = *self.options;
        if !shares_first_layer || edit != Edit::Delete || variants.len() < MIN_SHARED {
            return None;
        }
        let positions = variants.iter().map(|v| v.position(tokens)).collect::<Option<_>>()?;
        Some((Deletions::new(self.encoder, tokens, self.device)?, positions))
    }

    fn effects(&self, cell: &Cell<'_, B, P>, report: Report<'_>) -> Result<Vec<Effect>, Error> {
        let mut order: Vec<usize> = (0..cell.variants.len()).collect();
        let mut per_group = cell.per_batch;
        if let Some((_, positions)) = &cell.deletions {
            // Neighbours share most.
            order.sort_by_key(|&variant| positions[variant]);
            per_group *= SHARED_BATCHES;
        }
        let per_round = cell.per_batch * self.options.batches_at_once.max(1);
        let mut effects = Vec::with_capacity(order.len());
        for round in order.chunks(per_round.next_multiple_of(per_group)) {
            let groups = round.par_chunks(per_group).map(|group| self.group(cell, group));
            let groups: Vec<Vec<Effect>> = groups.collect();
            effects.extend(round.iter().zip(groups.into_iter().flatten()));
            report(round.len() as u64)?;
        }
        effects.sort_by_key(|&(variant, _)| variant);
        Ok(effects.into_iter().map(|(_, effect)| effect).collect())
    }

    /// The effects of some variants, given by their numbers, batch by batch.
    fn group(&self, cell: &Cell<'_, B, P>, group: &[usize]) -> Vec<Effect> {
        let without = cell.deletions.as_ref().map(|(deletions, positions)| {
            let positions: Vec<usize> = group.iter().map(|&variant| positions[variant]).collect();
            deletions.without(&positions)
        });
        let batches = group.par_chunks(cell.per_batch).enumerate();
        let effects = batches.flat_map_iter(|(i, batch)| {
            let rows = self.rows(cell, batch);
            let hidden = match &without {
                None => self.hidden(&rows),
                Some(without) => {
                    let first = i * cell.per_batch;
                    let range = first..first + batch.len();
                    match self.options.needs_rows() {
                        true => without.hidden_state(range, self.state),
                        false => without.cls_state(range, self.state).unsqueeze_dim(1),
                    }
                }
            };
            self.compare(cell, batch, &self.states(hidden, &rows))
        });
        effects.collect()
    }

    /// The tokens of variants.
    fn rows(&self, cell: &Cell<'_, B, P>, batch: &[usize]) -> Vec<Vec<i32>> {
        let genes = self.reader.genes(cell.tokens);
        let variants = batch.iter().map(|&variant| &cell.variants[variant]);
        variants.map(|v| v.tokens(self.options.edit, cell.tokens, genes.clone())).collect()
    }

    /// What is read of rows of tokens: their hidden states
    /// `[batch_size, seq_length, d_model]`, or that of CLS `[batch_size, 1, d_model]`.
    fn hidden(&self, rows: &[Vec<i32>]) -> Tensor<B, 3> {
        let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
        let input = self.reader.input(&rows, self.device);
        match self.options.needs_rows() {
            true => self.encoder.hidden_state(&input, self.state),
            false => self.encoder.cls_state(&input, self.state).unsqueeze_dim(1),
        }
    }

    /// [`hidden`](Self::hidden) of the whole cell, computed as its deletions.
    fn whole(&self, deletions: &Deletions<'_, B, P>) -> Tensor<B, 3> {
        match self.options.needs_rows() {
            true => deletions.whole_hidden_state(self.state),
            false => deletions.whole_cls_state(self.state).unsqueeze_dim(1),
        }
    }

    /// The state of each row of tokens.
    fn states(&self, hidden: Tensor<B, 3>, rows: &[Vec<i32>]) -> Vec<CellState> {
        let [_, n_rows, d_model] = hidden.dims();
        let values: Vec<f32> = hidden.into_data().iter::<f32>().collect();
        let cells = values.chunks(n_rows * d_model).zip(rows);
        let state = |(values, tokens): (&[f32], &Vec<i32>)| {
            CellState::new(values, d_model, tokens, self.reader.genes(tokens), self.options)
        };
        cells.map(state).collect()
    }

    fn compare(&self, cell: &Cell<'_, B, P>, batch: &[usize], after: &[CellState]) -> Vec<Effect> {
        let variants = batch.iter().map(|&variant| &cell.variants[variant]);
        let effect = |(variant, after): (&Variant, &CellState)| {
            effect(&variant.group, &cell.originals[&variant.n_cut], after, self.options)
        };
        variants.zip(after).map(effect).collect()
    }
}
