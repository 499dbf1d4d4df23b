//! Which cells are kept: the paper's filter, and limits a user may add.

use serde::{Deserialize, Serialize};

use crate::{
    droplets::within,
    error::{Error, Result},
    gene::Gene,
};

/// The paper's filter (Methods, assembly of the pretraining corpus): at least
/// seven detected protein-coding genes, so that masking 15 % of a cell's genes
/// masks one.
pub const MIN_PROTEIN_CODING: usize = 7;

/// How symbols of mitochondrial genes begin: Seurat's `percent.mt` pattern.
///
/// It finds all 37 genes of chrM: 13 that code for proteins, 2 for ribosomal
/// and 22 for transfer RNA.
const MITOCHONDRIAL: &str = "MT-";

/// Limits a cell has to keep; all are inclusive, `None` sets none.
///
/// The default is the paper's filter alone. Seurat's tutorial filter of
/// pbmc3k (200 < genes < 2,500, less than 5 % mitochondrial) is `min_genes`
/// 201, `max_genes` 2,499, `max_mitochondrial_share` 0.05; it also leaves out
/// genes of fewer than 3 cells, which changes a cell's number of genes by at
/// most 3 there and none of its verdicts.
///
/// ```
/// use gf_corpus::QcOptions;
///
/// let options = QcOptions { max_mitochondrial_share: Some(0.05), ..QcOptions::default() };
/// assert_eq!(options.min_protein_coding, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QcOptions {
    /// Fewest detected protein-coding genes.
    pub min_protein_coding: usize,
    /// Fewest counts, over all gene rows of the file.
    pub min_counts: Option<u64>,
    /// Most counts, over all gene rows of the file.
    pub max_counts: Option<u64>,
    /// Fewest detected genes of any kind.
    pub min_genes: Option<usize>,
    /// Most detected genes of any kind.
    pub max_genes: Option<usize>,
    /// Largest share (0 to 1) of the counts in mitochondrial genes (`MT-…`).
    pub max_mitochondrial_share: Option<f64>,
}

impl Default for QcOptions {
    fn default() -> Self {
        Self {
            min_protein_coding: MIN_PROTEIN_CODING,
            min_counts: None,
            max_counts: None,
            min_genes: None,
            max_genes: None,
            max_mitochondrial_share: None,
        }
    }
}

impl QcOptions {
    fn check(&self) -> Result<()> {
        ordered("max_counts", self.min_counts, self.max_counts)?;
        let wide = |limit: Option<usize>| limit.map(|genes| genes as u64);
        ordered("max_genes", wide(self.min_genes), wide(self.max_genes))?;
        let share = self.max_mitochondrial_share.unwrap_or(1.0);
        within("max_mitochondrial_share", share, 0.0, 1.0)
    }
}

fn ordered(name: &'static str, min: Option<u64>, max: Option<u64>) -> Result<()> {
    match (min, max) {
        (Some(min), Some(max)) if max < min => Err(Error::Setting {
            name,
            found: max.to_string(),
            expected: format!("the lower limit {min} or more"),
        }),
        _ => Ok(()),
    }
}

/// Why a cell is kept or not; of several reasons, the first in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It enters the corpus.
    Kept,
    /// It has no counts at all.
    Empty,
    /// The droplet caught no cell, by its counts.
    EmptyDroplet,
    /// Too few detected protein-coding genes.
    FewProteinCoding,
    /// Fewer counts than the limit.
    FewCounts,
    /// More counts than the limit.
    ManyCounts,
    /// Fewer detected genes than the limit.
    FewGenes,
    /// More detected genes than the limit.
    ManyGenes,
    /// A larger share of mitochondrial counts than the limit.
    Mitochondrial,
}

impl Verdict {
    /// All verdicts, in order.
    pub const ALL: [Self; 9] = [
        Self::Kept,
        Self::Empty,
        Self::EmptyDroplet,
        Self::FewProteinCoding,
        Self::FewCounts,
        Self::ManyCounts,
        Self::FewGenes,
        Self::ManyGenes,
        Self::Mitochondrial,
    ];
}

/// The filter, ready for the genes of one corpus.
#[derive(Debug, Clone)]
pub struct CellFilter {
    protein_coding: Vec<bool>,
    mitochondrial: Vec<bool>,
    options: QcOptions,
}

impl CellFilter {
    /// Prepares the filter.
    ///
    /// # Errors
    /// [`Error::Setting`] for limits that no cell could keep.
    pub fn new(genes: &[Gene], options: &QcOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            protein_coding: genes.iter().map(|gene| gene.biotype.is_protein_coding()).collect(),
            mitochondrial: genes.iter().map(is_mitochondrial).collect(),
            options: *options,
        })
    }

    /// Number of genes in the corpus.
    #[must_use]
    pub fn n_genes(&self) -> usize {
        self.protein_coding.len()
    }

    /// Judges a cell by its counts over all gene rows of its file and its row
    /// over the corpus's genes: gene indices, and a count above zero for each.
    ///
    /// # Panics
    /// If a gene index is not below [`n_genes`](Self::n_genes), as slices do.
    #[must_use]
    pub fn judge(&self, total: u64, (genes, counts): (&[u32], &[u32])) -> Verdict {
        let limits = &self.options;
        if total == 0 {
            return Verdict::Empty;
        }
        let min_coding = limits.min_protein_coding;
        if min_coding > 0 && self.n_protein_coding(genes) < min_coding {
            return Verdict::FewProteinCoding;
        }
        if limits.min_counts.is_some_and(|min| total < min) {
            return Verdict::FewCounts;
        }
        if limits.max_counts.is_some_and(|max| total > max) {
            return Verdict::ManyCounts;
        }
        if limits.min_genes.is_some_and(|min| genes.len() < min) {
            return Verdict::FewGenes;
        }
        if limits.max_genes.is_some_and(|max| genes.len() > max) {
            return Verdict::ManyGenes;
        }
        let share = || self.mitochondrial_counts(genes, counts) as f64 / total as f64;
        if limits.max_mitochondrial_share.is_some_and(|max| share() > max) {
            return Verdict::Mitochondrial;
        }
        Verdict::Kept
    }

    fn n_protein_coding(&self, genes: &[u32]) -> usize {
        genes.iter().filter(|&&gene| self.protein_coding[gene as usize]).count()
    }

    fn mitochondrial_counts(&self, genes: &[u32], counts: &[u32]) -> u64 {
        let of_gene = genes.iter().zip(counts);
        let mitochondrial = of_gene.filter(|&(&gene, _)| self.mitochondrial[gene as usize]);
        mitochondrial.map(|(_, &count)| u64::from(count)).sum()
    }
}

fn is_mitochondrial(gene: &Gene) -> bool {
    gene.symbol.starts_with(MITOCHONDRIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Annotation;

    #[test]
    fn the_annotation_has_37_mitochondrial_genes() -> Result<()> {
        let genes = Annotation::shipped()?.genes().iter().map(Gene::from);
        let found: Vec<Gene> = genes.filter(is_mitochondrial).collect();
        let coding = found.iter().filter(|gene| gene.biotype.is_protein_coding()).count();
        assert_eq!((found.len(), coding), (37, 13));
        Ok(())
    }
}
