//! `gf tokenize`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gf_corpus::{
    Cells, Collapse, Corpus, CorpusCells, FileCells, Found, GeneMap, IngestOptions, Medians,
    QcOptions, Selection, SourceOptions, Study,
};
use gf_tokenize::{Compat, RankEncoder, TokenizeOptions, Vocabulary, tokenize};

use crate::{failure::Failure, render, shell::Shell};

/// Arguments of `gf tokenize`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gf tokenize corpus --medians medians.tsv -o cells.dataset\n  \
    gf tokenize donor1.h5ad donor2.loom --vocab token_dictionary_gc104M.pkl\n    \
    --medians gene_median_dictionary_gc104M.pkl -o cells.dataset\n\n\
    Python opens the result with datasets.load_from_disk. A run that was broken off goes on\n\
    where it was when the same command is given again."
)]
pub struct TokenizeArgs {
    /// A corpus folder; or files and folders of counts, which are read one after the other
    /// without looking for copies of cells or filtering any.
    #[arg(required = true, value_name = "CORPUS|FILE")]
    inputs: Vec<PathBuf>,
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
    #[command(flatten)]
    files: FileArgs,
}

/// What tells a corpus folder.
const CORPUS_MANIFEST: &str = "manifest.json";
/// Where the reference looks for the ids of genes.
const REFERENCE_GENE_COLUMN: &str = "ensembl_id";

/// How files are read that are no corpus.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Names and the genes they stand for, instead of the table that comes with gf: the
    /// reference's mapping dictionary (.pkl), JSON, or name<TAB>id lines.
    #[arg(long, value_name = "FILE")]
    genes: Option<PathBuf>,
    /// The matrix to read: X, raw/X or a layer; by default the first that holds raw counts.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// The column of var or row attribute that names the genes, or "index"; by default the one
    /// with most Ensembl ids, with --compat reference ensembl_id.
    #[arg(long, value_name = "NAME")]
    gene_column: Option<String>,
    /// Follow the Python package to the token: totals from the column n_counts, only cells whose
    /// filter_pass is 1, names in --genes only, its arithmetic for the file's number types.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    compat: Option<CompatChoice>,
}

/// Programs whose rules can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompatChoice {
    /// Geneformer's TranscriptomeTokenizer.
    Reference,
}

/// What is tokenised.
enum Input {
    Corpus(Box<Corpus>),
    Files(Vec<Study>),
}

impl Input {
    fn find(args: &TokenizeArgs) -> Result<Self, Failure> {
        if let [folder] = args.inputs.as_slice()
            && folder.join(CORPUS_MANIFEST).is_file()
        {
            let only_files = args.files.given();
            if let Some(option) = only_files {
                return Err(Failure::Usage(format!("{option} is for files, not for a corpus")));
            }
            return Ok(Self::Corpus(Box::new(Corpus::open(folder)?)));
        }
        if args.only_normal {
            return Err(Failure::Usage("--only-normal needs a corpus".to_owned()));
        }
        Ok(Self::Files(Found::under(&args.inputs)?.catalogue.studies))
    }
}

impl FileArgs {
    /// The first option that was given.
    fn given(&self) -> Option<&'static str> {
        let given = [
            ("--genes", self.genes.is_some()),
            ("--layer", self.layer.is_some()),
            ("--gene-column", self.gene_column.is_some()),
            ("--compat", self.compat.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// No cell is filtered: which ones are tokenised is for the vocabulary to decide.
    fn options(&self, vocabulary: &Vocabulary) -> Result<IngestOptions, Failure> {
        let is_reference = self.compat == Some(CompatChoice::Reference);
        let column = || is_reference.then(|| REFERENCE_GENE_COLUMN.to_owned());
        let genes = match is_reference {
            true => {
                let tokens = vocabulary.genes().map(|(gene, _)| gene);
                GeneMap::reference(self.genes.as_deref(), tokens)?
            }
            false => self.genes.as_deref().map(GeneMap::open).transpose()?.unwrap_or_default(),
        };
        Ok(IngestOptions {
            source: SourceOptions {
                layer: self.layer.clone(),
                gene_column: self.gene_column.clone().or_else(column),
            },
            genes,
            collapse: if is_reference { Collapse::Reference } else { Collapse::Sum },
            qc: QcOptions { min_protein_coding: 0, ..QcOptions::default() },
            ..IngestOptions::default()
        })
    }
}

/// Tokenises cells and says what became of them.
pub fn run(args: &TokenizeArgs, shell: &Shell) -> Result<(), Failure> {
    let input = Input::find(args)?;
    let medians = Medians::open(&args.medians)?;
    let vocabulary = match (&args.vocab, &input) {
        (Some(path), _) => Vocabulary::open(path)?,
        (None, Input::Corpus(corpus)) => own_vocabulary(corpus, &medians),
        (None, Input::Files(_)) => {
            return Err(Failure::Usage("files need --vocab".to_owned()));
        }
    };
    let encoder = RankEncoder::new(vocabulary, &medians, args.max_len)?;
    match input {
        Input::Corpus(corpus) => {
            let selection = match args.only_normal {
                true => Selection::PRETRAINING,
                false => Selection::ALL,
            };
            write(args, &mut CorpusCells::new(&corpus, selection), &encoder, shell)
        }
        Input::Files(studies) => {
            let options = args.files.options(encoder.vocabulary())?;
            let mut cells = FileCells::open(studies, options)?;
            let written = write(args, &mut cells, &encoder, shell);
            for book in cells.ledgers() {
                shell.say(render::ledger(book))?;
                for line in render::left_out(book) {
                    shell.say(line)?;
                }
            }
            written
        }
    }
}

fn write(
    args: &TokenizeArgs,
    cells: &mut dyn Cells,
    encoder: &RankEncoder,
    shell: &Shell,
) -> Result<(), Failure> {
    let options = TokenizeOptions {
        columns: args.keep_columns.clone(),
        counts: args.keep_counts,
        compat: match args.files.compat {
            Some(CompatChoice::Reference) => Compat::Reference,
            None => Compat::Own,
        },
        ..TokenizeOptions::default()
    };
    let mut meter = shell.progress("tokenising", "cells");
    let result = tokenize(cells, encoder, &args.output, &options, &mut |p| {
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
