//! Statistics over the cells of a run, or of a run of the reference
//! (`in_silico_perturber_stats.py`, REFERENCE.md §6.6).
//!
//! [`Observations`] gathers numbers by perturbed genes; each mode of the reference is
//! one function over them that gives rows, and [`output`](crate::output) writes rows
//! under the reference's column names.

mod combinations;
mod fdr;
mod groups;
mod mixture;
mod modes;
mod python;
mod rank_sum;

use std::collections::BTreeMap;

use gf_tokenize::TokenId;

pub use self::{
    combinations::{Combination, Combinations},
    fdr::benjamini_hochberg,
    groups::{GroupEffect, GroupPair, compare_groups},
    mixture::Mixture,
    modes::{
        AffectedGene, GoalShift, Impact, VersusNull, aggregate_gene_shifts, goal_state_shift,
        mean_shifts, mixture_model, vs_null,
    },
    python::python_sample,
    rank_sum::{Pool, RankPool, RankSum, rank_sum},
};
use crate::Effect;

/// Perturbed genes, in the order in which they were given.
pub type Genes = Vec<TokenId>;

/// All numbers of a run by perturbed genes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observations {
    /// Names of the states that shifts are toward.
    pub states: Vec<String>,
    /// Numbers of cells.
    pub cells: BTreeMap<Genes, CellNumbers>,
    /// Cosines of each remaining gene.
    pub affected: BTreeMap<Genes, BTreeMap<TokenId, Vec<f64>>>,
}

/// What the perturbation of some genes did to cells, one number per cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CellNumbers {
    /// Cosines to the original; none in results of the reference that have states.
    pub cosines: Vec<f64>,
    /// Shifts toward each state.
    pub shifts: Vec<Vec<f64>>,
}

impl Observations {
    /// No numbers yet.
    pub fn new(states: Vec<String>) -> Self {
        Self { states, ..Self::default() }
    }

    /// Adds one effect in one cell.
    pub fn add(&mut self, effect: &Effect) {
        let cells = self.cells.entry(effect.genes.clone()).or_default();
        cells.cosines.push(effect.cosine);
        cells.shifts.resize(self.states.len(), Vec::new());
        cells.shifts.iter_mut().zip(&effect.shifts).for_each(|(column, &shift)| column.push(shift));
        if effect.affected.is_empty() {
            return;
        }
        let affected = self.affected.entry(effect.genes.clone()).or_default();
        for &(gene, cosine) in &effect.affected {
            affected.entry(gene).or_default().push(cosine);
        }
    }

    /// Adds numbers of cells that were written by the reference: cosines, or with a
    /// state the shifts toward it.
    pub fn add_cells(&mut self, genes: Genes, state: Option<&str>, numbers: &[f64]) {
        let state = state.map(|state| self.state_or_new(state));
        let cells = self.cells.entry(genes).or_default();
        match state {
            None => cells.cosines.extend(numbers),
            Some(state) => {
                let n_states = cells.shifts.len().max(state + 1);
                cells.shifts.resize(n_states, Vec::new());
                cells.shifts[state].extend(numbers);
            }
        }
    }

    /// Adds cosines of a remaining gene.
    pub fn add_affected(&mut self, genes: Genes, gene: TokenId, cosines: &[f64]) {
        self.affected.entry(genes).or_default().entry(gene).or_default().extend(cosines);
    }

    fn state_or_new(&mut self, state: &str) -> usize {
        self.states.iter().position(|known| known == state).unwrap_or_else(|| {
            self.states.push(state.to_owned());
            self.states.len() - 1
        })
    }
}
