//! The modes of the reference's `InSilicoPerturberStats`.

use std::cmp::Ordering;

use gf_tokenize::TokenId;

use super::{Genes, Mixture, Observations, Pool, RankPool, benjamini_hochberg, rank_sum};
use crate::{Error, shift::mean_and_stdev};

/// A false discovery rate below this is called significant.
const SIGNIFICANT: f64 = 0.05;

/// The shift of cells toward states when a gene is perturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct GoalShift {
    /// Place among the genes ordered by token.
    pub index: usize,
    /// The perturbed genes.
    pub genes: Genes,
    /// Mean shift toward the goal, then toward the alternatives.
    pub shifts: Vec<f64>,
    /// P-value of each.
    pub p_values: Vec<f64>,
    /// False discovery rate of each, over genes.
    pub fdrs: Vec<f64>,
    /// Cells.
    pub n_detections: usize,
}

impl GoalShift {
    /// Whether the shift toward the goal is significant.
    pub fn is_significant(&self) -> bool {
        self.fdrs[0] < SIGNIFICANT
    }
}

/// Tests each gene's shift toward a goal and alternatives against those of the genes in
/// `pool`; significant ones first, then the largest shift toward the goal.
///
/// # Errors
///
/// The observations have no such state.
pub fn goal_state_shift(
    observations: &Observations,
    goal: &str,
    alternatives: &[String],
    pool: Pool,
) -> Result<Vec<GoalShift>, Error> {
    let states = state_indices(observations, goal, alternatives)?;
    let mut rows: Vec<GoalShift> = observations
        .cells
        .iter()
        .enumerate()
        .map(|(index, (genes, cells))| GoalShift {
            index,
            genes: genes.clone(),
            shifts: states.iter().map(|&s| mean(&cells.shifts[s])).collect(),
            p_values: Vec::new(),
            fdrs: Vec::new(),
            n_detections: cells.shifts[states[0]].len(),
        })
        .collect();
    for &state in &states {
        let columns = || observations.cells.values().map(|cells| &cells.shifts[state]);
        let pool = RankPool::new(pool, columns().flatten().copied().collect());
        let p_values: Vec<f64> = columns().map(|shifts| known(pool.test(shifts).p)).collect();
        let fdrs = benjamini_hochberg(&p_values);
        for (row, (p, fdr)) in rows.iter_mut().zip(p_values.into_iter().zip(fdrs)) {
            row.p_values.push(p);
            row.fdrs.push(fdr);
        }
    }
    rows.sort_by(|a, b| {
        let significant = b.is_significant().cmp(&a.is_significant());
        significant.then(b.shifts[0].total_cmp(&a.shifts[0])).then(a.fdrs[0].total_cmp(&b.fdrs[0]))
    });
    Ok(rows)
}

/// The mean shift over all cells and genes toward a goal, then toward alternatives: what
/// the reference gives for a list.
///
/// # Errors
///
/// The observations have no such state.
pub fn mean_shifts(
    observations: &Observations,
    goal: &str,
    alternatives: &[String],
) -> Result<Vec<f64>, Error> {
    let states = state_indices(observations, goal, alternatives)?;
    let all = |state: usize| -> Vec<f64> {
        observations.cells.values().flat_map(|cells| cells.shifts[state].clone()).collect()
    };
    Ok(states.into_iter().map(|state| mean(&all(state))).collect())
}

/// Places of the states; every gene has shifts toward each.
fn state_indices(
    observations: &Observations,
    goal: &str,
    alternatives: &[String],
) -> Result<Vec<usize>, Error> {
    let index = |state: &str| {
        let place = observations.states.iter().position(|known| known == state);
        let has = |&s: &usize| observations.cells.values().all(|cells| cells.shifts.len() > s);
        place.filter(has).ok_or_else(|| Error::NoNumbers {
            what: format!("shifts toward {state} (states: {:?})", observations.states),
            needs: "that state in its state embeddings",
        })
    };
    std::iter::once(goal).chain(alternatives.iter().map(String::as_str)).map(index).collect()
}

/// A gene's cosines in test cells against those in null cells.
#[derive(Debug, Clone, PartialEq)]
pub struct VersusNull {
    /// Place among the genes ordered by token.
    pub index: usize,
    /// The perturbed genes.
    pub genes: Genes,
    /// Mean cosine in the test cells.
    pub test: f64,
    /// Mean cosine in the null cells; NaN where there are none.
    pub null: f64,
    /// P-value of the rank-sum test; 1 where there are no null cells.
    pub p_value: f64,
    /// False discovery rate over genes.
    pub fdr: f64,
    /// Test cells.
    pub n_test: usize,
    /// Null cells.
    pub n_null: usize,
}

impl VersusNull {
    /// How much larger the mean cosine is in the test cells.
    pub fn difference(&self) -> f64 {
        self.test - self.null
    }

    /// Whether the difference is significant.
    pub fn is_significant(&self) -> bool {
        self.fdr < SIGNIFICANT
    }
}

