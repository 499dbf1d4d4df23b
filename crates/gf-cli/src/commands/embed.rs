//! `gf embed`

mod output;
mod rows;

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    path::PathBuf,
};

use burn::tensor::backend::Backend;
use clap::{Args, ValueEnum};
use gf_corpus::Annotation;
use gf_embed::{
    CellReader, EmbedOptions, GeneMeans, GeneTokens, Readout, Spool, StateEmbeddings, StateSummary,
    TableHeader, TableRows, embed_cells, embed_genes, similarity::row_cosines,
};
use gf_model::{Encoder, PackedLinear, Projection};
use gf_tokenize::{Dataset, TokenId, Vocabulary};
use ndarray::Array2;

use self::{
    output::{Format, Output},
    rows::{RowArgs, labels},
};
use super::cells::{Agreement, CellArgs, Ready};
use crate::{
    args::Common,
    device::{DeviceChoice, Job},
    failure::Failure,
    outputs::claim_file,
    render,
    shell::{Meter, Shell},
};

/// Cells whose embeddings are written at once, and lost at most by a kill. A constant, as
/// the batches are made inside of them: the same command gives the same bytes.
const CELLS_PER_BLOCK: usize = 512;
/// The same where every gene of a cell gives a vector.
const CELLS_PER_GENE_BLOCK: usize = 16;

/// Arguments of `gf embed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gf embed --model pretrain/model --data cells.dataset -o embeddings.csv\n  \
    gf embed --model model --data cells.dataset --mode cell --labels cell_type,donor -o cells.h5ad\n  \
    gf embed --model model --data cells.dataset --mode gene -o genes.arrow\n  \
    gf embed --model model --data cells.dataset --states disease -o states.json\n\n\
    Interrupted or killed, the same command goes on where it was, and the file is the same in the\n\
    end (means over genes begin anew). The order is that of the data set.")]
pub struct EmbedArgs {
    #[command(flatten)]
    cells: CellArgs,
    /// What is embedded: cells by their CLS token, cells by the mean of their genes, or genes.
    #[arg(long, value_enum, default_value = "cls")]
    mode: Mode,
    /// Genes averaged over the cells, or each gene of each cell.
    #[arg(long, value_enum, default_value = "mean")]
    gene_style: GeneStyle,
    #[command(flatten)]
    rows: RowArgs,
    /// Columns of the data set to write beside the numbers, as A,B.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    labels: Vec<String>,
    /// Write one embedding for each value of this column, over its cells, as .json.
    #[arg(long, value_name = "COLUMN")]
    states: Option<String>,
    /// How the cells of a state become one embedding.
    #[arg(long, value_enum, default_value = "mean")]
    summary: Summary,
    /// File to write: .csv, .arrow or .feather, .h5ad (obsm/X_geneformer); .json of states.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a vector is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A cell: the state of its CLS token.
    Cls,
    /// A cell: the mean of the states of its genes.
    Cell,
    /// A gene in its context.
    Gene,
}

/// Which vectors of genes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GeneStyle {
    /// The mean over the cells.
    Mean,
    /// One for each gene of each cell.
    All,
}

/// How many cells become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Summary {
    /// The mean.
    Mean,
    /// The median; of two in the middle the lower.
    Median,
}

impl From<Summary> for StateSummary {
    fn from(summary: Summary) -> Self {
        match summary {
            Summary::Mean => Self::Mean,
            Summary::Median => Self::Median,
        }
    }
}

impl EmbedArgs {
    /// Whether each row of the table is a gene of a cell.
    fn every_gene(&self) -> bool {
        self.mode == Mode::Gene && self.gene_style == GeneStyle::All
    }

