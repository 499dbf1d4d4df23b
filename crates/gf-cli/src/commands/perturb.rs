//! `gf perturb`

use std::{collections::BTreeSet, fs, path::PathBuf};

use burn::tensor::backend::Backend;
use clap::Args;
use gf_corpus::{Annotation, GeneId, Resolution};
use gf_embed::{CellReader, EmbedOptions, Embeddings};
use gf_model::{Encoder, Projection};
use gf_perturb::{
    CellChoice, CellShifts, GeneEffect, PerturbOptions, Progress, choose_cells,
    output::{write_cell_shifts, write_ranking},
    rank,
};
use gf_quant::{int8::Activations, quantize_int8, quantize_nf4};
use gf_tokenize::{Dataset, TokenId, Vocabulary};

use super::{
    DEFAULT_SEED,
    cells::{Agreement, CellArgs, Precision, Stored, embed_rows},
};
use crate::{
    args::Common, device::Job, failure::Failure, outputs::claim_folder, render, shell::Shell,
};

/// File of the ranked genes in a run folder.
const RANKING_FILE: &str = "ranking.csv";
/// File of every single deletion in a run folder.
const CELL_SHIFTS_FILE: &str = "cell_shifts.csv";
/// A gene must be seen in so many of the cells to be printed: a mean over fewer
/// says more about the cell than about the gene.
const MIN_PRINTED_DETECTIONS: usize = 3;

/// Arguments of `gf perturb`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf perturb --model pretrain/model --data cells.dataset -o perturb \\\n    \
    --filter cell_type=cardiomyocyte --max-cells 20\n\n\
    Every gene of each chosen cell is deleted in turn. The effect of a gene is the\n\
    mean over cells of 1 - cosine between the cell's embedding with and without it."
)]
pub struct PerturbArgs {
    #[command(flatten)]
    cells: CellArgs,
    /// Run folder to write: ranking.csv and cell_shifts.csv.
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
    /// Genes to delete, each by itself: all, a list A,B of Ensembl ids, symbols or
    /// aliases, or @FILE with one on each line.
    #[arg(long, default_value = "all", value_name = "GENES")]
    genes: String,
    /// Only cells with this value in a metadata column; may be repeated.
    #[arg(long, value_parser = parse_filter, value_name = "COLUMN=VALUE")]
    filter: Vec<(String, String)>,
    /// At most so many cells, drawn at random with --seed.
    #[arg(long, value_name = "N")]
    max_cells: Option<usize>,
    /// Rows of the printed table.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
}

fn parse_filter(text: &str) -> Result<(String, String), String> {
    let pair =
        text.split_once('=').ok_or_else(|| format!("found {text:?}, expected COLUMN=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Deletes genes and ranks them.
pub fn run(args: &PerturbArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let (dataset, vocabulary) = args.cells.open()?;
    let seed = common.seed.unwrap_or(DEFAULT_SEED);
    let choice = CellChoice { filters: args.filter.clone(), max_cells: args.max_cells, seed };
    let rows = choose_cells(&dataset, &choice)?;
    let reading = args.cells.options(common.device);
    let genes = chosen_genes(&args.genes, &vocabulary)?;
    claim_folder(&args.output, &[RANKING_FILE, CELL_SHIFTS_FILE])?;
    common.device.run(Perturbing { args, dataset, vocabulary, rows, reading, genes, shell })
}

/// The tokens of `--genes`; `None` for all.
fn chosen_genes(text: &str, vocabulary: &Vocabulary) -> Result<Option<BTreeSet<TokenId>>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let listed = match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::Error(format!("{path}: {error}").into()))?,
        None => text.to_owned(),
    };
    let names = listed.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty());
    let genes: BTreeSet<TokenId> =
        names.map(|name| token(name, vocabulary)).collect::<Result<_, _>>()?;
    if genes.is_empty() {
        return Err(Failure::Usage(format!("--genes {text}: no gene, expected at least one")));
    }
    Ok(Some(genes))
}

fn token(name: &str, vocabulary: &Vocabulary) -> Result<TokenId, Failure> {
    let id = match GeneId::from_versioned(name) {
        Some(id) => id,
        None => id_of(name)?,
    };
    vocabulary.id(id).ok_or_else(|| {
        let n_tokens = vocabulary.len();
        Failure::Usage(format!(
            "gene {name} ({id}) is not among the vocabulary's {n_tokens} tokens"
        ))
    })
}

fn id_of(name: &str) -> Result<GeneId, Failure> {
    match Annotation::shipped()?.resolve(name) {
        Resolution::Found(id, _) => Ok(id),
        Resolution::Ambiguous => {
            Err(Failure::Usage(format!("several genes are called {name}, expected an Ensembl id")))
        }
        Resolution::Unknown => Err(Failure::Usage(format!(
            "gene {name} is not known, expected an Ensembl id, symbol or alias"
        ))),
    }
}

