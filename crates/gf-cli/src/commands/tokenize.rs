//! `gf tokenize`

use std::path::PathBuf;

use clap::Args;
use gf_corpus::{Corpus, Medians, Selection};
use gf_tokenize::{RankEncoder, TokenizeOptions, Vocabulary, tokenize};

use crate::{failure::Failure, render, shell::Shell};

/// Arguments of `gf tokenize`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gf tokenize corpus --medians medians.tsv -o cells.dataset\n\n\
    Python opens the result with datasets.load_from_disk.")]
pub struct TokenizeArgs {
    /// Corpus folder.
    #[arg(value_name = "CORPUS")]
    corpus: PathBuf,
    /// Data set folder to write; an older one of ours there is replaced.
    #[arg(short, long, value_name = "DATASET")]
    output: PathBuf,
    /// Non-zero medians: the reference's dictionary (.pkl), JSON or TSV.
    #[arg(long, value_name = "FILE")]
    medians: PathBuf,
    /// Token dictionary: the reference's (.pkl), JSON or TSV; by default the corpus's protein-coding
    /// genes that have a median, in the order of their ids, after <pad>, <mask>,
    /// <cls>, <eos>.
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,
    /// Longest cell in tokens, <cls> and <eos> included.
    #[arg(long, default_value_t = RankEncoder::MAX_LEN_V2, value_name = "N")]
    max_len: usize,
    /// Columns of the cells' metadata to carry along.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    keep_columns: Vec<String>,
    /// Keep the counts behind the tokens too, in CP10k (column counts).
    #[arg(long)]
    keep_counts: bool,
    /// For pretraining: leave out malignant cells and cell lines, as the paper did; the
    /// catalogue of the corpus says which they are.
    #[arg(long)]
    only_normal: bool,
}

/// Tokenises a corpus and says what became of its cells.
pub fn run(args: &TokenizeArgs, shell: &Shell) -> Result<(), Failure> {
    let corpus = Corpus::open(&args.corpus)?;
    let medians = Medians::open(&args.medians)?;
    let vocabulary = match &args.vocab {
        Some(path) => Vocabulary::open(path)?,
        None => own_vocabulary(&corpus, &medians),
    };
    let encoder = RankEncoder::new(vocabulary, &medians, args.max_len)?;
    let options = TokenizeOptions {
        columns: args.keep_columns.clone(),
        counts: args.keep_counts,
        selection: if args.only_normal { Selection::PRETRAINING } else { Selection::ALL },
        ..TokenizeOptions::default()
    };
    let mut meter = shell.progress("tokenising", "cells");
    let result = tokenize(&corpus, &encoder, &args.output, &options, &mut |p| {
        meter.update(p.done, p.total, "")
    });
    let report = match result {
        Err(gf_tokenize::Error::Interrupted { done, total, rows, partial }) => {
            let output = args.output.display();
            let kept = match rows {
                0 => "nothing was kept".to_owned(),
                _ => format!("the same command goes on after {rows} rows in {}", partial.display()),
            };
            return Err(Failure::Interrupted(format!(
                "after {done} of {total} cells; {output} was not written, {kept}"
            )));
        }
        other => other?,
    };
    shell.say(render::tokenized(&report, encoder.vocabulary().len()))?;
    for line in render::ambiguous_genes(encoder.ambiguous_genes()) {
        shell.say(line)?;
    }
    if report.written == 0 {
        let output = args.output.display();
        return Err(Failure::Error(format!("no cell was written: {output} is empty").into()));
    }
    shell.say(format!("{}: {} cells", args.output.display(), render::thousands(report.written)))?;
    shell.summary(&serde_json::json!({
        "dataset": args.output,
        "vocabulary": encoder.vocabulary().len(),
        "report": report,
    }))
}

fn own_vocabulary(corpus: &Corpus, medians: &Medians) -> Vocabulary {
    let genes = corpus.genes().iter().filter(|gene| gene.biotype.is_protein_coding());
    Vocabulary::from_genes(genes.map(|gene| gene.id).filter(|&id| medians.get(id).is_some()))
}
