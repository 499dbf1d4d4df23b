//! What perturbations do to cells, and to which genes that adds up.

use std::collections::BTreeMap;

use gf_tokenize::TokenId;

/// Every perturbation done in one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellShifts {
    /// Row of the data set, 0-based.
    pub row: usize,
    /// The cell's id.
    pub cell_id: String,
    /// One entry for each perturbation, in the order of the cell or of the list.
    pub effects: Vec<Effect>,
}

/// What one perturbation does to one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The perturbed genes.
    pub genes: Vec<TokenId>,
    /// Cosine of the cell after to the cell before; 1 is no effect (REFERENCE.md §6.4).
    pub cosine: f64,
    /// For each state: how much nearer, in cosine, the cell comes to it.
    pub shifts: Vec<f64>,
    /// Each remaining gene with the cosine of its state after to that before; empty
    /// where genes are not read.
    pub affected: Vec<(TokenId, f64)>,
}

/// The effect of perturbing one gene, or some together.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneEffect {
    /// The tokens of the genes.
    pub genes: Vec<TokenId>,
    /// Mean of `1 − cosine` over the cells in which they were perturbed.
    pub mean_shift: f64,
    /// Population standard deviation of the same (0 for one cell).
    pub stdev_shift: f64,
    /// Cells in which they were perturbed.
    pub n_detections: usize,
}

/// Gathers effects by genes, the largest mean shift first, equal ones by token.
///
/// A gene seen in few cells can stand first by chance: read `n_detections` with it.
pub fn rank<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Vec<GeneEffect> {
    let mut by_genes: BTreeMap<&[TokenId], Vec<f64>> = BTreeMap::new();
    for effect in effects {
        by_genes.entry(&effect.genes).or_default().push(1.0 - effect.cosine);
    }
    let mut effects: Vec<GeneEffect> =
        by_genes.into_iter().map(|(genes, shifts)| gene_effect(genes, &shifts)).collect();
    effects.sort_by(|a, b| b.mean_shift.total_cmp(&a.mean_shift));
    effects
}

fn gene_effect(genes: &[TokenId], shifts: &[f64]) -> GeneEffect {
    let (mean_shift, stdev_shift) = mean_and_stdev(shifts);
    GeneEffect { genes: genes.to_vec(), mean_shift, stdev_shift, n_detections: shifts.len() }
}

/// Mean and population standard deviation.
pub(crate) fn mean_and_stdev(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}
