//! Perturbing cells and reading them again.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::ControlFlow,
};

use burn::tensor::backend::Backend;
use gf_embed::{CellReader, EmbedLayer, Readout, StateEmbeddings};
use gf_model::{Encoder, Projection};
use rayon::prelude::*;

use crate::{
    CellShifts, Error,
    perturbation::{Edit, Targets, Variant},
    readout::{CellState, effect},
};

/// What is done to the cells, and how they are read.
#[derive(Debug, Clone)]
pub struct PerturbOptions {
    /// What is done to genes.
    pub edit: Edit,
    /// To which.
    pub targets: Targets,
    /// The layer that is read.
    pub layer: EmbedLayer,
    /// What of it stands for the cell.
    pub readout: Readout,
    /// Whether each remaining gene is compared as well.
    pub reads_genes: bool,
    /// States toward which shifts are measured.
    pub states: StateEmbeddings,
    /// Most tokens a cell may have: the model's positions.
    pub max_length: usize,
    /// Most tokens in one batch of variants; at least one variant goes at a time.
    pub tokens_per_batch: usize,
    /// Batches computed at the same time: 1 on a GPU, one per core on a CPU.
    pub batches_at_once: usize,
}

impl PerturbOptions {
    /// Deletes every gene of each cell and reads CLS in the second-to-last layer: the
    /// reference's defaults, for a model of `max_length` positions.
    pub fn new(max_length: usize) -> Self {
        Self {
            edit: Edit::Delete,
            targets: Targets::All,
            layer: EmbedLayer::default(),
            readout: Readout::default(),
            reads_genes: false,
            states: StateEmbeddings::default(),
            max_length,
            tokens_per_batch: 4_096,
            batches_at_once: 1,
        }
    }

    /// Whether the rows of genes are read, not that of CLS alone.
    pub(crate) fn needs_rows(&self) -> bool {
        self.reads_genes || self.readout == Readout::Cell
    }

    /// Cells computed at the same time: only where each has few variants.
    fn cells_at_once(&self) -> usize {
        match self.targets {
            Targets::All | Targets::WithAnchor(_) => 1,
            Targets::Each(_) | Targets::Together(_) => self.batches_at_once.max(1),
        }
    }
}

/// Forward passes done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Passes done, over all cells.
    pub done: u64,
    /// Passes in all.
    pub total: u64,
}

/// Perturbs each of the cells at `rows` and hands them to `take` in their order
/// (`InSilicoPerturber` of the reference's `in_silico_perturber.py`). Cells without any
/// of the genes give an entry without effects.
///
/// # Errors
///
/// A row does not fit the model or the states, there is nothing to perturb, `take`
/// fails, or `progress` ended the run.
pub fn run<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &PerturbOptions,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    take: &mut dyn FnMut(CellShifts) -> Result<(), Error>,
) -> Result<(), Error> {
    let total = count_passes(reader, rows, options)?;
    if total == 0 {
        return Err(Error::NothingToPerturb { n_cells: rows.len() });
    }
    check_states(&options.states, encoder.embeddings.layer_norm.gamma.dims()[0])?;
    let state = options.layer.hidden_state(encoder.n_layers())?;
    let perturber = Perturber { encoder, reader, options, device, state };
    let mut done = 0;
    let mut report = |n_passes: u64| {
        done += n_passes;
        match progress(Progress { done, total }).is_break() && done < total {
            true => Err(Error::Interrupted { done, total }),
            false => Ok(()),
        }
    };
    for round in rows.chunks(options.cells_at_once()) {
        if let [row] = round {
            take(perturber.cell(*row, &mut report)?)?;
            continue;
        }
        let cells: Vec<(CellShifts, u64)> =
            round.par_iter().map(|&row| perturber.counted_cell(row)).collect::<Result<_, _>>()?;
        let n_passes = cells.iter().map(|(_, n_passes)| n_passes).sum();
        cells.into_iter().try_for_each(|(cell, _)| take(cell))?;
        report(n_passes)?;
    }
    Ok(())
}

fn check_states(states: &StateEmbeddings, d_model: usize) -> Result<(), Error> {
    match states.iter().find(|(_, vector)| vector.len() != d_model) {
        None => Ok(()),
        Some((state, vector)) => {
            let (state, found) = (state.to_owned(), vector.len());
            Err(Error::StateWidth { state, found, expected: d_model })
        }
    }
}

/// Forward passes that [`run`] makes: one per variant and one per original.
///
/// # Errors
///
/// A row does not fit the model, or there is no CLS token to read.
pub fn count_passes(
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &PerturbOptions,
) -> Result<u64, Error> {
    if options.readout == Readout::Cls {
        reader.require_cls()?;
    }
    let passes = |&row: &usize| Ok(n_passes(&variants(&reader.tokens(row)?, reader, options)));
    rows.par_iter().map(passes).sum()
}

/// The variants, and the original once for each length it is cut to.
fn n_passes(variants: &[Variant]) -> u64 {
    let originals: BTreeSet<usize> = variants.iter().map(|v| v.n_cut).collect();
    (variants.len() + originals.len()) as u64
}

