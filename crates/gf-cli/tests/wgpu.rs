//! The generic suite of every tensor crate on wgpu (software Vulkan where there is
//! no GPU). One binary, because instantiating models for wgpu is slow to compile.
#![allow(clippy::unwrap_used, clippy::duplicate_mod, missing_docs)]

use burn::backend::Autodiff;
use burn_wgpu::{Wgpu, WgpuDevice};

#[path = "../../gf-corpus/tests/it/suite.rs"]
mod corpus;
#[path = "../../gf-embed/tests/it/suite.rs"]
mod embed;
#[path = "../../gf-model/tests/it/suite.rs"]
mod model;
#[path = "../../gf-perturb/tests/it/suite.rs"]
mod perturb;
#[path = "../../gf-quant/tests/it/suite.rs"]
mod quant;
#[path = "../../gf-tokenize/tests/it/suite.rs"]
mod tokenize;
#[path = "../../gf-train/tests/it/suite.rs"]
mod train;

#[test]
fn corpus_on_wgpu() {
    corpus::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn tokenize_on_wgpu() {
    tokenize::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn model_on_wgpu() {
    model::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn quant_on_wgpu() {
    quant::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn embed_on_wgpu() {
    embed::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn perturb_on_wgpu() {
    perturb::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn train_on_wgpu() {
    train::suite::<Autodiff<Wgpu>>(&WgpuDevice::DefaultDevice);
}
