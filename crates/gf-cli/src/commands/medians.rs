//! `gf medians`

use std::path::PathBuf;

use clap::Args;
use gf_corpus::{Corpus, nonzero_medians};

use crate::{failure::Failure, outputs::claim_file, render, shell::Shell};

/// Arguments of `gf medians`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gf medians corpus -o medians.tsv\n\n\
    Only a model that is pretrained anew needs its own medians; with an official\n\
    checkpoint use the medians published with it.")]
pub struct MediansArgs {
    /// Corpus folder.
    #[arg(value_name = "CORPUS")]
    corpus: PathBuf,
    /// Table to write: ensembl_id, nonzero_median (CP10k).
    #[arg(short, long, value_name = "TSV")]
    output: PathBuf,
}

/// Computes the medians and says how many genes have one.
pub fn run(args: &MediansArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let corpus = Corpus::open(&args.corpus)?;
    let mut meter = shell.progress("reading", "cells");
    let result = nonzero_medians(&corpus, &mut |p| meter.update(p.done, p.total, ""));
    let medians = match result {
        Err(gf_corpus::Error::Cancelled) => {
            return Err(Failure::Interrupted(format!("{} was not written", args.output.display())));
        }
        other => other?,
    };
    medians.write_tsv(&args.output)?;
    let undetected = corpus.genes().len() - medians.len();
    shell.say(format!(
        "{}: medians of {} genes; {} genes are never detected and have none",
        args.output.display(),
        render::thousands(medians.len() as u64),
        render::thousands(undetected as u64),
    ))?;
    shell.summary(&serde_json::json!({
        "medians": args.output, "genes": medians.len(), "undetected_genes": undetected,
    }))
}
