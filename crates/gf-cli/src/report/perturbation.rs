//! What a run of `gf perturb` did: from `shifts.arrow` and tables of `gf stats` to facts.

pub mod figures;
pub mod page;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use gf_perturb::{Effect, store::ShardReader};
use gf_tokenize::TokenId;
use serde::Deserialize;

use super::{ReportError, figures::MIN_DETECTIONS, load::table_error};

/// Genes named for each state.
const TOP_GENES: usize = 15;
/// Of a cell's shifts: where most of them begin, their quartiles and median, where they end.
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// A run, as the page shows it.
#[derive(Debug, Clone, Default)]
pub struct Perturbation {
    /// What was done, to what, with what.
    pub settings: Settings,
    /// Edited cells.
    pub n_effects: u64,
    /// Quantiles of each cell's shifts, the smallest median first.
    pub cells: Vec<[f64; 5]>,
    /// For each state the genes that bring cells nearest to it.
    pub states: Vec<StateGenes>,
    /// Tables of tests found beside the run.
    pub tests: Vec<Tested>,
}

/// The settings that `gf perturb` writes into its results.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Settings {
    pub gf: String,
    pub model: String,
    pub vocabulary: String,
    pub cells: String,
    pub edit: String,
    pub targets: String,
    pub layer: String,
    pub readout: String,
    pub reads_genes: bool,
    pub precision: String,
}

/// Genes that bring cells nearer to a state.
#[derive(Debug, Clone)]
pub struct StateGenes {
    pub state: String,
    pub genes: Vec<StateGene>,
}

/// A gene with its mean shift toward a state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateGene {
    pub name: String,
    pub shift: f64,
    pub n_detections: usize,
}

/// Genes with a shift and its false discovery rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// The table's file.
    pub file: String,
    /// What the shift is.
    pub shift: String,
    pub genes: Vec<TestedGene>,
    /// Genes without a number, as those that no null cell has.
    pub n_untested: usize,
}

/// One point of a volcano.
#[derive(Debug, Clone, PartialEq)]
pub struct TestedGene {
    pub name: String,
    pub shift: f64,
    pub fdr: f64,
}

/// Reads a run; genes are named by its ranking.
pub fn load(
    shifts: &Path,
    ranking: Option<&Path>,
    tables: &[PathBuf],
) -> Result<Perturbation, ReportError> {
    let names = ranking.map(names).transpose()?.unwrap_or_default();
    let reader = ShardReader::open(shifts)?;
    let key = reader.key().clone();
    let settings = serde_json::from_str(&key.settings)
        .map_err(|source| ReportError::Settings { path: shifts.to_owned(), source })?;
    let mut sums = BTreeMap::new();
    let (mut cells, mut n_effects) = (Vec::new(), 0);
    for effects in reader {
        let effects = effects?;
        n_effects += effects.len() as u64;
        cells.extend(quantiles(&effects));
        effects.iter().for_each(|effect| add(&mut sums, effect));
    }
    cells.sort_by(|a, b| a[2].total_cmp(&b[2]));
    let fewest = (MIN_DETECTIONS as usize).min(key.n_cells);
    let states = key.states.iter().enumerate();
    Ok(Perturbation {
        settings,
        n_effects,
        cells,
        states: states.map(|(i, state)| nearest(state, i, &sums, fewest, &names)).collect(),
        tests: tables.iter().map(|path| tests(path)).collect::<Result<Vec<_>, _>>()?.concat(),
    })
}

/// Sums of shifts toward each state, and how many.
type Sums = BTreeMap<Vec<TokenId>, (Vec<f64>, usize)>;

fn add(sums: &mut Sums, effect: &Effect) {
    let (shifts, n) = sums.entry(effect.genes.clone()).or_default();
    shifts.resize(effect.shifts.len(), 0.0);
    shifts.iter_mut().zip(&effect.shifts).for_each(|(sum, shift)| *sum += shift);
    *n += 1;
}