pub(crate) fn variants(
    tokens: &[i32],
    reader: &CellReader<'_>,
    options: &PerturbOptions,
) -> Vec<Variant> {
    let genes = reader.genes(tokens);
    let n_special = tokens.len() - genes.len();
    let genes = &tokens[genes];
    let max_genes = options.max_length.saturating_sub(n_special);
    let groups = options.targets.groups(options.edit, genes).into_iter();
    let variants = groups.map(|group| Variant::new(options.edit, genes, group, max_genes));
    // A cell of which no other gene is left cannot be compared gene by gene.
    let can_be_read = |v: &Variant| {
        options.readout == Readout::Cls
            || v.n_genes > v.group.len()
            || options.edit == Edit::Delete && v.n_genes > 0
    };
    variants.filter(can_be_read).collect()
}

/// Takes a number of forward passes done; an error ends the run.
type Report<'a> = &'a mut dyn FnMut(u64) -> Result<(), Error>;

/// What every cell of a run shares.
struct Perturber<'a, B: Backend, P> {
    encoder: &'a Encoder<B, P>,
    reader: &'a CellReader<'a>,
    options: &'a PerturbOptions,
    device: &'a B::Device,
    /// The hidden state that is read.
    state: usize,
}

impl<B: Backend, P: Projection<B>> Perturber<'_, B, P> {
    fn counted_cell(&self, row: usize) -> Result<(CellShifts, u64), Error> {
        let mut n_passes = 0;
        let mut count = |n: u64| {
            n_passes += n;
            Ok(())
        };
        let cell = self.cell(row, &mut count)?;
        Ok((cell, n_passes))
    }

    fn cell(&self, row: usize, report: Report<'_>) -> Result<CellShifts, Error> {
        let tokens = self.reader.tokens(row)?;
        let variants = variants(&tokens, self.reader, self.options);
        let originals = self.originals(&tokens, &variants, report)?;
        let mut effects = Vec::with_capacity(variants.len());
        let longest = variants.iter().map(|v| v.n_genes).max().unwrap_or(0);
        let n_special = tokens.len() - self.reader.genes(&tokens).len();
        let per_batch = (self.options.tokens_per_batch / (longest + n_special)).max(1);
        for round in variants.chunks(per_batch * self.options.batches_at_once.max(1)) {
            let compare = |batch: &[Variant]| self.compare(&tokens, batch, &originals);
            let batches: Vec<_> = round.par_chunks(per_batch).map(compare).collect();
            effects.extend(batches.into_iter().flatten());
            report(round.len() as u64)?;
        }
        let cell_id = self.reader.dataset().cell_id(row)?;
        if effects.iter().any(|effect: &crate::Effect| !effect.cosine.is_finite()) {
            return Err(Error::NotFinite { row, cell_id });
        }
        Ok(CellShifts { row, cell_id, effects })
    }

    /// The cell before, by how many genes it lost.
    fn originals(
        &self,
        tokens: &[i32],
        variants: &[Variant],
        report: Report<'_>,
    ) -> Result<BTreeMap<usize, CellState>, Error> {
        let genes = self.reader.genes(tokens);
        let mut originals = BTreeMap::new();
        for variant in variants {
            if let Entry::Vacant(place) = originals.entry(variant.n_cut) {
                let original = variant.original(tokens, genes.clone());
                place.insert(self.states(&[original]).remove(0));
                report(1)?;
            }
        }
        Ok(originals)
    }

    fn compare(
        &self,
        tokens: &[i32],
        batch: &[Variant],
        originals: &BTreeMap<usize, CellState>,
    ) -> Vec<crate::Effect> {
        let genes = self.reader.genes(tokens);
        let edited = batch.iter().map(|v| v.tokens(self.options.edit, tokens, genes.clone()));
        let states = self.states(&edited.collect::<Vec<_>>());
        let pairs = batch.iter().zip(&states);
        pairs
            .map(|(v, after)| effect(&v.group, &originals[&v.n_cut], after, self.options))
            .collect()
    }

    /// The state of each row of tokens.
    fn states(&self, rows: &[Vec<i32>]) -> Vec<CellState> {
        let slices: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
        let input = self.reader.input(&slices, self.device);
        let (values, n_rows) = if self.options.needs_rows() {
            let hidden = self.encoder.hidden_state(&input, self.state);
            let [_, seq_length, _] = hidden.dims();
            (hidden.into_data(), seq_length)
        } else {
            (self.encoder.cls_state(&input, self.state).into_data(), 1)
        };
        let values: Vec<f32> = values.iter::<f32>().collect();
        let per_cell = values.len() / rows.len();
        let cells = values.chunks(per_cell).zip(&slices);
        cells
            .map(|(values, tokens)| {
                CellState::new(
                    values,
                    per_cell / n_rows,
                    tokens,
                    self.reader.genes(tokens),
                    self.options,
                )
            })
            .collect()
    }
}
