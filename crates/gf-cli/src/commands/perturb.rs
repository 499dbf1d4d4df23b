//! `gf perturb`

mod plan;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    hash::Hasher,
    io::Read,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use clap::{Args, ValueEnum};
use gf_corpus::Annotation;
use gf_embed::{CellReader, EmbedOptions, Embeddings, Readout, StateEmbeddings};
use gf_model::{Encoder, EncoderConfig, Projection, checkpoint::weight_files};
use gf_perturb::{
    CellChoice, Effect, GeneEffect, PerturbOptions, Progress, choose_cells,
    output::{GeneNames, write_ranking},
    perturbation::{Edit, Quartiles, Targets},
    plan::PassShape,
    rank,
    store::{ShardKey, ShardReader, ShardWriter},
};
use gf_tokenize::{Dataset, TokenId, Vocabulary};
use xxhash_rust::xxh3::Xxh3Default;

pub use self::plan::Estimate;
use self::plan::{PlanArgs, Planning};
use super::{
    DEFAULT_SEED,
    cells::{Agreement, CellArgs, Ready, embed_rows},
    genes::{listed_genes, symbol, token},
};
use crate::{
    args::Common,
    device::{DeviceChoice, Job},
    failure::Failure,
    outputs::claim_folder,
    render,
    shell::Shell,
};

/// File of the ranked genes in a run folder.
const RANKING_FILE: &str = "ranking.csv";
/// File of every single effect in a run folder.
const SHIFTS_FILE: &str = "shifts.arrow";
/// What an interrupted run leaves for the next one.
const UNFINISHED: [&str; 2] = [".shifts.arrow.partial", ".shifts.arrow.journal"];
/// A gene must be seen in so many of the cells to be printed: a mean over fewer
/// says more about the cell than about the gene.
const MIN_PRINTED_DETECTIONS: usize = 3;

/// Arguments of `gf perturb`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf perturb --model pretrain/model --data cells.dataset -o perturb \\\n    \
    --filter cell_type=cardiomyocyte --max-cells 20\n  \
    gf perturb --model model --data cells.dataset -o gata4 --genes GATA4 --read-genes\n  \
    gf perturb --model model --data cells.dataset --plan --price 2.50 --devices 12\n\n\
    Every gene of each chosen cell is deleted in turn. The effect of a gene is the\n\
    mean over cells of 1 - cosine between the cell's embedding with and without it.\n\
    Interrupted or killed, the same command goes on after the last whole cell."
)]
pub struct PerturbArgs {
    #[command(flatten)]
    cells: CellArgs,
    /// Run folder to write: shifts.arrow (every effect, for gf stats) and ranking.csv.
    #[arg(short, long, required_unless_present = "plan", value_name = "RUN")]
    output: Option<PathBuf>,
    /// Genes to perturb, each by itself: all, a list A,B of Ensembl ids, symbols or
    /// aliases, or @FILE with one on each line.
    #[arg(long, default_value = "all", value_name = "GENES")]
    genes: String,
    /// Perturb the listed genes together instead of each by itself.
    #[arg(long, conflicts_with = "anchor")]
    together: bool,
    /// Perturb every gene together with this one.
    #[arg(long, value_name = "GENE")]
    anchor: Option<String>,
    /// What is done to genes.
    #[arg(long, value_enum, default_value = "delete")]
    edit: EditArg,
    /// Quarters of the encoding by which inhibit and activate shift a gene: 1, 2 or 3.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3), value_name = "N")]
    quartiles: u8,
    /// What stands for the cell: its CLS token, or its genes (the only choice for V1).
    #[arg(long, value_enum, default_value = "cls")]
    mode: Mode,
    /// Compare each remaining gene as well.
    #[arg(long)]
    read_genes: bool,
    /// Measure shifts toward these states: the .json of `gf embed --states`.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Do only the I-th of N parts of the cells, as I/N; join them with `gf merge`.
    #[arg(long, default_value = "1/1", value_parser = parse_shard, value_name = "I/N")]
    shard: (usize, usize),
    /// Only cells with this value in a metadata column; may be repeated.
    #[arg(long, value_parser = parse_filter, value_name = "COLUMN=VALUE")]
    filter: Vec<(String, String)>,
    /// At most so many cells, drawn at random with --seed.
    #[arg(long, value_name = "N")]
    max_cells: Option<usize>,
    /// Most tokens in a batch of edited cells [default: 4,096, fewer where memory is short].
    #[arg(long, value_name = "N")]
    batch_tokens: Option<NonZeroUsize>,
    /// Compute the first layer anew for each deletion: slower, the same but for rounding.
    #[arg(long)]
    no_sharing: bool,
    /// Rows of the printed table.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
    #[command(flatten)]
    plan: PlanArgs,
}

