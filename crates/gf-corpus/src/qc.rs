//! Which cells are kept.

use serde::{Deserialize, Serialize};

use crate::gene::Gene;

/// The paper's filter (Methods, assembly of the pretraining corpus): at least
/// seven detected protein-coding genes, so that masking 15 % of a cell's genes
/// masks one.
pub const MIN_PROTEIN_CODING: usize = 7;

/// Why a cell is kept or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It enters the corpus.
    Kept,
    /// It has no counts at all.
    Empty,
    /// Too few detected protein-coding genes.
    FewProteinCoding,
}

/// The filter, ready for the genes of one corpus.
pub(crate) struct CellFilter {
    protein_coding: Vec<bool>,
    min_protein_coding: usize,
}

impl CellFilter {
    pub(crate) fn new(genes: &[Gene], min_protein_coding: usize) -> Self {
        let protein_coding = genes.iter().map(|gene| gene.biotype.is_protein_coding()).collect();
        Self { protein_coding, min_protein_coding }
    }

    /// Number of genes in the corpus.
    pub(crate) fn n_genes(&self) -> usize {
        self.protein_coding.len()
    }

    /// Judges a cell by its total and its detected genes.
    pub(crate) fn judge(&self, total: u64, detected: impl Iterator<Item = u32>) -> Verdict {
        if total == 0 {
            return Verdict::Empty;
        }
        let coding = detected.filter(|&gene| self.protein_coding[gene as usize]);
        if coding.take(self.min_protein_coding).count() < self.min_protein_coding {
            return Verdict::FewProteinCoding;
        }
        Verdict::Kept
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::gene::Biotype;

    #[test]
    fn seven_protein_coding_genes_are_enough() {
        let gene = |n: u64, biotype| Gene {
            id: format!("ENSG{n:011}").parse().unwrap(),
            symbol: String::new(),
            biotype,
        };
        let mut genes: Vec<Gene> = (0..8).map(|n| gene(n, Biotype::ProteinCoding)).collect();
        genes.push(gene(8, Biotype::LncRna));
        let filter = CellFilter::new(&genes, MIN_PROTEIN_CODING);
        let check = |total, detected: &[u32], expected| {
            assert_eq!(filter.judge(total, detected.iter().copied()), expected, "{detected:?}");
        };
        check(0, &[], Verdict::Empty);
        check(5, &[], Verdict::FewProteinCoding);
        check(9, &[0, 1, 2, 3, 4, 5, 8], Verdict::FewProteinCoding);
        check(9, &[0, 1, 2, 3, 4, 5, 6], Verdict::Kept);
    }
}
