//! `gf separability`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gf_embed::{Metric, Table, separability};

use super::similarity::numbered;
use crate::{failure::Failure, render, shell::Shell};

/// Arguments of `gf separability`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    gf separability genes.csv --min-detections 20\n\n\
    The table is made before, for cells of one type, with\n  \
    gf embed --model model --data cells.dataset --filter cell_type=B --max-cells 1000 \
    --mode gene --gene-style all -o genes.csv\n\n\
    Every two rows are compared: time grows with the square of their number.")]
pub struct SeparabilityArgs {
    /// Table of `gf embed` (.csv).
    #[arg(value_name = "CSV")]
    embeddings: PathBuf,
    /// Column that a row's nearest neighbour should share with it.
    #[arg(long, default_value = "gene", value_name = "COLUMN")]
    label: String,
    /// Labels of fewer rows take no part.
    #[arg(long, default_value_t = 20, value_name = "N")]
    min_detections: usize,
    /// What "nearest" means.
    #[arg(long, value_enum, default_value = "euclidean")]
    metric: MetricChoice,
}

/// What "nearest" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetricChoice {
    /// The smallest distance.
    Euclidean,
    /// The largest cosine.
    Cosine,
}

/// Computes the geometric separability index.
pub fn run(args: &SeparabilityArgs, shell: &Shell) -> Result<(), Failure> {
    let table = Table::read_csv(&args.embeddings)?;
    let labels = numbered(table.text(&args.label)?);
    let metric = match args.metric {
        MetricChoice::Euclidean => Metric::Euclidean,
        MetricChoice::Cosine => Metric::Cosine,
    };
    let found = separability(table.values.view(), &labels, args.min_detections, metric)?;
    if found.n_embeddings < 2 {
        let (path, n, label) = (args.embeddings.display(), args.min_detections, &args.label);
        let message = format!("{path}: found no {label} of {n} rows or more, expected one");
        return Err(Failure::Error(message.into()));
    }
    let share = |share: f64| format!("{:.2} %", 100.0 * share);
    shell.say(format!(
        "{} of {} embeddings have a nearest neighbour of the same {}",
        share(found.share_of_embeddings),
        render::thousands(found.n_embeddings as u64),
        args.label,
    ))?;
    shell.say(format!(
        "of {} labels that occur at least {} times, {} have such neighbours for all of their \
         embeddings, {} for most",
        render::thousands(found.per_label.len() as u64),
        args.min_detections,
        share(found.share_of_labels_all),
        share(found.share_of_labels_most),
    ))?;
    shell.summary(&serde_json::json!({
        "embeddings": args.embeddings,
        "rows": found.n_embeddings,
        "labels": found.per_label.len(),
        "share_of_embeddings": found.share_of_embeddings,
        "share_of_labels_all": found.share_of_labels_all,
        "share_of_labels_most": found.share_of_labels_most,
    }))
}
