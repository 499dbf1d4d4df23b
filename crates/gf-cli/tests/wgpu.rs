//! The generic suite of every tensor crate on wgpu (software Vulkan where there is
//! no GPU). One binary, because instantiating models for wgpu is slow to compile.
#![allow(clippy::unwrap_used, clippy::duplicate_mod, missing_docs)]

use burn::{
    backend::Autodiff,
    tensor::{Tensor, backend::Backend},
};
use burn_wgpu::{Wgpu, WgpuDevice};
use gf_model::Projection;
use gf_quant::{Nf4Linear, nf4::Nf4};

#[path = "../../gf-corpus/tests/it/suite.rs"]
mod corpus;
#[path = "../../gf-embed/tests/it/suite.rs"]
mod embed;
#[path = "../../gf-model/tests/it/forward.rs"]
mod forward;
#[path = "../../gf-model/tests/it/golden_folder.rs"]
mod golden_folder;
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

/// GPUs sum in orders of their own, and take exponentials and roots by rougher means.
const GPU_TOLERANCE: forward::Tolerance = forward::Tolerance { hidden: 1e-3, logits: 1e-3 };

#[test]
fn the_original_s_numbers_on_wgpu() {
    let Some(golden) = golden_folder::golden_folder() else { return };
    forward::tiny_v2::<Wgpu>(&golden, &WgpuDevice::DefaultDevice, &GPU_TOLERANCE);
}

#[test]
fn quant_on_wgpu() {
    quant::suite::<Wgpu>(&WgpuDevice::DefaultDevice);
}

#[test]
fn quant_gradients_on_wgpu() {
    quant::gradients::<Autodiff<Wgpu>>(&WgpuDevice::DefaultDevice);
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

/// The kernels are found, and unpack no more than they have in shared memory; the portable
/// form beside them shows that the device would report the copy.
#[test]
fn nf4_products_keep_no_dense_weight() {
    let (d_input, d_output) = (1024, 4096);
    let dense_bytes = (size_of::<f32>() * d_input * d_output) as u64;
    let nf4 = Nf4::quantize_double(&vec![1.0; d_input * d_output]);
    let device = WgpuDevice::DefaultDevice;
    let layer = Nf4Linear::<Wgpu>::new(&nf4, [d_output, d_input], None, &device);
    let trained = Nf4Linear::<Autodiff<Wgpu>>::new(&nf4, [d_output, d_input], None, &device);
    let input = Tensor::<Wgpu, 3>::ones([1, 1, d_input], &device);
    let client = input.clone().into_primitive().tensor().client;
    let reserved = || {
        <Wgpu>::sync(&device).unwrap();
        client.memory_usage().unwrap().bytes_reserved
    };
    let before = reserved();
    let output = layer.forward(input.clone());
    let input = Tensor::<Autodiff<Wgpu>, 3>::from_inner(input).require_grad();
    let gradients = trained.forward(input.clone()).sum().backward();
    let gradient = input.grad(&gradients).unwrap();
    let in_kernels = reserved() - before;
    assert!(in_kernels < dense_bytes / 4, "{in_kernels} bytes, a dense weight has {dense_bytes}");
    let mean = |tensor: Tensor<Wgpu, 3>| f64::from(tensor.mean().into_scalar());
    assert!((mean(output) - d_input as f64).abs() < 1.0);
    assert!((mean(gradient) - d_output as f64).abs() < 4.0);
    let before = reserved();
    layer.dequantize();
    let portable = reserved() - before;
    assert!(portable >= dense_bytes, "{portable} bytes, a dense weight has {dense_bytes}");
}
