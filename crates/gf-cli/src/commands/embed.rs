//! `gf embed`

use std::path::PathBuf;

use burn::tensor::backend::Backend;
use clap::Args;
use gf_embed::{CellReader, Embeddings};
use gf_model::{Encoder, Projection};
use gf_quant::{int8::Activations, quantize_int8, quantize_nf4};
use gf_tokenize::{Dataset, Vocabulary};

use super::cells::{Agreement, CellArgs, Precision, Stored, embed_rows};
use crate::{
    args::Common,
    device::{DeviceChoice, Job},
    failure::Failure,
    outputs::claim_file,
    render,
    shell::Shell,
};

/// Arguments of `gf embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf embed --model pretrain/model --data cells.dataset -o embeddings.csv"
)]
pub struct EmbedArgs {
    #[command(flatten)]
    cells: CellArgs,
    /// Table to write: cell_id, then one column per dimension.
    #[arg(short, long, value_name = "CSV")]
    output: PathBuf,
}

/// Embeds every cell of the data set, in its order.
pub fn run(args: &EmbedArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let (dataset, vocabulary) = args.cells.open()?;
    common.device.run(Embedding { args, dataset, vocabulary, device: common.device, shell })
}

struct Embedding<'a> {
    args: &'a EmbedArgs,
    dataset: Dataset,
    vocabulary: Vocabulary,
    device: DeviceChoice,
    shell: &'a Shell,
}

impl Job for Embedding<'_> {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.args.cells.load::<B>(device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let (embeddings, agreement) = match (stored, self.args.cells.precision) {
            (Stored::Dense(encoder), Precision::F32) => {
                (self.embed(&encoder, &reader, device)?, None)
            }
            (Stored::Dense(encoder), Precision::Int8) => {
                let to_int8 = |encoder| quantize_int8(encoder, Activations::Float);
                self.compare(encoder, to_int8, &reader, device)?
            }
            (Stored::Dense(encoder), Precision::Nf4) => {
                self.compare(encoder, quantize_nf4, &reader, device)?
            }
            (Stored::Int8(encoder), _) => (self.embed(&encoder, &reader, device)?, None),
            (Stored::Nf4(encoder), _) => (self.embed(&encoder, &reader, device)?, None),
        };
        embeddings.write_csv(&self.args.output)?;
        self.report(&embeddings, agreement)
    }
}

impl Embedding<'_> {
    /// Embeddings of the quantised encoder, and how they agree with those of the full one.
    fn compare<B: Backend, P: Projection<B>>(
        &self,
        encoder: Encoder<B>,
        quantize: impl FnOnce(Encoder<B>) -> Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<(Embeddings, Option<Agreement>), Failure> {
        let full = self.embed(&encoder, reader, device)?;
        let embeddings = self.embed(&quantize(encoder), reader, device)?;
        let agreement = Agreement::between(self.args.cells.precision, &embeddings, &full);
        Ok((embeddings, Some(agreement)))
    }

    fn embed<B: Backend, P: Projection<B>>(
        &self,
        encoder: &Encoder<B, P>,
        reader: &CellReader<'_>,
        device: &B::Device,
    ) -> Result<Embeddings, Failure> {
        let rows: Vec<usize> = (0..self.dataset.len()).collect();
        let options = self.args.cells.options(self.device);
        embed_rows(encoder, reader, &rows, &options, device, self.shell)
    }

    fn report(&self, embeddings: &Embeddings, agreement: Option<Agreement>) -> Result<(), Failure> {
        let (n_cells, d_model) = embeddings.values.dim();
        let output = self.args.output.display();
        self.shell
            .say(format!("{output}: {} cells × {d_model}", render::thousands(n_cells as u64)))?;
        if let Some(agreement) = agreement {
            self.shell.say(agreement)?;
        }
        self.shell.summary(&serde_json::json!({
            "embeddings": self.args.output, "cells": n_cells, "dimensions": d_model, "agreement": agreement,
        }))
    }
}