fn nearest(
    state: &str,
    index: usize,
    sums: &Sums,
    fewest: usize,
    names: &HashMap<String, String>,
) -> StateGenes {
    let enough = sums.iter().filter(|(_, (_, n))| *n >= fewest);
    let mut means: Vec<(&Vec<TokenId>, f64, usize)> =
        enough.map(|(genes, (sums, n))| (genes, sums[index] / *n as f64, *n)).collect();
    means.sort_by(|a, b| b.1.total_cmp(&a.1));
    let name = |genes: &[TokenId]| {
        let key = key(genes);
        names.get(&key).cloned().unwrap_or(key)
    };
    let gene = |&(genes, shift, n_detections): &(&Vec<TokenId>, f64, usize)| StateGene {
        name: name(genes),
        shift,
        n_detections,
    };
    StateGenes { state: state.to_owned(), genes: means.iter().take(TOP_GENES).map(gene).collect() }
}

/// Perturbed genes as the tables' column `Gene` has them.
fn key(genes: &[TokenId]) -> String {
    let tokens: Vec<String> = genes.iter().map(ToString::to_string).collect();
    match tokens.as_slice() {
        [token] => token.clone(),
        _ => format!("({})", tokens.join(", ")),
    }
}

/// Quantiles of a cell's shifts, `1 − cosine`, the nearest one each; none of a cell without any.
fn quantiles(effects: &[Effect]) -> Option<[f64; 5]> {
    let mut shifts: Vec<f64> = effects.iter().map(|effect| 1.0 - effect.cosine).collect();
    shifts.sort_by(f64::total_cmp);
    let last = shifts.len().checked_sub(1)?;
    Some(QUANTILES.map(|q| shifts[(q * last as f64).round() as usize]))
}

/// Names of genes by their tokens.
fn names(ranking: &Path) -> Result<HashMap<String, String>, ReportError> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "Gene")]
        tokens: String,
        #[serde(rename = "Gene_name")]
        name: String,
    }
    let mut csv = csv::Reader::from_path(ranking).map_err(table_error(ranking))?;
    let rows = csv.deserialize().map(|row| row.map(|row: Row| (row.tokens, row.name)));
    rows.collect::<Result<_, _>>().map_err(table_error(ranking))
}

/// The tests of a table of `gf stats`; none in a table of another kind.
fn tests(path: &Path) -> Result<Vec<Tested>, ReportError> {
    let mut csv = csv::Reader::from_path(path).map_err(table_error(path))?;
    let header: Vec<String> =
        csv.headers().map_err(table_error(path))?.iter().map(str::to_owned).collect();
    let place = |column: &str| header.iter().position(|name| name == column);
    let Some(name) = place("Gene_name") else { return Ok(Vec::new()) };
    let pairs: Vec<(usize, usize)> = header
        .iter()
        .enumerate()
        .filter_map(|(fdr, column)| Some((place(&shift_column(column)?)?, fdr)))
        .collect();
    let rows: Vec<csv::StringRecord> =
        csv.records().collect::<Result<_, _>>().map_err(table_error(path))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tested = |(shift, fdr): (usize, usize)| {
        let gene = |row: &csv::StringRecord| {
            let number = |column: usize| row[column].parse::<f64>().ok().filter(|x| x.is_finite());
            let name = row[name].to_owned();
            Some(TestedGene { name, shift: number(shift)?, fdr: number(fdr)? })
        };
        let genes: Vec<TestedGene> = rows.iter().filter_map(gene).collect();
        let n_untested = rows.len() - genes.len();
        Tested { file: file.clone(), shift: header[shift].clone(), genes, n_untested }
    };
    Ok(pairs.into_iter().map(tested).collect())
}

/// The column of shifts that a column of false discovery rates belongs to.
fn shift_column(fdr: &str) -> Option<String> {
    match fdr {
        "Goal_end_FDR" => Some("Shift_to_goal_end".to_owned()),
        "Test_vs_null_FDR" => Some("Test_vs_null_avg_shift".to_owned()),
        _ => fdr.strip_prefix("Alt_end_FDR_").map(|state| format!("Shift_to_alt_end_{state}")),
    }
}

#[cfg(test)]
mod tests;