    /// Refuses what no table can be made of.
    fn format(&self) -> Result<Format, Failure> {
        let usage = |found: &str, expected: &str| {
            Err(Failure::Usage(format!("found {found}, expected {expected}")))
        };
        let format = Format::of(&self.output)?;
        let is_reference = self.rows.is_reference();
        match format {
            Format::Json if self.states.is_none() => {
                usage("a .json without --states", ".csv, .arrow, .feather or .h5ad")
            }
            Format::Csv | Format::Arrow | Format::H5ad if self.states.is_some() => {
                usage("--states with a table", "-o FILE.json")
            }
            Format::Json if self.mode == Mode::Gene => {
                usage("--states with --mode gene", "cls or cell")
            }
            Format::H5ad if self.every_gene() => {
                usage("an .h5ad of every gene of every cell", ".csv, .arrow or .feather")
            }
            Format::Arrow | Format::H5ad if is_reference => {
                usage("--compat reference for this format", "a .csv, as the reference writes")
            }
            _ if is_reference && self.every_gene() => {
                usage("--compat reference with --gene-style all", "--gene-style mean")
            }
            _ if self.mode == Mode::Gene && !self.every_gene() && !self.labels.is_empty() => {
                usage("--labels with means over cells", "--gene-style all, or no labels")
            }
            format => Ok(format),
        }
    }
}

/// Embeds cells or genes of the data set.
pub fn run(args: &EmbedArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let format = args.format()?;
    claim_file(&args.output)?;
    let (dataset, vocabulary) = args.cells.open()?;
    for column in args.labels.iter().chain(&args.states) {
        dataset.column(column)?;
    }
    let rows = args.rows.choose(&dataset, common.seed.unwrap_or(super::DEFAULT_SEED))?;
    common.device.run(Embedding {
        args,
        format,
        dataset,
        vocabulary,
        rows,
        device: common.device,
        shell,
    })
}

struct Embedding<'a> {
    args: &'a EmbedArgs,
    format: Format,
    dataset: Dataset,
    vocabulary: Vocabulary,
    /// Rows of the data set to embed, in the order of the table.
    rows: Vec<usize>,
    device: DeviceChoice,
    shell: &'a Shell,
}

/// What was written.
struct Written {
    n_rows: usize,
    width: usize,
    /// Cells that an earlier run had embedded.
    n_resumed: usize,
    cosines: Vec<f64>,
}

impl Job for Embedding<'_> {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.args.cells.load::<B>(device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let precision = self.args.cells.precision;
        let full = stored.full(precision);
        let written = match stored.in_precision(precision, device)? {
            Ready::Dense(encoder) => self.write(&encoder, full, &reader, device)?,
            Ready::Int8(encoder) => self.write(&encoder, full, &reader, device)?,
            Ready::Nf4(encoder) => self.write(&encoder, full, &reader, device)?,
        };
        self.report(&written)
    }
}

