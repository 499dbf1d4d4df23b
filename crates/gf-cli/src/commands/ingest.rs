//! `gf ingest`

use std::path::PathBuf;

use clap::Args;
use gf_corpus::{Corpus, IngestOptions, MIN_PROTEIN_CODING, SourceOptions, ingest};

use crate::{failure::Failure, render, shell::Shell};

/// Arguments of `gf ingest`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gf ingest pbmc3k/hg19 donor2.h5ad -o corpus")]
pub struct IngestArgs {
    /// 10x folders (matrix.mtx, genes.tsv or features.tsv, barcodes.tsv; gz or plain) and .h5ad files.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Corpus folder to write; an older corpus there is replaced.
    #[arg(short, long, value_name = "CORPUS")]
    output: PathBuf,
    /// Matrix of an .h5ad file: X, raw/X or the name of a layer; by default the one
    /// that holds raw counts.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Detected protein-coding genes a cell needs to be kept.
    #[arg(long, default_value_t = MIN_PROTEIN_CODING, value_name = "N")]
    min_genes: usize,
}

/// Ingests files and prints the ledger.
pub fn run(args: &IngestArgs, shell: &Shell) -> Result<(), Failure> {
    let options = IngestOptions {
        source: SourceOptions { layer: args.layer.clone() },
        min_protein_coding: args.min_genes,
    };
    let mut meter = shell.progress("ingesting", "cells");
    let result =
        ingest(&args.inputs, &args.output, &options, &mut |p| meter.update(p.done, p.total, ""));
    let ledger = match result {
        Err(gf_corpus::Error::Cancelled) => {
            return Err(Failure::Interrupted(format!("{} was not written", args.output.display())));
        }
        other => other?,
    };
    for file in &ledger.files {
        shell.say(render::ledger(file))?;
        for line in render::left_out(file) {
            shell.say(line)?;
        }
    }
    let corpus = Corpus::open(&args.output)?;
    if corpus.n_cells() == 0 {
        let output = args.output.display();
        return Err(Failure::Error(
            format!("no cell was kept: {output} is an empty corpus").into(),
        ));
    }
    shell.say(format!(
        "{}: {} cells, {} genes, {} counts",
        args.output.display(),
        render::thousands(corpus.n_cells() as u64),
        render::thousands(corpus.genes().len() as u64),
        render::thousands(ledger.totals().counts_kept),
    ))?;
    shell.summary(&serde_json::json!({
        "corpus": args.output,
        "cells": corpus.n_cells(),
        "genes": corpus.genes().len(),
        "totals": ledger.totals(),
        "ledger": ledger,
    }))
}
