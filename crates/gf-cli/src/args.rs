//! The command line as typed.

use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand};

use crate::{commands, device::DeviceChoice};

/// Geneformer in Rust: from raw counts of single cells to ranked gene effects.
///
/// A typical path, each step reading what the one before it wrote:
///
///   gf ingest counts/ -o corpus
///   gf medians corpus -o medians.tsv
///   gf tokenize corpus --medians medians.tsv -o cells.dataset
///   gf pretrain --config small.toml --data cells.dataset -o pretrain
///   gf embed --model pretrain/model --data cells.dataset -o embeddings.csv
///   gf perturb --model pretrain/model --data cells.dataset -o perturb --max-cells 20
///   gf report . -o report.html
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "gf", version, verbatim_doc_comment)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// Where tensors are computed: cpu, wgpu[:N] or cuda[:N].
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Threads on the CPU; all of them by default. Results do not depend on it.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Seed of everything random [default: 42, or what a configuration file says].
    #[arg(long, global = true, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Print nothing but errors.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Print one JSON object as summary on standard output instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands, in the order in which data passes through them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read count files into a corpus: one identity per gene, every count accounted for.
    Ingest(commands::ingest::IngestArgs),
    /// Write the cells of a corpus as one .h5ad file for scanpy.
    Export(commands::export::ExportArgs),
    /// Compute each gene's non-zero median over a corpus.
    Medians(commands::medians::MediansArgs),
    /// Encode the cells of a corpus as ranked gene tokens.
    Tokenize(commands::tokenize::TokenizeArgs),
    /// Pretrain an encoder by predicting masked genes.
    Pretrain(commands::pretrain::PretrainArgs),
    /// Fetch a published model, or other files of its repository, into the local cache.
    Download(commands::download::DownloadArgs),
    /// Store a model's projections in eight or four bits, and say what it costs.
    Quantize(commands::quantize::QuantizeArgs),
    /// Embed cells, genes or states of cells.
    Embed(commands::embed::EmbedArgs),
    /// Compare embeddings in pairs: different, same, same of another batch.
    Similarity(commands::similarity::SimilarityArgs),
    /// Tell how often an embedding's nearest neighbour has its label.
    Separability(commands::separability::SeparabilityArgs),
    /// Draw embeddings as a map in two dimensions.
    Map(commands::map::MapArgs),
    /// Perturb genes in silico and rank them by how far the cells move.
    Perturb(commands::perturb::PerturbArgs),
    /// Join the shards of a perturbation run.
    Merge(commands::merge::MergeArgs),
    /// Make the reference's tables of statistics from perturbation results.
    Stats(commands::stats::StatsArgs),
    /// Gather results into one self-contained HTML page.
    Report(commands::report::ReportArgs),
}
