//! What a deletion does to cells, and to which genes that adds up.

use std::collections::BTreeMap;

use gf_tokenize::TokenId;

/// Every deletion done in one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellShifts {
    /// Row of the data set, 0-based.
    pub row: usize,
    /// The cell's id.
    pub cell_id: String,
    /// The deleted genes, highest rank first.
    pub genes: Vec<TokenId>,
    /// Cosine of the cell's embedding without the gene to that with it; 1 is no effect.
    pub cosines: Vec<f64>,
}

/// The effect of deleting one gene.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneEffect {
    /// The gene's token.
    pub gene: TokenId,
    /// Mean of `1 − cosine` over the cells in which the gene was deleted.
    pub mean_shift: f64,
    /// Population standard deviation of the same (0 for one cell).
    pub stdev_shift: f64,
    /// Cells in which the gene was detected and deleted.
    pub n_detections: usize,
}

/// Gathers shifts by gene, the largest mean shift first, equal ones by token.
///
/// A gene seen in few cells can stand first by chance: read `n_detections` with it.
pub fn rank(cells: &[CellShifts]) -> Vec<GeneEffect> {
    let mut by_gene: BTreeMap<TokenId, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        for (&gene, cosine) in cell.genes.iter().zip(&cell.cosines) {
            by_gene.entry(gene).or_default().push(1.0 - cosine);
        }
    }
    let mut effects: Vec<GeneEffect> =
        by_gene.into_iter().map(|(gene, shifts)| effect(gene, &shifts)).collect();
    effects.sort_by(|a, b| b.mean_shift.total_cmp(&a.mean_shift));
    effects
}

fn effect(gene: TokenId, shifts: &[f64]) -> GeneEffect {
    let n = shifts.len() as f64;
    let mean_shift = shifts.iter().sum::<f64>() / n;
    let variance = shifts.iter().map(|shift| (shift - mean_shift).powi(2)).sum::<f64>() / n;
    GeneEffect { gene, mean_shift, stdev_shift: variance.sqrt(), n_detections: shifts.len() }
}
