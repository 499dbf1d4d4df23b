//! `gf export`

use std::path::PathBuf;

use clap::Args;
use gf_corpus::{Corpus, Selection, export_h5ad};

use crate::{failure::Failure, outputs::claim_file, render, shell::Shell};

/// Arguments of `gf export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gf export corpus -o cells.h5ad\n\n\
    Python opens the result with scanpy.read_h5ad: X holds the raw counts, var the genes by\n\
    Ensembl id, obs the metadata of the cells with the study each is of.")]
pub struct ExportArgs {
    /// Corpus folder.
    #[arg(value_name = "CORPUS")]
    corpus: PathBuf,
    /// AnnData file to write.
    #[arg(short, long, value_name = "H5AD")]
    output: PathBuf,
    /// Replace a file that is there: it may be somebody's data.
    #[arg(long)]
    overwrite: bool,
    /// Leave out malignant cells and cell lines; the catalogue of the corpus says which they
    /// are.
    #[arg(long)]
    only_normal: bool,
}

/// Writes the cells of a corpus as one .h5ad and says how many they are.
pub fn run(args: &ExportArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    if args.output.exists() && !args.overwrite {
        let reason =
            format!("{}: exists, and is replaced only with --overwrite", args.output.display());
        return Err(Failure::Error(reason.into()));
    }
    let corpus = Corpus::open(&args.corpus)?;
    let selection = if args.only_normal { Selection::PRETRAINING } else { Selection::ALL };
    let mut meter = shell.progress("exporting", "cells");
    let result =
        export_h5ad(&corpus, &args.output, selection, &mut |p| meter.update(p.done, p.total, ""));
    let report = match result {
        Err(gf_corpus::Error::Cancelled) => {
            return Err(Failure::Interrupted(format!("{} was not written", args.output.display())));
        }
        other => other?,
    };
    let output = args.output.display();
    if report.not_selected > 0 {
        let n = render::thousands(report.not_selected);
        shell.say(format!("{n} cells left out: malignant or of a cell line"))?;
    }
    for (old, new) in &report.renamed {
        shell.say(format!("column {old:?} is called {new:?}"))?;
    }
    if report.cells == 0 {
        return Err(Failure::Error(format!("no cell was written: {output} is empty").into()));
    }
    let [cells, genes, counts] = [report.cells, report.genes, report.counts].map(render::thousands);
    shell.say(format!("{output}: {cells} cells, {genes} genes, {counts} counts"))?;
    shell.summary(&serde_json::json!({ "h5ad": args.output, "report": report }))
}