struct Perturbing<'a> {
    args: &'a PerturbArgs,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rows: Vec<usize>,
    reading: EmbedOptions,
    genes: Option<BTreeSet<TokenId>>,
    shell: &'a Shell,
}

impl Job for Perturbing<'_> {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.args.cells.load::<B>(device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let (shifts, agreement) = match (stored, self.args.cells.precision) {
            (Stored::Dense(encoder), Precision::F32) => {
                (self.delete(&encoder, &reader, device)?, None)
            }
            (Stored::Dense(encoder), Precision::Int8) => {
                let to_int8 = |encoder| quantize_int8(encoder, Activations::Int8);
                self.compare(encoder, to_int8, &reader, device)?
            }
            (Stored::Dense(encoder), Precision::Nf4) => {
                self.compare(encoder, quantize_nf4, &reader, device)?
            }
            (Stored::Int8(encoder), _) => (self.delete(&encoder, &reader, device)?, None),
            (Stored::Nf4(encoder), _) => (self.delete(&encoder, &reader, device)?, None),
        };
        self.report(&shifts, agreement)
    }
}

impl Perturbing<'_> {
    /// Shifts of the quantised encoder, and how its embeddings agree with the full one's.
    fn compare<B: Backend, P: Projection<B>>(
        &self,
        encoder: Encoder<B>,
        quantize: impl FnOnce(Encoder<B>) -> Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<(Vec<CellShifts>, Option<Agreement>), Failure> {
        let full = self.embed(&encoder, reader, device)?;
        let quantised = quantize(encoder);
        let embeddings = self.embed(&quantised, reader, device)?;
        let agreement = Agreement::between(self.args.cells.precision, &embeddings, &full);
        Ok((self.delete(&quantised, reader, device)?, Some(agreement)))
    }

    fn embed<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Embeddings, Failure> {
        embed_rows(encoder, reader, &self.rows, &self.reading, device, self.shell)
    }

    fn delete<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Vec<CellShifts>, Failure> {
        let EmbedOptions { layer, batches_at_once, .. } = self.reading;
        let genes = self.genes.clone();
        let options = PerturbOptions { layer, genes, batches_at_once, ..PerturbOptions::default() };
        let mut meter = self.shell.progress("deleting genes", "forward passes");
        let mut update = |p: Progress| meter.update(p.done, p.total, "");
        match gf_perturb::run(encoder, reader, &self.rows, &options, device, &mut update) {
            Err(gf_perturb::Error::Interrupted { done, total }) => {
                Err(Failure::Interrupted(format!(
                    "after {done} of {total} forward passes; {} was not written",
                    self.args.output.display()
                )))
            }
            other => Ok(other?),
        }
    }

    fn report(&self, shifts: &[CellShifts], agreement: Option<Agreement>) -> Result<(), Failure> {
        let output = &self.args.output;
        fs::create_dir_all(output)
            .map_err(|error| Failure::Error(format!("{}: {error}", output.display()).into()))?;
        let annotation = Annotation::shipped()?;
        let symbol = |id: &str| {
            let gene = annotation.gene(id.parse().ok()?)?;
            Some(gene.symbol.clone())
        };
        let effects = rank(shifts);
        write_ranking(&output.join(RANKING_FILE), &effects, &self.vocabulary, symbol)?;
        write_cell_shifts(&output.join(CELL_SHIFTS_FILE), shifts, &self.vocabulary)?;
        let n_deletions: usize = shifts.iter().map(|cell| cell.genes.len()).sum();

        let detections = MIN_PRINTED_DETECTIONS.min(self.rows.len());
        let printed = effects.iter().filter(|effect| effect.n_detections >= detections);
        let name = |token: TokenId| {
            let id = self.vocabulary.name(token).unwrap_or_default();
            symbol(&id).unwrap_or(id)
        };
        self.shell.say(render::ranking(printed.take(self.args.top), name))?;
        self.shell.say(format!(
            "genes detected in at least {detections} of {} cells; all {} genes are in {}",
            self.rows.len(),
            render::thousands(effects.len() as u64),
            output.join(RANKING_FILE).display(),
        ))?;
        let missing: Vec<String> = self.undetected(&effects).map(name).collect();
        if !missing.is_empty() {
            self.shell.say(format!("detected in none of the cells: {}", missing.join(", ")))?;
        }
        if let Some(agreement) = agreement {
            self.shell.say(agreement)?;
        }
        self.shell.summary(&serde_json::json!({
            "run": output,
            "cells": self.rows.len(),
            "deletions": n_deletions,
            "genes": effects.len(),
            "undetected_genes": missing,
            "agreement": agreement,
        }))
    }

    /// Chosen genes that no chosen cell has.
    fn undetected(&self, effects: &[GeneEffect]) -> impl Iterator<Item = TokenId> {
        let detected: BTreeSet<TokenId> = effects.iter().map(|effect| effect.gene).collect();
        self.genes.iter().flatten().copied().filter(move |gene| !detected.contains(gene))
    }
}
