//! `gf embed`

mod args;
mod engine;
mod means;
mod output;
mod rows;
mod states;
mod table;

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    ops::ControlFlow,
};

use burn::tensor::backend::Backend;
use gf_embed::{CellReader, EmbedOptions, GeneTokens, Progress, Readout, Spool};
use gf_model::{Encoder, PackedLinear, Projection};
use gf_tokenize::{Dataset, Vocabulary};
use ndarray::Array2;

pub use self::args::EmbedArgs;
use self::{
    args::{GeneStyle, Mode},
    engine::Engine,
    output::Format,
};
use super::cells::{Agreement, Ready};
use crate::{
    args::Common,
    device::{DeviceChoice, Job},
    failure::Failure,
    outputs::claim_file,
    render,
    shell::Shell,
};

/// Cells whose embeddings are written at once, and lost at most by a kill. A constant, as
/// the batches are made inside of them: the same command gives the same bytes.
const CELLS_PER_BLOCK: usize = 512;
/// The same where every gene of a cell gives a vector.
const CELLS_PER_GENE_BLOCK: usize = 16;

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
            Ready::Dense(encoder) => self.write(&self.engine(encoder, full, &reader, device))?,
            Ready::Int8(encoder) => self.write(&self.engine(encoder, full, &reader, device))?,
            Ready::Nf4(encoder) => self.write(&self.engine(encoder, full, &reader, device))?,
        };
        self.report(&written)
    }
}

impl Embedding<'_> {
    fn engine<'a, B: Backend, P: Projection<B>>(
        &self,
        encoder: Encoder<B, P>,
        full: Option<Encoder<B, PackedLinear<B>>>,
        reader: &'a CellReader<'a>,
        device: &'a B::Device,
    ) -> Engine<'a, B, P> {
        let readout = match self.args.mode {
            Mode::Cls | Mode::Gene => Readout::Cls,
            Mode::Cell => Readout::Cell,
        };
        let options = EmbedOptions { readout, ..self.args.cells.options(self.device) };
        let tokens = self.gene_tokens();
        Engine { encoder, full, reader, options, tokens, device }
    }

    fn gene_tokens(&self) -> GeneTokens {
        if self.args.rows.is_reference() { GeneTokens::All } else { GeneTokens::Genes }
    }

    fn write<B: Backend, P: Projection<B>>(
        &self,
        engine: &Engine<'_, B, P>,
    ) -> Result<Written, Failure> {
        if self.args.gene_means() {
            return self.write_means(engine);
        }
        let width = engine.width();
        let mut spool = Spool::open(&self.args.output, &self.key()?, width)?;
        let block = self.cells_per_block();
        let n_resumed = (spool.n_blocks() * block).min(self.rows.len());
        let mut meter = self.shell.progress("embedding", "cells");
        let total = self.rows.len() as u64;
        let (mut done, mut cosines) = (n_resumed, Vec::new());
        for rows in self.rows.chunks(block).skip(spool.n_blocks()) {
            let vectors = self.vectors(engine, rows, &mut |progress| {
                meter.update((done + progress.done) as u64, total, "")
            });
            let (values, agreement) = vectors.map_err(|error| self.interrupted(error, done))?;
            spool.push(&values)?;
            cosines.extend(agreement);
            done += rows.len();
        }
        match self.format {
            Format::Json => self.write_states(&spool, width)?,
            _ => self.write_table(engine.reader, &spool, width)?,
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
            "tokens": format!("{:?}", self.gene_tokens()),
            "vocabulary": self.vocabulary.content_hash().to_string(),
            "layer": format!("{:?}", args.cells.options(self.device).layer),
            "precision": format!("{:?}", args.cells.precision),
            "device": self.device.to_string(),
            "rows": BuildHasherDefault::<DefaultHasher>::default().hash_one(&self.rows),
        });
        Ok(key.to_string())
    }

    /// The vectors of some cells, or of their genes.
    fn vectors<B: Backend, P: Projection<B>>(
        &self,
        engine: &Engine<'_, B, P>,
        rows: &[usize],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(Array2<f32>, Vec<f64>), gf_embed::Error> {
        match self.args.mode {
            Mode::Gene => {
                engine.genes(rows, progress).map(|(genes, cosines)| (genes.values, cosines))
            }
            Mode::Cls | Mode::Cell => engine.cells(rows, progress),
        }
    }

    /// What ended the run, of whose cells so many are on disk.
    fn interrupted(&self, error: gf_embed::Error, kept: usize) -> Failure {
        let gf_embed::Error::Interrupted { done, .. } = error else { return error.into() };
        let (done, total) = (kept + done, self.rows.len());
        Failure::Interrupted(match kept {
            0 => format!("after {done} of {total} cells; nothing was written"),
            _ => format!(
                "after {done} of {total} cells; the same command goes on after {kept} of them"
            ),
        })
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
