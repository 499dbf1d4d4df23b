//! Genes together with an anchor against what each does by itself: mixture_model with
//! `combos=1` of the reference, which fails on the files that its perturber writes
//! (REFERENCE.md §6.7).

use std::collections::BTreeMap;

use super::{Genes, Impact, Observations, mixture_model};
use crate::{Effect, Error};

/// What perturbing a gene together with the anchor does.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// The anchor and the gene, and the cosines of perturbing both.
    pub impact: Impact,
    /// Mean cosine of the anchor by itself, in the same cells.
    pub anchor: f64,
    /// Mean cosine of the gene by itself, in the same cells.
    pub gene: f64,
}

impl Combination {
    /// The cosine that both would give if their shifts added up.
    pub fn sum(&self) -> f64 {
        1.0 - ((1.0 - self.anchor) + (1.0 - self.gene))
    }

    /// How far the cosine of both is above that; below zero they do more together.
    pub fn excess(&self) -> f64 {
        self.impact.mean_cosine - self.sum()
    }
}

/// Pairs with an anchor and their genes by themselves, gathered cell by cell.
#[derive(Debug, Clone, Default)]
pub struct Combinations {
    pairs: Observations,
    /// Sums of the cosines of the anchor and of the gene.
    singles: BTreeMap<Genes, [f64; 2]>,
    /// Pairs in a cell, one of whose genes has no effect there by itself: a gene that
    /// already stands where it would be moved to, or that was not asked for.
    pub n_left_out: u64,
}

impl Combinations {
    /// Adds a cell: its effects of pairs, the anchor first, and of single genes.
    pub fn add(&mut self, pairs: &[Effect], singles: &[Effect]) {
        let alone: BTreeMap<_, f64> =
            singles.iter().map(|effect| (&effect.genes[..], effect.cosine)).collect();
        for pair in pairs {
            let of = |place| alone.get(pair.genes.get(place..=place)?).copied();
            let (Some(anchor), Some(gene)) = (of(0), of(1)) else {
                self.n_left_out += 1;
                continue;
            };
            self.pairs.add(pair);
            let sums = self.singles.entry(pair.genes.clone()).or_default();
            sums[0] += anchor;
            sums[1] += gene;
        }
    }

    /// The pairs; those of the lower component of cosines first, then those that do most
    /// beyond the sum of their genes.
    ///
    /// # Errors
    ///
    /// There are fewer than two pairs.
    pub fn finish(&self) -> Result<Vec<Combination>, Error> {
        let combination = |impact: Impact| {
            let n = impact.n_detections as f64;
            let [anchor, gene] = self.singles[&impact.genes].map(|sum| sum / n);
            Combination { impact, anchor, gene }
        };
        let mut rows: Vec<_> = mixture_model(&self.pairs)?.into_iter().map(combination).collect();
        rows.sort_by(|a, b| {
            let impact = b.impact.is_impact.cmp(&a.impact.is_impact);
            impact.then(a.excess().total_cmp(&b.excess()))
        });
        Ok(rows)
    }
}
