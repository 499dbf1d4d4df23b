//! `gf merge`

use std::path::PathBuf;

use clap::Args;

use crate::{failure::Failure, outputs::claim_file, shell::Shell};

/// Arguments of `gf merge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gf merge part*/shifts.arrow -o shifts.arrow\n\n\
    The file is the one that a single run over all cells would have written.")]
pub struct MergeArgs {
    /// The shifts.arrow of every shard, in any order.
    #[arg(required = true, value_name = "SHARDS")]
    shards: Vec<PathBuf>,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Joins the shards of a perturbation run.
pub fn run(args: &MergeArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let key = gf_perturb::store::merge(&args.shards, &args.output)?;
    let (n_cells, n_shards) = (key.n_cells, args.shards.len());
    let output = args.output.display();
    shell.say(format!("{n_cells} cells of {n_shards} shards in {output}"))?;
    shell.summary(&serde_json::json!({
        "file": args.output, "cells": n_cells, "shards": n_shards,
    }))
}
