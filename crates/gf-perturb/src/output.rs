//! Results as CSV, under the reference's column names (REFERENCE.md §6.6); each file
//! appears whole or not at all.

use std::path::Path;

use atomic_write_file::AtomicWriteFile;
use gf_tokenize::{TokenId, Vocabulary};

use crate::{
    Error, GeneEffect,
    stats::{
        AffectedGene, Combination, GoalShift, GroupEffect, GroupPair, Impact, Observations,
        VersusNull,
    },
};

/// What genes are called.
pub struct GeneNames<'a> {
    /// The vocabulary of the run.
    pub vocabulary: &'a Vocabulary,
    /// The symbol of an Ensembl id; a gene without one is called by its id.
    pub symbol: &'a dyn Fn(&str) -> Option<String>,
}

impl GeneNames<'_> {
    /// The Ensembl id of a token.
    pub fn id(&self, token: TokenId) -> String {
        self.vocabulary.name(token).unwrap_or_default()
    }

    /// The symbol of a token, or its id.
    pub fn symbol(&self, token: TokenId) -> String {
        let id = self.id(token);
        (self.symbol)(&id).unwrap_or(id)
    }

    /// Token, symbol and id of one gene; of several Python tuples, as in the reference.
    fn columns(&self, genes: &[TokenId]) -> [String; 3] {
        if let [gene] = genes {
            return [gene.to_string(), self.symbol(*gene), self.id(*gene)];
        }
        let tuple = |text: &dyn Fn(TokenId) -> String| {
            let texts: Vec<String> = genes.iter().map(|&gene| text(gene)).collect();
            format!("({})", texts.join(", "))
        };
        [
            tuple(&|gene| gene.to_string()),
            tuple(&|gene| format!("'{}'", self.symbol(gene))),
            tuple(&|gene| format!("'{}'", self.id(gene))),
        ]
    }
}

/// Writes genes in their ranking: `Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,
/// Cosine_shift_stdev,N_Detections`.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_ranking(
    path: &Path,
    effects: &[GeneEffect],
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let header = "Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,Cosine_shift_stdev,N_Detections";
    let line = |(i, effect): (usize, &GeneEffect)| {
        let numbers = [effect.mean_shift, effect.stdev_shift].map(text);
        let n = effect.n_detections.to_string();
        [&[(i + 1).to_string()], &names.columns(&effect.genes)[..], &numbers, &[n]].concat()
    };
    write_csv(path, &columns(header), effects.iter().enumerate().map(line))
}

/// Writes mode goal_state_shift of single genes.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_goal_shifts(
    path: &Path,
    rows: &[GoalShift],
    alternatives: &[String],
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let mut header = columns(",Gene,Gene_name,Ensembl_ID");
    header.extend(goal_columns("Shift_to_goal_end", "Shift_to_alt_end", alternatives));
    header.extend(goal_columns("Goal_end_vs_random_pval", "Alt_end_vs_random_pval", alternatives));
    header.extend(goal_columns("Goal_end_FDR", "Alt_end_FDR", alternatives));
    header.extend(columns("N_Detections,Sig"));
    let line = |row: &GoalShift| {
        let numbers = [&row.shifts[..], &row.p_values, &row.fdrs].concat();
        let numbers: Vec<String> = numbers.into_iter().map(text).collect();
        let end = [row.n_detections.to_string(), flag(row.is_significant())];
        [&[row.index.to_string()], &names.columns(&row.genes)[..], &numbers, &end].concat()
    };
    write_csv(path, &header, rows.iter().map(line))
}

/// Writes mode goal_state_shift of a list: one line of means.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_mean_shifts(path: &Path, means: &[f64], alternatives: &[String]) -> Result<(), Error> {
    let mut header = vec![String::new()];
    header.extend(goal_columns("Shift_to_goal_end", "Shift_to_alt_end", alternatives));
    let line = std::iter::once("0".to_owned()).chain(means.iter().copied().map(text));
    write_csv(path, &header, std::iter::once(line.collect()))
}

/// Writes mode vs_null.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_vs_null(path: &Path, rows: &[VersusNull], names: &GeneNames<'_>) -> Result<(), Error> {
    let header = ",Gene,Gene_name,Ensembl_ID,Test_avg_shift,Null_avg_shift,\
        Test_vs_null_avg_shift,Test_vs_null_pval,Test_vs_null_FDR,N_Detections_test,\
        N_Detections_null,Sig";
    let line = |row: &VersusNull| {
        let numbers = [row.test, row.null, row.difference(), row.p_value, row.fdr].map(text);
        let end = [row.n_test.to_string(), row.n_null.to_string(), flag(row.is_significant())];
        [&[row.index.to_string()], &names.columns(&row.genes)[..], &numbers, &end].concat()
    };
    write_csv(path, &columns(header), rows.iter().map(line))
}