/// What is done to genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EditArg {
    /// Take them out.
    Delete,
    /// Put them first.
    Overexpress,
    /// Shift them down.
    Inhibit,
    /// Shift them up.
    Activate,
}

/// What stands for a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Its CLS token.
    Cls,
    /// Its genes.
    Cell,
}

fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let is_part = |&(i, n): &(usize, usize)| (1..=n).contains(&i);
    numbers.filter(is_part).ok_or_else(|| format!("found {text:?}, expected I/N, as 1/8"))
}

fn parse_filter(text: &str) -> Result<(String, String), String> {
    let pair =
        text.split_once('=').ok_or_else(|| format!("found {text:?}, expected COLUMN=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

impl PerturbArgs {
    fn edit(&self) -> Result<Edit, Failure> {
        let quartiles = || {
            Quartiles::new(self.quartiles).ok_or_else(|| {
                Failure::Usage(format!("found --quartiles {}, expected 1 to 3", self.quartiles))
            })
        };
        Ok(match self.edit {
            EditArg::Delete => Edit::Delete,
            EditArg::Overexpress => Edit::Overexpress,
            EditArg::Inhibit => Edit::Inhibit(quartiles()?),
            EditArg::Activate => Edit::Activate(quartiles()?),
        })
    }

    fn targets(&self, vocabulary: &Vocabulary) -> Result<Targets, Failure> {
        let listed = listed_genes(&self.genes, vocabulary)?;
        match (&self.anchor, listed) {
            (Some(_), Some(_)) => {
                Err(Failure::Usage("found --anchor with --genes, expected one of them".to_owned()))
            }
            (Some(anchor), None) => Ok(Targets::WithAnchor(token(anchor, vocabulary)?)),
            (None, None) if self.together => Err(Failure::Usage(
                "found --together without a list, expected --genes A,B".to_owned(),
            )),
            (None, None) => Ok(Targets::All),
            (None, Some(genes)) if self.together => Ok(Targets::Together(genes)),
            (None, Some(genes)) => Ok(Targets::Each(genes)),
        }
    }

    /// Fits options to a model: its longest cells, and batches as asked for or as half of
    /// the memory holds that is free beside its weights.
    fn fit(
        &self,
        options: &mut PerturbOptions,
        config: &EncoderConfig,
        device: DeviceChoice,
    ) -> Result<(), Failure> {
        options.max_length = config.max_position_embeddings;
        let usual = options.tokens_per_batch;
        options.tokens_per_batch = match (self.batch_tokens, device.free_memory()) {
            (Some(asked), _) => asked.get(),
            (None, None) => usual,
            (None, Some(free)) => {
                let shape = PassShape::new(config, options)?;
                shape.batch_tokens(free / 2, options.batches_at_once).clamp(1, usual)
            }
        };
        Ok(())
    }

    /// The part of the cells that this shard does.
    fn part<'r>(&self, rows: &'r [usize]) -> &'r [usize] {
        let (i, n) = self.shard;
        &rows[(i - 1) * rows.len() / n..i * rows.len() / n]
    }
}

/// Perturbs genes and ranks them.
pub fn run(args: &PerturbArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let (dataset, vocabulary) = args.cells.open()?;
    let seed = common.seed.unwrap_or(DEFAULT_SEED);
    let choice = CellChoice { filters: args.filter.clone(), max_cells: args.max_cells, seed };
    let rows = choose_cells(&dataset, &choice)?;
    let reading = args.cells.options(common.device);
    let (edit, targets) = (args.edit()?, args.targets(&vocabulary)?);
    let states = args.states.as_deref().map(StateEmbeddings::read_json).transpose()?;
    let readout = if args.mode == Mode::Cls { Readout::Cls } else { Readout::Cell };
    let options = PerturbOptions {
        edit,
        targets,
        readout,
        layer: reading.layer,
        reads_genes: args.read_genes,
        states: states.unwrap_or_default(),
        batches_at_once: reading.batches_at_once,
        shares_first_layer: !args.no_sharing,
        ..PerturbOptions::new(0)
    };
    let device = common.device;
    let Some(output) = args.output.as_deref().filter(|_| !args.plan.plan) else {
        return device.run(Planning { args, dataset, vocabulary, rows, options, shell, device });
    };
    claim_folder(output, &[RANKING_FILE, SHIFTS_FILE, UNFINISHED[0], UNFINISHED[1]])?;
    let run =
        Perturbing { args, output, dataset, vocabulary, rows, reading, options, shell, device };
    device.run(run)
}

struct Perturbing<'a> {
    args: &'a PerturbArgs,
    output: &'a Path,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rows: Vec<usize>,
    reading: EmbedOptions,
    options: PerturbOptions,
    shell: &'a Shell,
    device: DeviceChoice,
}