impl Embedding<'_> {
    /// Writes the table; where there is a `full` encoder, compares with it.
    fn write<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        full: Option<Encoder<B, PackedLinear<B>>>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Written, Failure> {
        let width = encoder.embeddings.layer_norm.gamma.dims()[0];
        if self.args.mode == Mode::Gene && self.args.gene_style == GeneStyle::Mean {
            return self.write_means(encoder, reader, device);
        }
        let mut spool = Spool::open(&self.args.output, &self.key()?, width)?;
        let block = self.cells_per_block();
        let n_resumed = (spool.n_blocks() * block).min(self.rows.len());
        let mut meter = self.shell.progress("embedding", "cells");
        let (mut done, mut cosines) = (n_resumed, Vec::new());
        for rows in self.rows.chunks(block).skip(spool.n_blocks()) {
            let values = self.vectors(encoder, reader, rows, device, (&mut meter, done))?;
            if let Some(full) = &full {
                let full = self.vectors(full, reader, rows, device, (&mut meter, done))?;
                cosines.extend(row_cosines(&values, &full));
            }
            spool.push(&values)?;
            done += rows.len();
        }
        match self.format {
            Format::Json => self.write_states(&spool, width)?,
            _ => self.write_table(reader, &spool, width)?,
        }
        let n_rows = spool.n_rows();
        spool.remove()?;
        Ok(Written { n_rows, width, n_resumed, cosines })
    }

    fn cells_per_block(&self) -> usize {
        if self.args.every_gene() { CELLS_PER_GENE_BLOCK } else { CELLS_PER_BLOCK }
    }

    /// Says everything the vectors depend on.
    fn key(&self) -> Result<String, Failure> {
        let args = self.args;
        let key = serde_json::json!({
            "gf": env!("CARGO_PKG_VERSION"),
            "model": rows::fingerprint(&args.cells.model)?,
            "data": rows::fingerprint(&args.cells.data)?,
            "mode": format!("{:?}", args.mode),
            "style": format!("{:?}", args.gene_style),
            "layer": format!("{:?}", args.cells.options(self.device).layer),
            "precision": format!("{:?}", args.cells.precision),
            "device": self.device.to_string(),
            "rows": BuildHasherDefault::<DefaultHasher>::default().hash_one(&self.rows),
        });
        Ok(key.to_string())
    }

    fn options(&self) -> EmbedOptions {
        let readout = match self.args.mode {
            Mode::Cls | Mode::Gene => Readout::Cls,
            Mode::Cell => Readout::Cell,
        };
        EmbedOptions { readout, ..self.args.cells.options(self.device) }
    }

    /// The vectors of some cells, or of their genes.
    fn vectors<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        rows: &[usize],
        device: &B::Device,
        (meter, before): (&mut Meter, usize),
    ) -> Result<Array2<f32>, Failure> {
        let options = self.options();
        let total = self.rows.len() as u64;
        let mut update = |p: gf_embed::Progress| meter.update((before + p.done) as u64, total, "");
        let update = &mut update;
        let values = match self.args.mode {
            Mode::Gene => {
                let genes = GeneTokens::Genes;
                embed_genes(encoder, reader, rows, genes, &options, device, update)
                    .map(|states| states.values)
            }
            _ => embed_cells(encoder, reader, rows, &options, device, update)
                .map(|cells| cells.values),
        };
        values.map_err(|error| self.interrupted(error, before, before))
    }

    /// `before` cells were done before those of the error, `kept` of them are on disk.
    fn interrupted(&self, error: gf_embed::Error, before: usize, kept: usize) -> Failure {
        let gf_embed::Error::Interrupted { done, .. } = error else { return error.into() };
        let total = self.rows.len();
        let done = before + done;
        Failure::Interrupted(match kept {
            0 => format!("after {done} of {total} cells; nothing was written"),
            _ => format!(
                "after {done} of {total} cells; the same command goes on after {kept} of them"
            ),
        })
    }

    fn write_table(
        &self,
        reader: &CellReader<'_>,
        spool: &Spool,
        width: usize,
    ) -> Result<(), Failure> {
        let names = match (self.args.every_gene(), self.args.rows.is_reference()) {
            (true, _) => &["cell_id", "gene", "symbol", "position"][..],
            (false, true) => &[""],
            (false, false) => &["cell_id"],
        };
        let header = TableHeader {
            labels: self.args.labels.clone(),
            ..TableHeader::new(names.iter().copied(), width)
        };
        let annotation = Annotation::shipped()?;
        let mut table = Output::create(self.format, &self.args.output, &header)?;
        let mut n_before = 0;
        for (rows, values) in self.rows.chunks(self.cells_per_block()).zip(spool.blocks()?) {
            let values = values?;
            let (names, labels) = match self.args.every_gene() {
                true => self.gene_columns(reader, rows, annotation)?,
                false => self.cell_columns(rows, n_before)?,
            };
            n_before += rows.len();
            table.push(&TableRows { names, values: values.view(), labels })?;
        }
        table.finish()
    }

    fn cell_columns(&self, rows: &[usize], n_before: usize) -> Result<Columns, Failure> {
        let cell_id = |(place, &row): (usize, &usize)| match self.args.rows.is_reference() {
            true => Ok((n_before + place).to_string()),
            false => self.dataset.cell_id(row),
        };
        let ids = rows.iter().enumerate().map(cell_id).collect::<Result<_, _>>()?;
        let labels = self.args.labels.iter().map(|column| labels(&self.dataset, column, rows));
        Ok((vec![ids], labels.collect::<Result<_, _>>()?))
    }

    fn gene_columns(
        &self,
        reader: &CellReader<'_>,
        rows: &[usize],
        annotation: &Annotation,
    ) -> Result<Columns, Failure> {
        let mut names = vec![Vec::new(); 4];
        let mut of_cell = Vec::new();
        for &row in rows {
            let (cell_id, tokens) = (self.dataset.cell_id(row)?, reader.tokens(row)?);
            for position in reader.genes(&tokens) {
                let (gene, symbol) = self.gene(TokenId(tokens[position] as u32), annotation);
                let fields = [cell_id.clone(), gene, symbol, position.to_string()];
                names.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
                of_cell.push(row);
            }
        }
        let labels = self.args.labels.iter().map(|column| labels(&self.dataset, column, &of_cell));
        Ok((names, labels.collect::<Result<_, _>>()?))
    }

    /// The id of a token's gene, and its symbol or once more the id.
    fn gene(&self, token: TokenId, annotation: &Annotation) -> (String, String) {
        let name = self.vocabulary.name(token).unwrap_or_default();
        let gene = self.vocabulary.gene(token).and_then(|gene| annotation.gene(gene));
        let symbol = gene.map_or_else(|| name.clone(), |gene| gene.symbol.clone());
        (name, symbol)
    }

    fn write_states(&self, spool: &Spool, width: usize) -> Result<(), Failure> {
        let mut cells = Array2::zeros((0, width));
        for block in spool.blocks()? {
            cells.append(ndarray::Axis(0), block?.view())?;
        }
        let column = self.args.states.as_deref().unwrap_or_default();
        let states = labels(&self.dataset, column, &self.rows)?;
        let n_without = states.iter().filter(|state| state.is_none()).count();
        if n_without > 0 {
            self.shell.say(format!("{n_without} cells without a {column} take no part"))?;
        }
        let states: Vec<Option<&str>> = states.iter().map(Option::as_deref).collect();
        let states = StateEmbeddings::summarise(cells.view(), &states, self.args.summary.into())?;
        Ok(states.write_json(&self.args.output)?)
    }

    fn write_means<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Written, Failure> {
        let is_reference = self.args.rows.is_reference();
        let which = if is_reference { GeneTokens::All } else { GeneTokens::Genes };
        let mut meter = self.shell.progress("embedding", "cells");
        let (mut means, mut done, total) = (GeneMeans::default(), 0, self.rows.len() as u64);
        for rows in self.rows.chunks(CELLS_PER_GENE_BLOCK) {
            let mut update =
                |p: gf_embed::Progress| meter.update((done + p.done) as u64, total, "");
            let options = self.options();
            let states = embed_genes(encoder, reader, rows, which, &options, device, &mut update);
            means.add(&states.map_err(|error| self.interrupted(error, done, 0))?);
            done += rows.len();
        }
        let width = encoder.embeddings.layer_norm.gamma.dims()[0];
        let names = if is_reference { &[""][..] } else { &["gene", "symbol", "n_cells"] };
        let header = TableHeader::new(names.iter().copied(), width);
        let mut table = Output::create(self.format, &self.args.output, &header)?;
        let annotation = Annotation::shipped()?;
        let mut values = Array2::zeros((0, width));
        let mut columns = vec![Vec::new(); names.len()];
        for (token, n, mean) in means.iter() {
            let (gene, symbol) = self.gene(token, annotation);
            values.push_row(mean.view())?;
            columns.iter_mut().zip([gene, symbol, n.to_string()]).for_each(|(c, x)| c.push(x));
        }
        table.push(&TableRows { names: columns, values: values.view(), labels: vec![] })?;
        table.finish()?;
        Ok(Written { n_rows: means.len(), width, n_resumed: 0, cosines: vec![] })
    }

    fn report(&self, written: &Written) -> Result<(), Failure> {
        let Written { n_rows, width, n_resumed, cosines } = written;
        let what = match (self.args.mode, self.args.gene_style) {
            (Mode::Gene, GeneStyle::Mean) => "genes",
            (Mode::Gene, GeneStyle::All) => "genes in cells",
            _ => "cells",
        };
        let output = self.args.output.display();
        self.shell
            .say(format!("{output}: {} {what} × {width}", render::thousands(*n_rows as u64)))?;
        if *n_resumed > 0 {
            self.shell.say(format!("{n_resumed} cells had been embedded by an earlier run"))?;
        }
        let agreement =
            (!cosines.is_empty()).then(|| Agreement::of(self.args.cells.precision, cosines));
        if let Some(agreement) = agreement {
            self.shell.say(agreement)?;
        }
        self.shell.summary(&serde_json::json!({
            "embeddings": self.args.output, "cells": self.rows.len(), "rows": n_rows,
            "dimensions": width, "resumed": n_resumed, "agreement": agreement,
        }))
    }
}

/// Columns of names and of labels.
type Columns = (Vec<Vec<String>>, Vec<Vec<Option<String>>>);