/// Compares the same gene in two runs; significant ones first, then the largest
/// difference.
///
/// # Errors
///
/// One of the runs has no cosines.
pub fn vs_null(test: &Observations, null: &Observations) -> Result<Vec<VersusNull>, Error> {
    check_cosines(test)?;
    check_cosines(null)?;
    let none = Vec::new();
    let row = |(index, (genes, cells)): (usize, (&Genes, &super::CellNumbers))| {
        let null = null.cells.get(genes).map_or(&none, |cells| &cells.cosines);
        VersusNull {
            index,
            genes: genes.clone(),
            test: mean(&cells.cosines),
            null: mean(null),
            p_value: known(rank_sum(&cells.cosines, null).p),
            fdr: 1.0,
            n_test: cells.cosines.len(),
            n_null: null.len(),
        }
    };
    let mut rows: Vec<VersusNull> = test.cells.iter().enumerate().map(row).collect();
    let fdrs = benjamini_hochberg(&rows.iter().map(|row| row.p_value).collect::<Vec<_>>());
    rows.iter_mut().zip(fdrs).for_each(|(row, fdr)| row.fdr = fdr);
    rows.sort_by(|a, b| {
        let significant = b.is_significant().cmp(&a.is_significant());
        significant.then(descending(a.difference(), b.difference())).then(a.fdr.total_cmp(&b.fdr))
    });
    Ok(rows)
}

/// Whether a gene is one of those that matter, by a mixture of two normal distributions.
#[derive(Debug, Clone, PartialEq)]
pub struct Impact {
    /// Place among the genes ordered by token.
    pub index: usize,
    /// The perturbed genes.
    pub genes: Genes,
    /// Mean cosine.
    pub mean_cosine: f64,
    /// Whether it is of the component with the lower mean.
    pub is_impact: bool,
    /// Percent of the cells whose own cosine is.
    pub percent: f64,
    /// Cells.
    pub n_detections: usize,
}

/// Fits a mixture to the mean cosines of genes; those of the lower component first, then
/// the smallest cosine.
///
/// # Errors
///
/// There are no cosines, or of fewer than two genes.
pub fn mixture_model(observations: &Observations) -> Result<Vec<Impact>, Error> {
    check_cosines(observations)?;
    let means: Vec<f64> = observations.cells.values().map(|cells| mean(&cells.cosines)).collect();
    let mixture = Mixture::fit(&means).ok_or_else(|| Error::NoNumbers {
        what: "second gene".to_owned(),
        needs: "at least two genes, each by itself",
    })?;
    let row = |(index, (genes, cells)): (usize, (&Genes, &super::CellNumbers))| {
        let n_lower = cells.cosines.iter().filter(|&&cosine| mixture.is_lower(cosine)).count();
        Impact {
            index,
            genes: genes.clone(),
            mean_cosine: means[index],
            is_impact: mixture.is_lower(means[index]),
            percent: 100.0 * n_lower as f64 / cells.cosines.len() as f64,
            n_detections: cells.cosines.len(),
        }
    };
    let mut rows: Vec<Impact> = observations.cells.iter().enumerate().map(row).collect();
    rows.sort_by(|a, b| {
        b.is_impact.cmp(&a.is_impact).then(a.mean_cosine.total_cmp(&b.mean_cosine))
    });
    Ok(rows)
}

/// What the perturbation of some genes does to a cell, or to another gene.
#[derive(Debug, Clone, PartialEq)]
pub struct AffectedGene {
    /// Place among all rows ordered by tokens, the cell before its genes.
    pub index: usize,
    /// The perturbed genes.
    pub genes: Genes,
    /// The other gene; none for the cell.
    pub affected: Option<TokenId>,
    /// Mean cosine.
    pub mean: f64,
    /// Population standard deviation of the cosines.
    pub stdev: f64,
    /// Cells.
    pub n_detections: usize,
}

/// Mean cosine of each pair of perturbed and affected; cells first, then the smallest
/// cosine.
///
/// # Errors
///
/// There are no cosines.
pub fn aggregate_gene_shifts(observations: &Observations) -> Result<Vec<AffectedGene>, Error> {
    check_cosines(observations)?;
    let mut rows: Vec<AffectedGene> = Vec::new();
    for (genes, cells) in &observations.cells {
        let affected = observations.affected.get(genes).into_iter().flatten();
        let affected = affected.map(|(gene, cosines)| (Some(*gene), cosines));
        for (gene, cosines) in std::iter::once((None, &cells.cosines)).chain(affected) {
            let (mean, stdev) = mean_and_stdev(cosines);
            let (index, n_detections) = (rows.len(), cosines.len());
            let genes = genes.clone();
            rows.push(AffectedGene { index, genes, affected: gene, mean, stdev, n_detections });
        }
    }
    rows.sort_by(|a, b| {
        a.affected.is_some().cmp(&b.affected.is_some()).then(a.mean.total_cmp(&b.mean))
    });
    Ok(rows)
}

fn check_cosines(observations: &Observations) -> Result<(), Error> {
    match observations.cells.values().all(|cells| !cells.cosines.is_empty()) {
        true => Ok(()),
        false => Err(Error::NoNumbers {
            what: "cosines to the original".to_owned(),
            needs: "cosines (the reference writes none with states)",
        }),
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// A p-value; 1 where the test says nothing.
fn known(p: f64) -> f64 {
    if p.is_nan() { 1.0 } else { p }
}

/// Largest first, NaN last.
fn descending(a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then(b.total_cmp(&a))
}
