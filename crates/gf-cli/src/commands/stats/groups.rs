//! `gf stats --mode compare-groups`: are some genes moved more than others?

use std::path::{Path, PathBuf};

use clap::Args;
use gf_perturb::{
    output::{self, GeneNames},
    stats::{GroupEffect, GroupPair, Observations, compare_groups},
};
use gf_tokenize::{TokenId, Vocabulary};
use serde::{Deserialize, Serialize};

use crate::{
    commands::genes::token, drawing, failure::Failure, outputs::claim_file, render, shell::Shell,
};

/// Arguments of the comparison of gene groups.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// Groups of genes: tab-separated, with the columns gene and group.
    #[arg(long, required_if_eq("mode", "compare-groups"), value_name = "TSV")]
    groups: Option<PathBuf>,
    /// Table of the tests between groups to write (.csv).
    #[arg(long, required_if_eq("mode", "compare-groups"), value_name = "FILE")]
    tests: Option<PathBuf>,
    /// The perturbation under which groups are compared, as A or A,B; needed where the
    /// run has several.
    #[arg(long, value_delimiter = ',', value_name = "GENES")]
    perturbed: Vec<String>,
    /// Draw each group as a box: median, quartiles and whiskers (.svg).
    #[arg(long, value_name = "SVG")]
    figure: Option<PathBuf>,
}

/// The groups of a file, and its genes that are none of the vocabulary.
struct Groups {
    groups: Vec<(String, Vec<TokenId>)>,
    unknown: Vec<String>,
}

/// What is told of a comparison.
#[derive(Debug, Serialize)]
pub struct Comparison {
    tests: PathBuf,
    unknown_genes: Vec<String>,
    groups: Vec<GroupSummary>,
    pairs: Vec<PairSummary>,
}

#[derive(Debug, Serialize)]
struct GroupSummary {
    group: String,
    genes: usize,
    undetected: usize,
    mean: f64,
    sd: f64,
}

impl GroupSummary {
    fn of(effect: &GroupEffect) -> Self {
        Self {
            group: effect.name.clone(),
            genes: effect.shifts.len(),
            undetected: effect.n_undetected,
            mean: effect.mean,
            sd: effect.stdev,
        }
    }
}

#[derive(Debug, Serialize)]
struct PairSummary {
    groups: [String; 2],
    z: f64,
    p: f64,
    fdr: f64,
}

impl PairSummary {
    fn of(pair: &GroupPair, effects: &[GroupEffect]) -> Self {
        let (a, b) = pair.groups;
        let groups = [a, b].map(|group| effects[group].name.clone());
        Self { groups, z: pair.z, p: pair.p_value, fdr: pair.fdr }
    }
}

#[derive(Deserialize)]
struct Row {
    gene: String,
    group: String,
}

/// Compares the groups and writes tables and picture.
pub fn run(
    args: &GroupArgs,
    output: &Path,
    observations: &Observations,
    names: &GeneNames<'_>,
    shell: &Shell,
) -> Result<Comparison, Failure> {
    let (Some(groups), Some(tests)) = (&args.groups, &args.tests) else {
        return Err(Failure::Usage("expected --groups and --tests".to_owned()));
    };
    [tests].into_iter().chain(&args.figure).try_for_each(|path| claim_file(path))?;
    let Groups { groups, unknown } = read(groups, names.vocabulary)?;
    let perturbed = perturbed(&args.perturbed, observations, names.vocabulary)?;
    let (effects, pairs) = compare_groups(observations, &perturbed, &groups)?;
    output::write_groups(output, tests, &effects, &pairs, names)?;
    if let Some(figure) = &args.figure {
        drawing::write_svg(figure, &picture(&effects))?;
    }
    shell.say(render::group_effects(&effects))?;
    shell.say(render::group_pairs(&effects, &pairs))?;
    if !unknown.is_empty() {
        shell.say(format!("not in the vocabulary: {}", unknown.join(", ")))?;
    }
    Ok(Comparison {
        tests: tests.clone(),
        unknown_genes: unknown,
        groups: effects.iter().map(GroupSummary::of).collect(),
        pairs: pairs.iter().map(|pair| PairSummary::of(pair, &effects)).collect(),
    })
}

/// Reads groups in the order in which they first appear.
fn read(path: &Path, vocabulary: &Vocabulary) -> Result<Groups, Failure> {
    let failure =
        |what: &dyn std::fmt::Display| Failure::Error(format!("{}: {what}", path.display()).into());
    let reader = csv::ReaderBuilder::new().delimiter(b'\t').from_path(path);
    let mut reader = reader.map_err(|error| failure(&error))?;
    let mut found = Groups { groups: Vec::new(), unknown: Vec::new() };
    for row in reader.deserialize() {
        let Row { gene, group } = row.map_err(|error| failure(&error))?;
        let Ok(token) = token(&gene, vocabulary) else {
            found.unknown.push(gene);
            continue;
        };
        let of = found.groups.iter().find(|(_, tokens)| tokens.contains(&token));
        match of {
            Some((known, _)) if *known != group => {
                let what = format!("gene {gene}: found in {known} and {group}, expected one group");
                return Err(failure(&what));
            }
            Some(_) => {}
            None => add(&mut found.groups, group, token),
        }
    }
    match found.groups.len() {
        n @ 0..2 => {
            let what =
                format!("found {n} groups with genes of the vocabulary, expected two or more");
            Err(failure(&what))
        }
        _ => Ok(found),
    }
}

fn add(groups: &mut Vec<(String, Vec<TokenId>)>, group: String, token: TokenId) {
    match groups.iter_mut().find(|(name, _)| *name == group) {
        Some((_, tokens)) => tokens.push(token),
        None => groups.push((group, vec![token])),
    }
}

/// The perturbation asked for, or the only one.
fn perturbed(
    names: &[String],
    observations: &Observations,
    vocabulary: &Vocabulary,
) -> Result<Vec<TokenId>, Failure> {
    if !names.is_empty() {
        return names.iter().map(|name| token(name, vocabulary)).collect();
    }
    match observations.affected.keys().collect::<Vec<_>>().as_slice() {
        [genes] => Ok((*genes).clone()),
        many => Err(Failure::Usage(format!(
            "found {} perturbations with remaining genes (gf perturb --read-genes), expected one or --perturbed",
            many.len()
        ))),
    }
}

fn picture(effects: &[GroupEffect]) -> String {
    let label = |effect: &GroupEffect| format!("{} ({})", effect.name, effect.shifts.len());
    let labels: Vec<String> = effects.iter().map(label).collect();
    let groups = labels.iter().zip(effects).map(|(label, effect)| {
        (label.as_str(), effect.shifts.iter().map(|(_, shift)| *shift).collect())
    });
    drawing::shift_boxes(&groups.collect::<Vec<_>>())
}
