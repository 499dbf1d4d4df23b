//! `gf stats`

mod combinations;
mod groups;
mod pickles;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gf_corpus::Annotation;
use gf_perturb::{
    output::{self, GeneNames},
    stats::{self, Observations, Pool},
    store::ShardReader,
};
use gf_tokenize::Vocabulary;

use self::groups::{Comparison, GroupArgs};
use super::genes::symbol;
use crate::{failure::Failure, outputs::claim_file, shell::Shell};

/// Arguments of `gf stats`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gf stats perturb/shifts.arrow --vocab cells.dataset/vocabulary.tsv \\\n    \
    --mode goal-state-shift --goal nf --alternatives hcm -o goal.csv\n  \
    gf stats pickles/ --vocab token_dictionary.pkl --mode mixture-model -o impact.csv\n  \
    gf stats pairs/shifts.arrow --singles single/shifts.arrow --vocab cells.dataset/vocabulary.tsv \\\n    \
    --mode mixture-model -o pairs.csv\n  \
    gf stats gata4/shifts.arrow --vocab cells.dataset/vocabulary.tsv \\\n    \
    --mode compare-groups --groups targets.tsv --tests tests.csv \\\n    \
    --figure targets.svg -o targets.csv\n\n\
    The tables have the columns of the reference's InSilicoPerturberStats.")]
pub struct StatsArgs {
    /// The shifts.arrow of a run, or a folder of the reference's *_raw.pickle files.
    #[arg(value_name = "RESULTS")]
    results: PathBuf,
    /// Token dictionary of the run (.tsv, .pkl or JSON).
    #[arg(long, value_name = "FILE")]
    vocab: PathBuf,
    /// Which table.
    #[arg(long, value_enum)]
    mode: Mode,
    /// State that cells shall come nearer to.
    #[arg(long, required_if_eq("mode", "goal-state-shift"), value_name = "STATE")]
    goal: Option<String>,
    /// Other states to report, as A,B.
    #[arg(long, value_delimiter = ',', value_name = "STATES")]
    alternatives: Vec<String>,
    /// Results of the null cells.
    #[arg(long, required_if_eq("mode", "vs-null"), value_name = "RESULTS")]
    null: Option<PathBuf>,
    /// Results of the same genes one by one: mixture-model of pairs with an anchor (perturb
    /// --anchor) then sets them against the sum of what both genes do alone.
    #[arg(long, value_name = "RESULTS")]
    singles: Option<PathBuf>,
    /// What a gene's shifts are tested against.
    #[arg(long, value_enum, default_value = "others")]
    pool: PoolArg,
    #[command(flatten)]
    groups: GroupArgs,
    /// Table to write (.csv).
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Mean shift toward a state, tested against other genes.
    GoalStateShift,
    /// Cosines in test cells against those in null cells.
    VsNull,
    /// Genes with and without impact, by a mixture of two normal distributions.
    MixtureModel,
    /// The cosine of every cell.
    AggregateData,
    /// Mean cosine of every pair of perturbed and remaining gene.
    AggregateGeneShifts,
    /// Groups of remaining genes under one perturbation, as direct targets, indirect
    /// targets and housekeeping genes of a transcription factor.
    CompareGroups,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PoolArg {
    /// All other genes.
    Others,
    /// All genes, the tested one among them, as the reference.
    Reference,
}

/// Makes a table of statistics.
pub fn run(args: &StatsArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let vocabulary = Vocabulary::open(&args.vocab)?;
    let annotation = Annotation::shipped()?;
    let symbol = |id: &str| symbol(annotation, id);
    let names = GeneNames { vocabulary: &vocabulary, symbol: &symbol };
    if let Some(singles) = &args.singles {
        return combinations::run(args, singles, &names, shell);
    }
    let observations = read(&args.results)?;
    let comparison = write(args, &observations, &names, shell)?;
    let n_genes = observations.cells.len();
    shell.say(format!("{n_genes} perturbations in {}", args.output.display()))?;
    shell.summary(&serde_json::json!({
        "table": args.output, "perturbations": n_genes, "comparison": comparison,
    }))
}

/// Writes the table; gives what is to be told of it beyond its file.
fn write(
    args: &StatsArgs,
    observations: &Observations,
    names: &GeneNames<'_>,
    shell: &Shell,
) -> Result<Option<Comparison>, Failure> {
    let (path, alternatives) = (&args.output, &args.alternatives);
    match args.mode {
        Mode::GoalStateShift => {
            let goal = args.goal.as_deref().unwrap_or_default();
            if observations.cells.len() == 1 {
                let means = stats::mean_shifts(observations, goal, alternatives)?;
                output::write_mean_shifts(path, &means, alternatives)?;
                return Ok(None);
            }
            let pool = if args.pool == PoolArg::Others { Pool::Others } else { Pool::Reference };
            let rows = stats::goal_state_shift(observations, goal, alternatives, pool)?;
            output::write_goal_shifts(path, &rows, alternatives, names)?;
        }
        Mode::VsNull => {
            let null = args.null.as_deref().map(read).transpose()?.unwrap_or_default();
            output::write_vs_null(path, &stats::vs_null(observations, &null)?, names)?;
        }
        Mode::MixtureModel => {
            output::write_impacts(path, &stats::mixture_model(observations)?, names)?;
        }
        Mode::AggregateData => output::write_cosines(path, observations, names)?,
        Mode::AggregateGeneShifts => {
            output::write_gene_shifts(path, &stats::aggregate_gene_shifts(observations)?, names)?;
        }
        Mode::CompareGroups => {
            return groups::run(&args.groups, path, observations, names, shell).map(Some);
        }
    }
    Ok(None)
}

/// The numbers of a run of ours or of the reference.
fn read(path: &Path) -> Result<Observations, Failure> {
    if path.is_dir() {
        return pickles::read(path);
    }
    let reader = ShardReader::open(path)?;
    let mut observations = Observations::new(reader.key().states.clone());
    for effects in reader {
        effects?.iter().for_each(|effect| observations.add(effect));
    }
    Ok(observations)
}
