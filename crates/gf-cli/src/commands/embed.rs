//! `gf embed`

use std::path::PathBuf;

use burn::tensor::backend::Backend;
use clap::Args;
use gf_embed::{CellReader, Embeddings, cls_embeddings};
use gf_model::{Encoder, Projection};
use gf_tokenize::{Dataset, Vocabulary};

use super::cells::{Agreement, CellArgs, Precision};
use crate::{
    args::Common,
    device::{DeviceChoice, Job},
    failure::Failure,
    render,
    shell::Shell,
};

/// Arguments of `gf embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf embed --model run/model --data cells.dataset -o embeddings.csv"
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
                let quantised = gf_quant::quantize_int8(encoder);
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
        let mut meter = self.shell.progress("embedding", "cells");
        let mut update = |p: gf_embed::Progress| meter.update(p.done as u64, p.total as u64, "");
        match cls_embeddings(encoder, reader, &rows, &options, device, &mut update) {
            Err(gf_embed::Error::Interrupted { done, total }) => {
                Err(Failure::Interrupted(format!(
                    "after {done} of {total} cells; {} was not written",
                    self.args.output.display()
                )))
            }
            other => Ok(other?),
        }
    }

    fn report(&self, embeddings: &Embeddings, agreement: Option<Agreement>) -> Result<(), Failure> {
        let (n_cells, d_model) = embeddings.values.dim();
        let output = self.args.output.display();
        self.shell
            .say(format!("{output}: {} cells × {d_model}", render::thousands(n_cells as u64)));
        if let Some(agreement) = agreement {
            self.shell.say(agreement);
        }
        self.shell.summary(&serde_json::json!({
            "embeddings": self.args.output, "cells": n_cells, "dimensions": d_model, "agreement": agreement,
        }))
    }
}
