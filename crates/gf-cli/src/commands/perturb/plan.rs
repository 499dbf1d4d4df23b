//! `gf perturb --plan`: what the run will take.

use std::num::NonZeroU32;

use burn::tensor::backend::Backend;
use clap::Args;
use gf_embed::CellReader;
use gf_model::{Encoder, EncoderConfig, Projection};
use gf_perturb::{
    PerturbOptions,
    plan::{Cost, PassShape, Plan, calibrate, tokens_at_once},
};
use gf_quant::footprint::{Footprint, NumberFormat};
use gf_tokenize::{Dataset, Vocabulary};
use serde::Serialize;

use super::PerturbArgs;
use crate::{
    commands::cells::{Precision, Ready},
    device::{DeviceChoice, Job},
    failure::Failure,
    render,
    shell::Shell,
};

/// Arguments that say what is planned for.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only tell what the run will take: forward passes, operations, time on this
    /// device (some variants are timed), memory, cost.
    #[arg(long)]
    pub plan: bool,
    /// Price of an hour of one device, for the plan.
    #[arg(long, requires = "plan", value_parser = parse_price, allow_hyphen_values = true, value_name = "PRICE")]
    price: Option<f64>,
    /// Devices like this one that share the cells, for the plan.
    #[arg(long, requires = "plan", default_value = "1", value_name = "N")]
    devices: NonZeroU32,
}

fn parse_price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| format!("found {text:?}, expected a price of 0 or more"))
}

/// What a run will take, as it is printed.
#[derive(Debug, Serialize)]
pub struct Estimate {
    /// Chosen cells.
    pub cells: usize,
    /// Edited cells.
    pub variants: u64,
    /// Forward passes.
    pub forward_passes: u64,
    /// Floating-point operations.
    pub operations: f64,
    /// Operations per second, as timed.
    pub operations_per_second: f64,
    /// Hours of one device.
    pub device_hours: f64,
    /// Devices.
    pub devices: NonZeroU32,
    /// Hours until all are done.
    pub hours: f64,
    /// What the device hours cost.
    pub cost: Option<f64>,
    /// Bytes of the weights.
    pub weight_bytes: u64,
    /// Bytes of the activations of batches computed at once.
    pub activation_bytes: u64,
}

/// A plan to be made on a device.
pub struct Planning<'a> {
    pub args: &'a PerturbArgs,
    pub dataset: Dataset,
    pub vocabulary: Vocabulary,
    pub rows: Vec<usize>,
    pub options: PerturbOptions,
    pub shell: &'a Shell,
    pub device: DeviceChoice,
}

impl Job for Planning<'_> {
    fn run<B: Backend>(mut self, device: &B::Device) -> Result<(), Failure> {
        let (config, stored) = self.args.cells.load::<B>(device)?;
        self.args.fit(&mut self.options, &config, self.device)?;
        let floats = match self.args.cells.precision {
            Precision::F16 | Precision::Bf16 => NumberFormat::F16,
            _ => NumberFormat::F32,
        };
        match stored.in_precision(self.args.cells.precision, device)? {
            Ready::Dense(encoder) => self.plan(&config, &encoder, floats, device),
            Ready::Int8(encoder) => self.plan(&config, &encoder, NumberFormat::Int8, device),
            Ready::Nf4(encoder) => self.plan(&config, &encoder, NumberFormat::Nf4Double, device),
        }
    }
}

impl Planning<'_> {
    fn plan<B: Backend, P: Projection<B>>(
        &self,
        config: &EncoderConfig,
        encoder: &Encoder<B, P>,
        format: NumberFormat,
        device: &B::Device,
    ) -> Result<(), Failure> {
        let reader = CellReader::new(config, &self.dataset, &self.vocabulary)?;
        let rows = self.args.part(&self.rows);
        let plan = Plan::new(&reader, rows, &self.options)?;
        let shape = PassShape::new(config, &self.options)?;
        let mut meter = self.shell.progress("timing", "cells");
        let mut update = |p: gf_perturb::Progress| meter.update(p.done, p.total, "");
        let tools = (encoder, &reader, device);
        let pace = match calibrate(&plan, &shape, tools, &self.options, &mut update) {
            Err(gf_perturb::Error::Interrupted { .. }) => {
                return Err(Failure::Interrupted("while cells were timed".to_owned()));
            }
            other => other?,
        };
        let estimate = self.estimate(&plan, &shape, pace, Footprint::of(config, format));
        self.shell.say(render::estimate(&estimate))?;
        self.shell.summary(&estimate)
    }

    /// `pace` in seconds per operation.
    fn estimate(&self, plan: &Plan, shape: &PassShape, pace: f64, weights: Footprint) -> Estimate {
        let PlanArgs { price, devices, .. } = self.args.plan;
        let operations = plan.operations(shape);
        let cost = Cost::new(operations * pace, devices, price);
        let n_tokens = tokens_at_once(&self.options, plan.longest());
        Estimate {
            cells: plan.cells.len(),
            variants: plan.n_variants(),
            forward_passes: plan.n_passes(),
            operations,
            operations_per_second: 1.0 / pace,
            device_hours: cost.device_seconds / 3_600.0,
            devices,
            hours: cost.seconds / 3_600.0,
            cost: cost.price,
            // An encoder is held without the head of its masked language model.
            weight_bytes: (weights.total() - weights.head) as u64,
            activation_bytes: shape.activation_bytes(n_tokens),
        }
    }
}