impl Job for Perturbing<'_> {
    fn run<B: Backend>(mut self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.args.cells.load::<B>(device)?;
        self.args.fit(&mut self.options, &config, self.device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let precision = self.args.cells.precision;
        // Embedded here, so that the full encoder is gone when its cells are perturbed.
        let full = stored.full(precision).map(|full| self.embed(&full, &reader, device));
        let full = full.transpose()?;
        let agreement = match stored.in_precision(precision, device)? {
            Ready::Dense(encoder) => self.compared(&encoder, full, &reader, device)?,
            Ready::Int8(encoder) => self.compared(&encoder, full, &reader, device)?,
            Ready::Nf4(encoder) => self.compared(&encoder, full, &reader, device)?,
        };
        self.report(agreement)
    }
}

impl Perturbing<'_> {
    /// Perturbs; where there are embeddings of the full encoder, says how this one's agree.
    fn compared<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        full: Option<Embeddings>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Option<Agreement>, Failure> {
        let precision = self.args.cells.precision;
        let agreement = |full: Embeddings| -> Result<Agreement, Failure> {
            let embeddings = self.embed(encoder, reader, device)?;
            Ok(Agreement::between(precision, &embeddings, &full))
        };
        let agreement = full.map(agreement).transpose()?;
        self.perturb(encoder, reader, device)?;
        Ok(agreement)
    }

    fn embed<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Embeddings, Failure> {
        let reading = EmbedOptions { readout: self.options.readout, ..self.reading };
        embed_rows(encoder, reader, self.args.part(&self.rows), &reading, device, self.shell)
    }

    /// Perturbs the cells that are not yet in the file of results.
    fn perturb<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<(), Failure> {
        let path = self.output.join(SHIFTS_FILE);
        fs::create_dir_all(self.output).map_err(failure(self.output))?;
        let rows = self.args.part(&self.rows);
        let key = ShardKey {
            settings: self.settings(reader)?,
            states: self.options.states.iter().map(|(state, _)| state.to_owned()).collect(),
            shard: self.args.shard,
            n_cells: rows.len(),
        };
        let mut writer = ShardWriter::open(&path, &key)?;
        let left = &rows[writer.n_done()..];
        if !left.is_empty() {
            let mut meter = self.shell.progress("perturbing genes", "forward passes");
            let mut update = |p: Progress| meter.update(p.done, p.total, "");
            let mut take = |cell| writer.push(&cell);
            let run = gf_perturb::run;
            match run(encoder, reader, left, &self.options, device, &mut update, &mut take) {
                Err(gf_perturb::Error::Interrupted { done, total }) => {
                    return Err(Failure::Interrupted(format!(
                        "after {done} of {total} forward passes; the same command goes on after {} of {} cells",
                        writer.n_done(),
                        rows.len()
                    )));
                }
                other => other?,
            }
        }
        Ok(writer.finish()?)
    }

    /// Everything the numbers depend on: contents, not paths, so that shards of several
    /// machines can be joined.
    fn settings(&self, reader: &CellReader<'_>) -> Result<String, Failure> {
        let mut cells = Xxh3Default::new();
        for &row in &self.rows {
            let tokens = reader.tokens(row)?;
            cells.write_usize(tokens.len());
            tokens.iter().for_each(|&token| cells.write_i32(token));
        }
        let mut states = Xxh3Default::new();
        for (_, state) in self.options.states.iter() {
            state.iter().for_each(|x| states.write_u32(x.to_bits()));
        }
        let PerturbOptions { edit, targets, layer, readout, reads_genes, .. } = &self.options;
        let settings = serde_json::json!({
            "gf": env!("CARGO_PKG_VERSION"),
            "model": content_hash(&weight_files(&self.args.cells.model)?)?,
            "vocabulary": self.vocabulary.content_hash(),
            "cells": format!("{:016x}", cells.digest()),
            "states": format!("{:016x}", states.digest()),
            "edit": format!("{edit:?}"),
            "targets": format!("{targets:?}"),
            "layer": format!("{layer:?}"),
            "readout": format!("{readout:?}"),
            "reads_genes": reads_genes,
            "precision": format!("{:?}", self.args.cells.precision),
        });
        Ok(settings.to_string())
    }

    fn report(&self, agreement: Option<Agreement>) -> Result<(), Failure> {
        let output = self.output;
        let annotation = Annotation::shipped()?;
        let symbol = |id: &str| symbol(annotation, id);
        let names = GeneNames { vocabulary: &self.vocabulary, symbol: &symbol };
        let cells = ShardReader::open(&output.join(SHIFTS_FILE))?;
        let all: Vec<Effect> =
            cells.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let effects = rank(&all);
        write_ranking(&output.join(RANKING_FILE), &effects, &names)?;

        let n_cells = self.args.part(&self.rows).len();
        let detections = MIN_PRINTED_DETECTIONS.min(n_cells);
        let printed = effects.iter().filter(|effect| effect.n_detections >= detections);
        let name = |token: TokenId| names.symbol(token);
        self.shell.say(render::ranking(printed.take(self.args.top), name))?;
        self.shell.say(format!(
            "genes perturbed in at least {detections} of {n_cells} cells; all {} are in {}",
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
            "cells": n_cells,
            "perturbations": all.len(),
            "genes": effects.len(),
            "undetected_genes": missing,
            "agreement": agreement,
        }))
    }

    /// Listed genes that were perturbed in no cell.
    fn undetected(&self, effects: &[GeneEffect]) -> impl Iterator<Item = TokenId> {
        let detected: BTreeSet<TokenId> =
            effects.iter().flat_map(|effect| effect.genes.iter().copied()).collect();
        let listed: &[TokenId] = match &self.options.targets {
            Targets::Each(genes) | Targets::Together(genes) => genes,
            Targets::All | Targets::WithAnchor(_) => &[],
        };
        listed.iter().copied().filter(move |gene| !detected.contains(gene))
    }
}

fn failure(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::Error(format!("{}: {error}", path.display()).into())
}

/// The XXH3-64 of files one after another.
fn content_hash(paths: &[PathBuf]) -> Result<String, Failure> {
    let (mut hash, mut buffer) = (Xxh3Default::new(), vec![0; 1 << 20]);
    for path in paths {
        let mut file = File::open(path).map_err(failure(path))?;
        loop {
            match file.read(&mut buffer).map_err(failure(path))? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
    }
    Ok(format!("{:016x}", hash.digest()))
}
