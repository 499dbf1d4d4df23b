//! `gf medians`

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use gf_corpus::{
    Corpus, MEDIAN_SKETCH_ERROR, MedianSketch, Medians, Progress, Selection, refine_medians,
};

use crate::{failure::Failure, outputs::claim_file, render, shell::Shell};

/// Arguments of `gf medians`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gf medians corpus -o medians.tsv\n  \
    gf medians part1 -o part1.sketch     (on one machine)\n  \
    gf medians part2 -o part2.sketch     (on another)\n  \
    gf medians part1.sketch part2.sketch -o medians.tsv\n\n\
    Malignant cells, cell lines and studies without droplets are left out, as far as\n\
    the catalogue of the corpus names them.\n\n\
    Only a model that is pretrained anew needs its own medians; with an official\n\
    checkpoint use the medians published with it.")]
pub struct MediansArgs {
    /// A corpus folder: its exact medians. Several corpora or sketches: the medians of
    /// all their cells together, each within 0.4 % of the exact one.
    #[arg(required = true, value_name = "CORPUS|SKETCH")]
    inputs: Vec<PathBuf>,
    /// Table to write: ensembl_id, nonzero_median (CP10k). A name in .pkl writes the
    /// reference's pickle, one in .sketch a sketch that adds up with others.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Take every cell, malignant or not, from any platform.
    #[arg(long)]
    all_cells: bool,
}

/// Computes the medians and says how many genes have one.
pub fn run(args: &MediansArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let mut meter = shell.progress("reading", "cells");
    let progress = &mut |p: Progress| meter.update(p.done, p.total, "");
    let result = compute(args, progress);
    let (n_genes, n_cells) = match result {
        Err(gf_corpus::Error::Cancelled) => {
            return Err(Failure::Interrupted(format!("{} was not written", args.output.display())));
        }
        other => other?,
    };
    let output = args.output.display();
    let genes = render::thousands(n_genes as u64);
    let cells = render::thousands(n_cells);
    shell.say(format!("{output}: medians of {genes} genes over {cells} cells"))?;
    shell.summary(&serde_json::json!({
        "medians": args.output, "genes": n_genes, "cells": n_cells,
        "relative_error": if is_exact(args) { 0.0 } else { MEDIAN_SKETCH_ERROR },
    }))
}

fn is_exact(args: &MediansArgs) -> bool {
    args.inputs.len() == 1 && args.inputs[0].is_dir() && !has_ending(&args.output, "sketch")
}

type Progressing<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Writes the output; returns the numbers of genes and of cells.
fn compute(args: &MediansArgs, progress: Progressing) -> Result<(usize, u64), gf_corpus::Error> {
    let selection = if args.all_cells { Selection::ALL } else { Selection::MEDIANS };
    if is_exact(args) {
        let corpus = Corpus::open(&args.inputs[0])?;
        let sketch = MedianSketch::of(&corpus, selection, progress)?;
        let medians = refine_medians(&sketch, &corpus, selection, progress)?;
        write(&medians, &args.output)?;
        return Ok((medians.len(), sketch.n_cells()));
    }
    let mut sum = MedianSketch::default();
    for input in &args.inputs {
        let sketch = if input.is_dir() {
            MedianSketch::of(&Corpus::open(input)?, selection, progress)?
        } else {
            MedianSketch::read(input)?
        };
        sum.merge(&sketch)?;
    }
    let medians = sum.medians();
    if has_ending(&args.output, "sketch") {
        sum.write(&args.output)?;
    } else {
        write(&medians, &args.output)?;
    }
    Ok((medians.len(), sum.n_cells()))
}

fn write(medians: &Medians, path: &Path) -> Result<(), gf_corpus::Error> {
    if has_ending(path, "pkl") || has_ending(path, "pickle") {
        return medians.write_pickle(path);
    }
    medians.write_tsv(path)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case(ending))
}
