//! `gf ingest`

use std::path::PathBuf;

use clap::Args;
use gf_corpus::{
    Ambient, COLUMNS, CallCells, Catalogue, CellRanger22, Corpus, EmptyDrops, Found, GeneMap,
    IngestOptions, Ledger, MIN_PROTEIN_CODING, QcOptions, SourceOptions, ingest,
};

use crate::{failure::Failure, render, shell::Shell};

/// Arguments of `gf ingest`.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct IngestArgs {
    /// Count files, and folders to search for them: .h5ad, .loom, 10x .h5, 10x MEX folders,
    /// .csv, .tsv and .txt tables (gz or plain; those by name only).
    #[arg(required_unless_present = "catalogue", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Table of studies to read instead: .toml, .csv or .tsv.
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    catalogue: Option<PathBuf>,
    /// Corpus folder to write; an older corpus there is replaced.
    #[arg(short, long, value_name = "CORPUS")]
    output: PathBuf,
    /// Keep the studies of the corpus that is there, and add these.
    #[arg(long)]
    append: bool,
    /// Matrix of an .h5ad or .loom file: X, raw/X or the name of a layer; by default the
    /// one that holds raw counts.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Which name is which gene: the reference's mapping dictionary (.pkl) or a TSV of
    /// name and Ensembl id; by default a table that ships with gf.
    #[arg(long, value_name = "MAP")]
    genes: Option<PathBuf>,
    /// Token dictionary (.pkl): of the map only its genes are used, as the reference does.
    #[arg(long, value_name = "TOKENS", requires = "genes")]
    gene_tokens: Option<PathBuf>,
    /// Detected protein-coding genes a cell needs to be kept.
    #[arg(long, default_value_t = MIN_PROTEIN_CODING, value_name = "N")]
    min_genes: usize,
    #[command(flatten)]
    limits: LimitArgs,
    /// Call cells among the droplets of unfiltered matrices, as Cell Ranger 2.2 does, with
    /// this number of cells expected.
    #[arg(long, value_name = "EXPECTED", num_args = 0..=1, default_missing_value = "3000")]
    call_cells: Option<u64>,
    /// Test the droplets below for genes that differ from the ambient RNA, as Cell Ranger 3
    /// does (EmptyDrops).
    #[arg(long, requires = "call_cells")]
    empty_drops: bool,
    /// Droplets of at most so many counts tell the ambient RNA; by default those ranked
    /// 45,000 to 90,000 by their counts, as in Cell Ranger 3.
    #[arg(long, requires = "empty_drops", value_name = "COUNTS")]
    ambient: Option<u64>,
    /// Leave copies of cells in the corpus; they are reported all the same.
    #[arg(long)]
    keep_copies: bool,
    /// Read every study of the catalogue, also those that another database offers under
    /// the same DOI, and tell copies by the cells' content alone.
    #[arg(long)]
    every_offer: bool,
}

/// Optional limits on cells.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits on cells")]
struct LimitArgs {
    /// Fewest counts of a cell.
    #[arg(long, value_name = "N")]
    min_counts: Option<u64>,
    /// Most counts of a cell.
    #[arg(long, value_name = "N")]
    max_counts: Option<u64>,
    /// Fewest detected genes of a cell, of any kind.
    #[arg(long, value_name = "N")]
    min_detected: Option<usize>,
    /// Most detected genes of a cell, of any kind.
    #[arg(long, value_name = "N")]
    max_detected: Option<usize>,
    /// Largest share of mitochondrial counts, in percent.
    #[arg(long, value_name = "PERCENT")]
    max_mito: Option<f64>,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
        gf ingest pbmc3k/hg19 donor2.h5ad -o corpus\n  \
        gf ingest --catalogue studies.toml -o corpus\n\n\
        A study that is in the corpus already, read from the same file in the same way, is\n\
        not read again: the same command resumes an interrupted ingest, and a catalogue that\n\
        has grown costs what is new in it.\n\n\
        The columns of a catalogue (TOML tables [[study]], or a header in CSV or TSV), of which\n\
        id and path are required; malignant is yes, no or COLUMN=VALUE|VALUE:\n  {}",
        COLUMNS.join(", ")
    )
}

impl IngestArgs {
    fn options(&self) -> Result<IngestOptions, Failure> {
        let genes = self.genes.as_deref().map(GeneMap::open).transpose()?.unwrap_or_default();
        let genes = match &self.gene_tokens {
            Some(tokens) => genes.restricted_to(tokens)?,
            None => genes,
        };
        let limits = &self.limits;
        Ok(IngestOptions {
            source: SourceOptions { layer: self.layer.clone(), ..SourceOptions::default() },
            genes,
            qc: QcOptions {
                min_protein_coding: self.min_genes,
                min_counts: limits.min_counts,
                max_counts: limits.max_counts,
                min_genes: limits.min_detected,
                max_genes: limits.max_detected,
                max_mitochondrial_share: limits.max_mito.map(|percent| percent / 100.0),
            },
            droplets: self.call_cells.map(|expected_cells| CallCells {
                by_totals: CellRanger22 { expected_cells, ..CellRanger22::default() },
                by_genes: self.empty_drops.then(|| self.droplet_test()),
            }),
            keep_copies: self.keep_copies,
            every_offer: self.every_offer,
            append: self.append,
            ..IngestOptions::default()
        })
    }

    fn droplet_test(&self) -> EmptyDrops {
        let test = EmptyDrops::default();
        let ambient = self.ambient.map_or(test.ambient, |counts| Ambient::AtMost { counts });
        EmptyDrops { ambient, ..test }
    }

    fn found(&self) -> Result<Found, Failure> {
        Ok(match &self.catalogue {
            Some(path) => Found { catalogue: Catalogue::read(path)?, skipped: Vec::new() },
            None => Found::under(&self.inputs)?,
        })
    }
}

/// Ingests files and prints the ledger.
pub fn run(args: &IngestArgs, shell: &Shell) -> Result<(), Failure> {
    let options = args.options()?;
    let Found { catalogue, skipped } = args.found()?;
    let mut meter = shell.progress("ingesting", "cells");
    let result = ingest(&catalogue, &args.output, &options, &mut |study, p| {
        meter.update(p.done, p.total, &study.id)
    });
    let ledger = match result {
        Err(gf_corpus::Error::Cancelled) => {
            let output = args.output.display();
            return Err(Failure::Interrupted(format!(
                "{output} is as it was; the same command resumes with the study it was in"
            )));
        }
        other => other?,
    };
    let corpus = Corpus::open(&args.output)?;
    say(&ledger, &skipped, shell)?;
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
        "by_source_database": ledger.by_source_database(),
        "skipped": skipped,
        "ledger": ledger,
    }))
}

fn say(ledger: &Ledger, skipped: &[PathBuf], shell: &Shell) -> Result<(), Failure> {
    for file in &ledger.files {
        shell.say(render::ledger(file))?;
        for line in render::left_out(file) {
            shell.say(line)?;
        }
    }
    for line in render::left_out_of_corpus(ledger, skipped) {
        shell.say(line)?;
    }
    if ledger.files.len() + ledger.superseded.len() > 1 {
        shell.say(render::sources(&ledger.by_source_database()))?;
    }
    Ok(())
}
