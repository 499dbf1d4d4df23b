//! `gf quantize`

use std::{collections::BTreeSet, fs, path::PathBuf};

use burn::tensor::backend::Backend;
use clap::{Args, ValueEnum};
use gf_embed::{CellReader, EmbedLayer, Embeddings, similarity::cosine};
use gf_model::{
    Encoder, EncoderConfig, EncoderInput, Projection,
    checkpoint::{CONFIG_FILE, WEIGHTS_FILE},
};
use gf_perturb::{CellChoice, CellShifts, PerturbOptions, choose_cells, rank};
use gf_quant::{
    checkpoint::{WeightFormat, load_int8_encoder, load_nf4_encoder, quantize_folder},
    footprint::{Footprint, NumberFormat},
    int8::Activations,
};
use gf_tokenize::{Dataset, ModelTokens, TokenId, VOCABULARY_FILE, Vocabulary};
use serde::Serialize;

use super::{
    DEFAULT_SEED,
    cells::{Agreement, CellArgs, Precision, Stored, embed_rows},
};
use crate::{
    args::Common, device::Job, failure::Failure, model_folder, outputs::claim_folder, render,
    shell::Shell,
};

/// Genes of a deletion ranking that are compared.
const TOP_GENES: usize = 100;

/// Arguments of `gf quantize`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf quantize --model pretrain/model --to nf4 -o model-nf4 --data cells.dataset\n\n\
    The folder is in the layout of transformers with bitsandbytes; embed and perturb read it\n\
    as any other. Embeddings, norms and heads stay as they are."
)]
pub struct QuantizeArgs {
    /// Dense model folder (config.json and weights), or a repository in the local Hugging Face
    /// cache: ORG/NAME[@REVISION][:SUBFOLDER].
    #[arg(long, value_name = "DIR", value_parser = model_folder::parse)]
    model: PathBuf,
    /// Number format of the encoder's projections.
    #[arg(long, value_enum)]
    to: Format,
    /// Model folder to write.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Data set of tokens on which the quantised model is compared with the full one.
    #[arg(long, value_name = "DATASET")]
    data: Option<PathBuf>,
    /// Cells of it that are compared, drawn at random with --seed.
    #[arg(long, default_value_t = 10, value_name = "N", requires = "data")]
    max_cells: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// 4-bit NormalFloat with doubly quantised scales.
    Nf4,
    /// Signed bytes with a scale per output channel.
    Int8,
}

impl From<Format> for WeightFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Nf4 => Self::Nf4,
            Format::Int8 => Self::Int8,
        }
    }
}

/// Writes the quantised folder, then says what it costs.
pub fn run(args: &QuantizeArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let comparison = args.data.as_deref().map(|_| Comparison::open(args, common, shell));
    let comparison = comparison.transpose()?;
    let copied = [VOCABULARY_FILE, ModelTokens::FILE];
    claim_folder(&args.output, &[&[CONFIG_FILE, WEIGHTS_FILE], &copied[..]].concat())?;
    quantize_folder(&args.model, &args.output, args.to.into())?;
    for name in copied.into_iter().filter(|name| args.model.join(name).is_file()) {
        let to = args.output.join(name);
        fs::copy(args.model.join(name), &to)
            .map_err(|error| Failure::Error(format!("{}: {error}", to.display()).into()))?;
    }
    let config = EncoderConfig::read(&args.output.join(CONFIG_FILE))?;
    let footprints = NumberFormat::ALL.map(|format| Footprint::of(&config, format));
    shell.say(render::footprints(&footprints))?;
    match comparison {
        Some(comparison) => common.device.run(comparison),
        None => summary(args, shell, None),
    }
}

fn summary(args: &QuantizeArgs, shell: &Shell, fidelity: Option<&Fidelity>) -> Result<(), Failure> {
    let config = EncoderConfig::read(&args.output.join(CONFIG_FILE))?;
    let bytes = |format| (format, Footprint::of(&config, format).total());
    let bytes =
        NumberFormat::ALL.map(bytes).map(|(format, n)| (format.name().to_owned(), n.into()));
    let bytes: serde_json::Map<String, serde_json::Value> = bytes.into_iter().collect();
    shell.summary(&serde_json::json!({
        "model": args.output, "bytes": bytes, "fidelity": fidelity,
    }))
}

/// How closely the quantised model follows the full one.
#[derive(Debug, Serialize)]
struct Fidelity {
    /// Cosine of the hidden states of every token below the one that is read.
    least_state_cosine: f64,
    mean_state_cosine: f64,
    /// Cosine of the embeddings of cells.
    embeddings: Agreement,
    /// Genes among the first of both deletion rankings, of so many.
    top_genes_shared: usize,
    top_genes: usize,
}

struct Comparison<'a> {
    args: &'a QuantizeArgs,
    cells: CellArgs,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rows: Vec<usize>,
    common: &'a Common,
    shell: &'a Shell,
}