/// Writes mode mixture_model.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_impacts(path: &Path, rows: &[Impact], names: &GeneNames<'_>) -> Result<(), Error> {
    let header = ",Gene,Gene_name,Ensembl_ID,Test_avg_shift,Impact_component,\
        Impact_component_percent,N_Detections";
    let line = |row: &Impact| {
        let cosine = text(row.mean_cosine);
        let end = [cosine, flag(row.is_impact), text(row.percent), row.n_detections.to_string()];
        [&[row.index.to_string()], &names.columns(&row.genes)[..], &end].concat()
    };
    write_csv(path, &columns(header), rows.iter().map(line))
}

/// Writes mode mixture_model of pairs with an anchor.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_combinations(
    path: &Path,
    rows: &[Combination],
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let header = ",Gene,Gene_name,Ensembl_ID,Anchor_shift,Test_token_shift,Sum_of_indiv_shifts,\
        Combo_shift,Combo_minus_sum_shift,Impact_component,Impact_component_percent,N_Detections";
    let line = |row: &Combination| {
        let Impact { index, genes, mean_cosine, is_impact, percent, n_detections } = &row.impact;
        let numbers = [row.anchor, row.gene, row.sum(), *mean_cosine, row.excess()].map(text);
        let end = [flag(*is_impact), text(*percent), n_detections.to_string()];
        [&[index.to_string()], &names.columns(&genes[1..])[..], &numbers, &end].concat()
    };
    write_csv(path, &columns(header), rows.iter().map(line))
}

/// Writes mode aggregate_data: the cosine of each cell.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_cosines(
    path: &Path,
    observations: &Observations,
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let cells = observations.cells.iter().flat_map(|(genes, cells)| {
        let [_, name, _] = names.columns(genes);
        cells.cosines.iter().map(move |&cosine| (text(cosine), name.clone()))
    });
    let lines = cells.enumerate().map(|(i, (cosine, name))| vec![i.to_string(), cosine, name]);
    write_csv(path, &columns(",Cosine_sim,Gene"), lines)
}

/// Writes mode aggregate_gene_shifts.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_gene_shifts(
    path: &Path,
    rows: &[AffectedGene],
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let header = ",Perturbed,Gene_name,Ensembl_ID,Affected,Affected_gene_name,\
        Affected_Ensembl_ID,Cosine_sim_mean,Cosine_sim_stdev,N_Detections";
    let line = |row: &AffectedGene| {
        let affected = match row.affected {
            None => ["cell_emb".to_owned(), String::new(), String::new()],
            Some(gene) => names.columns(&[gene]),
        };
        let end = [text(row.mean), text(row.stdev), row.n_detections.to_string()];
        [&[row.index.to_string()], &names.columns(&row.genes)[..], &affected, &end].concat()
    };
    write_csv(path, &columns(header), rows.iter().map(line))
}

/// Writes a comparison of groups: their genes to `path`, the tests to `tests`.
///
/// # Errors
///
/// A file cannot be written.
pub fn write_groups(
    path: &Path,
    tests: &Path,
    groups: &[GroupEffect],
    pairs: &[GroupPair],
    names: &GeneNames<'_>,
) -> Result<(), Error> {
    let genes = groups.iter().flat_map(|group| {
        let gene = move |&(gene, shift): &(TokenId, f64)| {
            [std::slice::from_ref(&group.name), &names.columns(&[gene]), &[text(shift)]].concat()
        };
        group.shifts.iter().map(gene)
    });
    write_csv(path, &columns("Group,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean"), genes)?;
    let header = "Group_a,Group_b,N_a,N_b,Mean_a,Mean_b,Rank_sum_z,Pval,FDR";
    let pair = |pair: &GroupPair| {
        let (a, b) = (&groups[pair.groups.0], &groups[pair.groups.1]);
        let counts = [a.shifts.len().to_string(), b.shifts.len().to_string()];
        let numbers = [a.mean, b.mean, pair.z, pair.p_value, pair.fdr].map(text);
        [&[a.name.clone(), b.name.clone()], &counts[..], &numbers].concat()
    };
    write_csv(tests, &columns(header), pairs.iter().map(pair))
}

fn columns(header: &str) -> Vec<String> {
    header.split(',').map(str::to_owned).collect()
}

/// The column of the goal and one for each alternative.
fn goal_columns<'a>(
    goal: &'a str,
    alternative: &'a str,
    states: &'a [String],
) -> impl Iterator<Item = String> + 'a {
    let alternatives = states.iter().map(move |state| format!("{alternative}_{state}"));
    std::iter::once(goal.to_owned()).chain(alternatives)
}

/// A number; empty where it is none, as pandas writes it.
fn text(number: f64) -> String {
    if number.is_nan() { String::new() } else { number.to_string() }
}

fn flag(is_set: bool) -> String {
    u8::from(is_set).to_string()
}

fn write_csv(
    path: &Path,
    header: &[String],
    lines: impl Iterator<Item = Vec<String>>,
) -> Result<(), Error> {
    let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    let mut csv = csv::Writer::from_writer(&*file);
    let write = || -> Result<(), csv::Error> {
        csv.write_record(header)?;
        for line in lines {
            csv.write_record(line)?;
        }
        Ok(csv.flush()?)
    };
    write().map_err(|source| Error::Csv { path: path.to_owned(), source })?;
    drop(csv);
    file.commit().map_err(Error::io(path))
}
