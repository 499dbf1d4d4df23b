//! The table of genes, each averaged over the cells.

use std::time::{Duration, Instant};

use burn::tensor::backend::Backend;
use gf_corpus::Annotation;
use gf_embed::{GeneMeans, KeptMeans, TableHeader, TableRows};
use gf_model::Projection;
use ndarray::Array2;

use super::{CELLS_PER_GENE_BLOCK, Embedding, Written, engine::Engine, output::Output};
use crate::failure::Failure;

/// Least time between two copies of the means on disk, each of all genes: the work that a
/// kill loses, beside that on the cells at hand.
const BETWEEN_COPIES: Duration = Duration::from_secs(30);

impl Embedding<'_> {
    /// Embeds the genes of the cells, and writes their means.
    pub(super) fn write_means<B: Backend, P: Projection<B>>(
        &self,
        engine: &Engine<'_, B, P>,
    ) -> Result<Written, Failure> {
        let width = engine.width();
        let mut kept = KeptMeans::open(&self.args.output, &self.key()?, width)?;
        let n_resumed = kept.n_cells;
        let mut meter = self.shell.progress("embedding", "cells");
        let total = self.rows.len() as u64;
        let (mut copied, mut cosines) = (None::<Instant>, Vec::new());
        let rest = self.rows.get(n_resumed..).unwrap_or_default();
        for rows in rest.chunks(CELLS_PER_GENE_BLOCK) {
            let done = kept.n_cells;
            let states = engine.genes(rows, &mut |progress| {
                meter.update((done + progress.done) as u64, total, "")
            });
            let (states, agreement) = match states {
                Ok(states) => states,
                Err(error) => {
                    kept.keep()?;
                    return Err(self.interrupted(error, done));
                }
            };
            kept.means.add(&states);
            kept.n_cells += rows.len();
            cosines.extend(agreement);
            if copied.is_none_or(|at| at.elapsed() >= BETWEEN_COPIES) {
                kept.keep()?;
                copied = Some(Instant::now());
            }
        }
        self.write_means_table(&kept.means, width)?;
        let n_rows = kept.means.len();
        kept.remove()?;
        Ok(Written { n_rows, width, n_resumed, cosines })
    }

    fn write_means_table(&self, means: &GeneMeans, width: usize) -> Result<(), Failure> {
        let is_reference = self.args.rows.is_reference();
        let names = if is_reference { &[""][..] } else { &["gene", "symbol", "n_cells"] };
        let header = TableHeader::new(names.iter().copied(), width);
        let mut table = Output::create(self.format, &self.args.output, &header)?;
        let annotation = Annotation::shipped()?;
        let mut values = Array2::zeros((0, width));
        let mut columns = vec![Vec::new(); names.len()];
        for (token, n, mean) in means.iter() {
            let (gene, symbol) = self.gene(token, annotation);
            values.push_row(mean.view())?;
            columns.iter_mut().zip([gene, symbol, n.to_string()]).for_each(|(c, x)| c.push(x));
        }
        table.push(&TableRows { names: columns, values: values.view(), labels: vec![] })?;
        table.finish()
    }
}
