//! Deleting genes from cells and reading the cells again.

use std::{collections::BTreeSet, ops::ControlFlow};

use burn::tensor::backend::Backend;
use gf_embed::{CellReader, EmbedLayer, similarity::cosine};
use gf_model::{Encoder, Projection};
use gf_tokenize::TokenId;
use rayon::prelude::*;

use crate::{
    CellShifts, Error,
    perturbation::{delete, gene_positions},
};

/// Which genes are deleted, and how the cells are read.
#[derive(Debug, Clone)]
pub struct PerturbOptions {
    /// The layer whose CLS row is compared.
    pub layer: EmbedLayer,
    /// Genes to delete one at a time; `None` deletes every gene of each cell.
    pub genes: Option<BTreeSet<TokenId>>,
    /// Most tokens in one batch of variants; at least one variant goes at a time.
    pub tokens_per_batch: usize,
    /// Batches computed at the same time: 1 on a GPU, one per core on a CPU.
    pub batches_at_once: usize,
}

impl Default for PerturbOptions {
    fn default() -> Self {
        Self {
            layer: EmbedLayer::default(),
            genes: None,
            tokens_per_batch: 4_096,
            batches_at_once: 1,
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

/// Deletes the chosen genes, each by itself, from each of the cells at `rows`
/// (`InSilicoPerturber(perturb_type="delete", emb_mode="cls")` of the reference's
/// `in_silico_perturber.py`). Cells without any of the genes give an empty entry.
///
/// # Errors
///
/// A row does not fit the model, there is nothing to delete, or `progress` ended
/// the run.
pub fn run<B: Backend, P: Projection<B>>(
    encoder: &Encoder<B, P>,
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &PerturbOptions,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<CellShifts>, Error> {
    let total = count_passes(reader, rows, options)?;
    if total == 0 {
        let n_genes = options.genes.as_ref().map_or(0, BTreeSet::len);
        return Err(Error::NothingToDelete { n_genes, n_cells: rows.len() });
    }
    let state = options.layer.hidden_state(encoder.n_layers())?;
    let deleter = Deleter { encoder, reader, options, device, state };
    let mut done = 0;
    let mut report = |n_passes: u64| {
        done += n_passes;
        match progress(Progress { done, total }).is_break() && done < total {
            true => Err(Error::Interrupted { done, total }),
            false => Ok(()),
        }
    };
    rows.iter().map(|&row| deleter.cell(row, &mut report)).collect()
}

/// Forward passes that [`run`] makes: one per deletion and one per cell.
///
/// # Errors
///
/// A row does not fit the model.
pub fn count_passes(
    reader: &CellReader<'_>,
    rows: &[usize],
    options: &PerturbOptions,
) -> Result<u64, Error> {
    reader.require_cls()?;
    let mut total = 0;
    for &row in rows {
        match positions(&reader.tokens(row)?, reader, options).len() as u64 {
            0 => {}
            n_deletions => total += n_deletions + 1,
        }
    }
    Ok(total)
}

fn positions(tokens: &[i32], reader: &CellReader<'_>, options: &PerturbOptions) -> Vec<usize> {
    let eos = reader.vocabulary().special().eos.map(|eos| eos.0 as i32);
    let chosen = |position: &usize| match &options.genes {
        None => true,
        Some(genes) => genes.contains(&TokenId(tokens[*position] as u32)),
    };
    gene_positions(tokens, eos).filter(chosen).collect()
}

/// Takes a number of forward passes done; an error ends the run.
type Report<'a> = &'a mut dyn FnMut(u64) -> Result<(), Error>;

/// What every cell of a run shares.
struct Deleter<'a, B: Backend, P> {
    encoder: &'a Encoder<B, P>,
    reader: &'a CellReader<'a>,
    options: &'a PerturbOptions,
    device: &'a B::Device,
    /// The hidden state whose CLS row is read.
    state: usize,
}

impl<B: Backend, P: Projection<B>> Deleter<'_, B, P> {
    fn cell(&self, row: usize, report: Report<'_>) -> Result<CellShifts, Error> {
        let tokens = self.reader.tokens(row)?;
        let positions = positions(&tokens, self.reader, self.options);
        let genes = positions.iter().map(|&position| TokenId(tokens[position] as u32)).collect();
        let cosines = self.cosines(&tokens, &positions, report)?;
        Ok(CellShifts { row, cell_id: self.reader.dataset().cell_id(row)?, genes, cosines })
    }

    fn cosines(
        &self,
        tokens: &[i32],
        positions: &[usize],
        report: Report<'_>,
    ) -> Result<Vec<f64>, Error> {
        let mut cosines = Vec::with_capacity(positions.len());
        if positions.is_empty() {
            return Ok(cosines);
        }
        let original = self.cls_rows(&[tokens.to_vec()]).concat();
        report(1)?;
        let variants_per_batch = (self.options.tokens_per_batch / tokens.len()).max(1);
        let batch_cosines = |batch: &[usize]| -> Vec<f64> {
            let variants: Vec<Vec<i32>> =
                batch.iter().map(|&position| delete(tokens, position)).collect();
            self.cls_rows(&variants).iter().map(|state| cosine(state, &original)).collect()
        };
        for round in positions.chunks(variants_per_batch * self.options.batches_at_once.max(1)) {
            let batches: Vec<Vec<f64>> =
                round.par_chunks(variants_per_batch).map(batch_cosines).collect();
            cosines.extend(batches.concat());
            report(round.len() as u64)?;
        }
        Ok(cosines)
    }

    /// The CLS embedding of each variant.
    fn cls_rows(&self, variants: &[Vec<i32>]) -> Vec<Vec<f32>> {
        let rows: Vec<&[i32]> = variants.iter().map(Vec::as_slice).collect();
        let input = self.reader.input(&rows, self.device);
        let states = self.encoder.cls_state(&input, self.state);
        let [_, d_model] = states.dims();
        let states: Vec<f32> = states.into_data().iter::<f32>().collect();
        states.chunks(d_model).map(<[f32]>::to_vec).collect()
    }
}
