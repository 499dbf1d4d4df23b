//! Perturbing cells and reading them again.

use std::{collections::BTreeSet, ops::ControlFlow};

use burn::tensor::backend::Backend;
use gf_embed::{CellReader, EmbedLayer, Readout, StateEmbeddings};
use gf_model::{Encoder, Projection};
use rayon::prelude::*;

use crate::{
    CellShifts, Error,
    perturbation::{Edit, Targets, Variant},
    perturber::Perturber,
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
    /// Whether deletions of single genes share the first layer, where that saves work and
    /// the backend can ([`gf_model::Deletions`]): the same numbers but for rounding.
    pub shares_first_layer: bool,
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
            shares_first_layer: true,
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
