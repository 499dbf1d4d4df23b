//! The comparison of groups of genes that Theodoris et al. (2023) make for GATA4: are a
//! transcription factor's direct targets moved more by its loss than its indirect ones,
//! and those more than housekeeping genes?

use std::collections::BTreeMap;

use gf_tokenize::TokenId;

use super::{Observations, benjamini_hochberg, rank_sum};
use crate::{Error, shift::mean_and_stdev};

/// What a perturbation does to a group of genes.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupEffect {
    /// Name of the group.
    pub name: String,
    /// Genes that are in at least one perturbed cell, each with its mean `1 − cosine`.
    pub shifts: Vec<(TokenId, f64)>,
    /// Genes that are in none.
    pub n_undetected: usize,
    /// Mean over genes.
    pub mean: f64,
    /// Population standard deviation over genes.
    pub stdev: f64,
}

/// Two groups compared.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPair {
    /// Places of the groups.
    pub groups: (usize, usize),
    /// Statistic of the rank-sum test, positive where the first is moved more.
    pub z: f64,
    /// Its p-value.
    pub p_value: f64,
    /// False discovery rate over the pairs.
    pub fdr: f64,
}

/// Compares the groups of genes under the perturbation of `genes`, every pair by a
/// rank-sum test over the genes' mean shifts.
///
/// # Errors
///
/// The observations have no remaining genes for that perturbation, or a group has none.
pub fn compare_groups(
    observations: &Observations,
    genes: &[TokenId],
    groups: &[(String, Vec<TokenId>)],
) -> Result<(Vec<GroupEffect>, Vec<GroupPair>), Error> {
    let affected = observations.affected.get(genes).ok_or_else(|| Error::NoNumbers {
        what: "remaining genes".to_owned(),
        needs: "the cosines of genes, for this perturbation",
    })?;
    let effects: Vec<GroupEffect> = groups
        .iter()
        .map(|(name, group)| group_effect(name, group, affected))
        .collect::<Result<_, _>>()?;
    Ok((effects.clone(), pairs(&effects)))
}

fn group_effect(
    name: &str,
    group: &[TokenId],
    affected: &BTreeMap<TokenId, Vec<f64>>,
) -> Result<GroupEffect, Error> {
    let shift = |gene: &TokenId| Some((*gene, 1.0 - mean_and_stdev(affected.get(gene)?).0));
    let shifts: Vec<(TokenId, f64)> = group.iter().filter_map(shift).collect();
    if shifts.is_empty() {
        let what = format!("genes of the group {name}");
        return Err(Error::NoNumbers { what, needs: "cells that have some of them" });
    }
    let (mean, stdev) = mean_and_stdev(&numbers(&shifts));
    let n_undetected = group.len() - shifts.len();
    Ok(GroupEffect { name: name.to_owned(), shifts, n_undetected, mean, stdev })
}

fn numbers(shifts: &[(TokenId, f64)]) -> Vec<f64> {
    shifts.iter().map(|&(_, shift)| shift).collect()
}

fn pairs(effects: &[GroupEffect]) -> Vec<GroupPair> {
    let places = (0..effects.len()).flat_map(|a| (a + 1..effects.len()).map(move |b| (a, b)));
    let mut pairs: Vec<GroupPair> = places
        .map(|(a, b)| {
            let test = rank_sum(&numbers(&effects[a].shifts), &numbers(&effects[b].shifts));
            GroupPair { groups: (a, b), z: test.z, p_value: test.p, fdr: 1.0 }
        })
        .collect();
    let fdrs = benjamini_hochberg(&pairs.iter().map(|pair| pair.p_value).collect::<Vec<_>>());
    pairs.iter_mut().zip(fdrs).for_each(|(pair, fdr)| pair.fdr = fdr);
    pairs
}