impl<'a> Comparison<'a> {
    fn open(args: &'a QuantizeArgs, common: &'a Common, shell: &'a Shell) -> Result<Self, Failure> {
        let cells = CellArgs {
            model: args.model.clone(),
            data: args.data.clone().unwrap_or_default(),
            vocab: None,
            layer: EmbedLayer::SecondToLast,
            precision: Precision::F32,
        };
        let (dataset, vocabulary) = cells.open()?;
        let seed = common.seed.unwrap_or(DEFAULT_SEED);
        let choice = CellChoice { filters: Vec::new(), max_cells: Some(args.max_cells), seed };
        let rows = choose_cells(&dataset, &choice)?;
        Ok(Self { args, cells, dataset, vocabulary, rows, common, shell })
    }
}

impl Job for Comparison<'_> {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.cells.load::<B>(device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let Stored::Dense(encoder) = stored else {
            return Err(Failure::Usage(format!("{} is quantised", self.args.model.display())));
        };
        let full = self.read(&encoder.pack(), &reader, device)?;
        let folder = &self.args.output;
        let (precision, quantised) = match self.args.to {
            Format::Nf4 => {
                let (_, encoder) = load_nf4_encoder::<B>(folder, device)?;
                (Precision::Nf4, self.read(&encoder, &reader, device)?)
            }
            Format::Int8 => {
                let (_, encoder) = load_int8_encoder::<B>(folder, Activations::Int8, device)?;
                (Precision::Int8, self.read(&encoder, &reader, device)?)
            }
        };
        let fidelity = full.against(&quantised, precision);
        self.report(&fidelity)
    }
}

/// What one encoder says of the cells.
struct Reading {
    /// Every real token's state.
    states: Vec<Vec<f32>>,
    embeddings: Embeddings,
    /// The first genes of the deletion ranking.
    top: BTreeSet<TokenId>,
}

impl Comparison<'_> {
    fn read<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Reading, Failure> {
        let options = self.cells.options(self.common.device);
        let embeddings = embed_rows(encoder, reader, &self.rows, &options, device, self.shell)?;
        let mut states = Vec::new();
        for &row in &self.rows {
            let input: EncoderInput<B> = reader.input(&[&reader.tokens(row)?], device);
            let state = encoder.hidden_state(&input, encoder.n_layers().saturating_sub(1));
            let [_, _, d_model] = state.dims();
            let values: Vec<f32> = state.into_data().iter::<f32>().collect();
            states.extend(values.chunks(d_model).map(<[f32]>::to_vec));
        }
        let (layer, batches_at_once) = (options.layer, options.batches_at_once);
        let [max_length, _] = encoder.embeddings.position_embeddings.weight.dims();
        let options = PerturbOptions { layer, batches_at_once, ..PerturbOptions::new(max_length) };
        let mut meter = self.shell.progress("deleting genes", "forward passes");
        let mut update = |p: gf_perturb::Progress| meter.update(p.done, p.total, "");
        let mut effects = Vec::new();
        let mut take = |cell: CellShifts| {
            effects.extend(cell.effects);
            Ok(())
        };
        gf_perturb::run(encoder, reader, &self.rows, &options, device, &mut update, &mut take)
            .map_err(|error| self.interrupted(error))?;
        let top = rank(&effects).into_iter().take(TOP_GENES).flat_map(|e| e.genes).collect();
        Ok(Reading { states, embeddings, top })
    }

    fn interrupted(&self, error: gf_perturb::Error) -> Failure {
        match error {
            gf_perturb::Error::Interrupted { done, total } => {
                let output = self.args.output.display();
                Failure::Interrupted(format!(
                    "after {done} of {total} forward passes; {output} is complete"
                ))
            }
            other => other.into(),
        }
    }

    fn report(&self, fidelity: &Fidelity) -> Result<(), Failure> {
        self.shell.say(fidelity.embeddings)?;
        self.shell.say(format!(
            "hidden states: cosine {:.6} on average, {:.6} at least",
            fidelity.mean_state_cosine, fidelity.least_state_cosine
        ))?;
        self.shell.say(format!(
            "deletions: {} of the first {} genes are the same",
            fidelity.top_genes_shared, fidelity.top_genes
        ))?;
        summary(self.args, self.shell, Some(fidelity))
    }
}

impl Reading {
    fn against(&self, quantised: &Self, precision: Precision) -> Fidelity {
        let pairs = self.states.iter().zip(&quantised.states);
        let cosines: Vec<f64> = pairs.map(|(full, state)| cosine(full, state)).collect();
        Fidelity {
            least_state_cosine: cosines.iter().copied().fold(f64::INFINITY, f64::min),
            mean_state_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
            embeddings: Agreement::between(precision, &quantised.embeddings, &self.embeddings),
            top_genes_shared: self.top.intersection(&quantised.top).count(),
            top_genes: self.top.len(),
        }
    }
}
