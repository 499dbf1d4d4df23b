//! One file per command: its arguments, the call, what is printed.

pub mod download;
pub mod embed;
pub mod export;
pub mod ingest;
pub mod map;
pub mod medians;
pub mod merge;
pub mod perturb;
pub mod pretrain;
pub mod quantize;
pub mod report;
pub mod separability;
pub mod similarity;
pub mod stats;
pub mod tokenize;

mod cells;
mod genes;

use crate::{
    args::{Cli, Command},
    failure::Failure,
    shell::Shell,
};

/// Seed where none is given: the reference's.
const DEFAULT_SEED: u64 = 42;

/// Runs what was asked for.
///
/// # Errors
///
/// Whatever stopped the command.
pub fn run(cli: &Cli, shell: &Shell) -> Result<(), Failure> {
    match &cli.command {
        Command::Ingest(args) => ingest::run(args, shell),
        Command::Export(args) => export::run(args, shell),
        Command::Medians(args) => medians::run(args, shell),
        Command::Tokenize(args) => tokenize::run(args, shell),
        Command::Pretrain(args) => pretrain::run(args, &cli.common, shell),
        Command::Download(args) => download::run(args, shell),
        Command::Quantize(args) => quantize::run(args, &cli.common, shell),
        Command::Embed(args) => embed::run(args, &cli.common, shell),
        Command::Similarity(args) => similarity::run(args, &cli.common, shell),
        Command::Separability(args) => separability::run(args, shell),
        Command::Map(args) => map::run(args, &cli.common, shell),
        Command::Perturb(args) => perturb::run(args, &cli.common, shell),
        Command::Merge(args) => merge::run(args, shell),
        Command::Stats(args) => stats::run(args, shell),
        Command::Report(args) => report::run(args, shell),
    }
}
