//! `gf embed`

use std::path::PathBuf;

use burn::tensor::backend::Backend;
use clap::Args;
use gf_embed::{CellReader, Embeddings};
use gf_model::{Encoder, Projection};
use gf_tokenize::{Dataset, Vocabulary};

use super::cells::{Agreement, CellArgs, Precision, embed_rows};
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
        let (config, encoder) = self.args.cells.load::<B>(device)?;
        let reader = CellReader::new(&config, &self.dataset, &self.vocabulary)?;
        let (embeddings, agreement) = match self.args.cells.precision {
            Precision::F32 => (self.embed(&encoder, &reader, device)?, None),
            Precision::Int8 => {
                let full = self.embed(&encoder, &reader, device)?;
                let quantised = gf_quant::quantize_int8(encoder, gf_quant::int8::Activations::Float);
                let embeddings = self.embed(&quantised, &reader, device)?;
                let agreement = Agreement::between(&embeddings, &full);
                (embeddings, Some(agreement))
            }
        };
        embeddings.write_csv(&self.args.output)?;
        self.report(&embeddings, agreement)
    }
}

impl Embedding<'_> {
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
