//! What must hold on every backend; included by the binary's wgpu test as well.

use burn::{
    module::Param,
    nn::{Linear, LinearConfig},
    tensor::{
        Distribution, Tensor, TensorData,
        backend::{AutodiffBackend, Backend},
    },
};
use gf_model::{Encoder, EncoderConfig, EncoderInput, Preset, Projection};
use gf_quant::{
    Int8Linear, Nf4Linear,
    int8::{Activations, product, quantize_weights},
    lora::{self, LoraAdapter, LoraConfig, LoraLinear, LowRank, Target},
    nf4::Nf4,
    quantize_int8, quantize_nf4,
};

/// Two orders of f32 summation over at most 1,100 products of magnitude up to 8, as a
/// share of the largest output.
const ROUNDING: f32 = 3e-6;
/// Row-wise int8 weights of a small random encoder; a broken code gives below 0.9.
const LEAST_INT8_COSINE: f32 = 0.999;
/// 4-bit weights of the same; a broken code gives below 0.9 as well.
const LEAST_NF4_COSINE: f32 = 0.97;
/// Widths around the four codes of a word, the 64 values of a block, the 256 blocks of a
/// nested block, and the 1,040 products that f32 adds up exactly.
const WIDTHS: [(usize, usize); 6] = [(8, 5), (61, 7), (3, 16), (1, 1), (256, 70), (1100, 3)];
/// Tokens, input and output channels around the tiles of the GPU's kernel, 64 × 16 × 64.
const TILES: [([usize; 3], usize); 5] = [
    ([1, 64, 16], 64),
    ([1, 65, 17], 65),
    ([3, 61, 100], 130),
    ([2, 1, 256], 300),
    ([1, 130, 128], 1),
];

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 11);
    int8_product_equals_the_definition::<B>(device);
    nf4_product_equals_the_dequantised_product::<B>(device);
    lora_adds_its_product::<B>(device);
    encoders_stay_close::<B>(device);
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_same(what: &str, found: &[f32], expected: impl Iterator<Item = f32>) {
    let expected: Vec<f32> = expected.collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f32, |size, y| size.max(y.abs()));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= ROUNDING * size, "{what}[{i}]: {found}, expected {expected}");
    }
}

/// A dense projection, and input in which single columns reach the outlier threshold.
fn layer_and_input<B: Backend>(
    d_input: usize,
    d_output: usize,
    device: &B::Device,
) -> (Linear<B>, Tensor<B, 3>) {
    let dense = LinearConfig::new(d_input, d_output).init(device);
    let input = random_input::<B>([2, 4, d_input], device);
    let mut values = host::<B, 3>(input);
    values[d_input / 2] = -7.0;
    values[3 * d_input..4 * d_input].fill(0.0);
    let input = Tensor::from_data(TensorData::new(values, [2, 4, d_input]), device);
    (dense, input)
}

fn random_input<B: Backend>(shape: [usize; 3], device: &B::Device) -> Tensor<B, 3> {
    Tensor::random(shape, Distribution::Uniform(-3.0, 3.0), device)
}

fn int8_product_equals_the_definition<B: Backend>(device: &B::Device) {
    for (d_input, d_output) in WIDTHS {
        let (dense, input) = layer_and_input::<B>(d_input, d_output, device);
        let rows = quantize_weights(&host(dense.weight.val().transpose()), d_input);
        let bias = host(dense.bias.as_ref().unwrap().val());
        for mode in [Activations::Float, Activations::Int8, Activations::LLM_INT8] {
            let found = Int8Linear::from_linear(&dense, mode).forward(input.clone());
            let expected = product(&host(input.clone()), &rows, d_input, mode);
            let bias = bias.iter().cycle();
            let expected = expected.iter().zip(bias).map(|(y, b)| *y as f32 + b);
            assert_same(&format!("{mode:?} {d_input}→{d_output}"), &host(found), expected);
        }
    }
}

fn nf4_product_equals_the_dequantised_product<B: Backend>(device: &B::Device) {
    for (d_input, d_output) in WIDTHS {
        same_nf4_product::<B>([2, 4, d_input], d_output, device);
    }
    for (shape, d_output) in TILES {
        same_nf4_product::<B>(shape, d_output, device);
    }
}

/// The slow oracle: dequantised on the host, multiplied as a dense projection.
fn same_nf4_product<B: Backend>(shape: [usize; 3], d_output: usize, device: &B::Device) {
    let input = random_input::<B>(shape, device);
    let d_input = shape[2];
    let mut dense: Linear<B> = LinearConfig::new(d_input, d_output).init(device);
    let weights = host(dense.weight.val().transpose());
    let bias = host(dense.bias.as_ref().unwrap().val());
    for nf4 in [Nf4::quantize(&weights), Nf4::quantize_double(&weights)] {
        let layer = Nf4Linear::<B>::new(&nf4, [d_output, d_input], Some(bias.clone()), device);
        let oracle = nf4.dequantize();
        let what = format!("{shape:?}→{d_output}");
        assert_same(&what, &host(layer.dequantize()), oracle.iter().copied());
        let oracle = TensorData::new(oracle, [d_output, d_input]);
        dense.weight = Param::from_tensor(Tensor::<B, 2>::from_data(oracle, device).transpose());
        let expected = host(Projection::forward(&dense, input.clone()));
        assert_same(&what, &host(layer.forward(input.clone())), expected.into_iter());
        // Rows of another order in memory.
        let turned = input.clone().swap_dims(0, 1);
        let expected = host(Projection::forward(&dense, turned.clone()));
        assert_same(&what, &host(layer.forward(turned)), expected.into_iter());
    }
}

/// The gradient of a frozen projection's input, beside that of a dense one.
pub fn gradients<B: AutodiffBackend>(device: &B::Device) {
    B::seed(device, 12);
    for (d_input, d_output) in WIDTHS {
        same_nf4_gradient::<B>([2, 4, d_input], d_output, device);
    }
    for (shape, d_output) in TILES {
        same_nf4_gradient::<B>(shape, d_output, device);
    }
}

fn same_nf4_gradient<B: AutodiffBackend>(shape: [usize; 3], d_output: usize, device: &B::Device) {
    let [batch_size, seq_length, d_input] = shape;
    let weights = host(random_input::<B>([1, d_output, d_input], device));
    let from_above = random_input::<B>([batch_size, seq_length, d_output], device);
    let input = random_input::<B>(shape, device);
    let gradient = |output: &dyn Fn(Tensor<B, 3>) -> Tensor<B, 3>| {
        let input = input.clone().detach().require_grad();
        // Twice, as residuals do: gradients of one tensor add up.
        let loss = output(input.clone()) * from_above.clone() + output(input.clone());
        host(input.grad(&loss.sum().backward()).unwrap())
    };
    for nf4 in [Nf4::quantize(&weights), Nf4::quantize_double(&weights)] {
        let layer = Nf4Linear::<B>::new(&nf4, [d_output, d_input], None, device);
        let dense = TensorData::new(nf4.dequantize(), [1, d_output, d_input]);
        let dense = Tensor::<B, 3>::from_data(dense, device).swap_dims(1, 2);
        let expected = gradient(&|input| input.matmul(dense.clone()));
        let found = gradient(&|input| layer.forward(input));
        assert_same(&format!("gradient {shape:?}→{d_output}"), &found, expected.into_iter());
    }
}

fn lora_adds_its_product<B: Backend>(device: &B::Device) {
    let (dense, input) = layer_and_input::<B>(20, 12, device);
    let targets = [Target::Query].into();
    let config = LoraConfig { r: 3, alpha: 6.0, dropout: 0.0, rslora: true, targets };
    let random = |shape| Tensor::<B, 2>::random(shape, Distribution::Default, device);
    let pair = LowRank::new(random([3, 20]), random([12, 3]), &config);
    let delta = pair.b.val().matmul(pair.a.val()) * config.scaling();
    let base = Projection::forward(&dense, input.clone());
    let expected = base.clone() + input.clone().matmul(delta.transpose().unsqueeze());
    let expected = host(expected);
    let layer = LoraLinear { base: dense, adapter: Some(pair.clone()) };
    let found = host(layer.forward(input.clone()));
    assert_same("adapted", &found, expected.iter().copied());
    let merged = layer.merge();
    let found = host(Projection::forward(&merged, input.clone()));
    assert_same("merged", &found, expected.iter().copied());
    let unmerged = LoraLinear::unmerge(merged, Some(pair)).base;
    let found = host(Projection::forward(&unmerged, input));
    assert_same("unmerged", &found, host(base).into_iter());
}

fn encoders_stay_close<B: Backend>(device: &B::Device) {
    let config = EncoderConfig {
        vocab_size: 40,
        num_hidden_layers: 2,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..EncoderConfig::preset(Preset::V1_10M)
    };
    let encoder = config.init_encoder::<B>(device).unwrap();
    let input = EncoderInput::from_rows(&[&[2, 11, 25, 7, 3], &[2, 30, 3]], 0, device);
    let expected = encoder.cls_state(&input, 2);
    let state = |cosine: f32, least: f32, what: &str| {
        assert!(cosine >= least, "{what}: cosine {cosine}, at least {least}");
        assert!(cosine < 1.0, "{what}: nothing was quantised");
    };
    for mode in [Activations::Float, Activations::Int8, Activations::LLM_INT8] {
        let found = quantize_int8(encoder.clone(), mode).cls_state(&input, 2);
        state(least_cosine(found, expected.clone()), LEAST_INT8_COSINE, &format!("{mode:?}"));
    }
    let quantised = quantize_nf4(encoder);
    let found = quantised.cls_state(&input, 2);
    state(least_cosine(found.clone(), expected), LEAST_NF4_COSINE, "nf4");
    a_new_adapter_changes_nothing(quantised, &config, &input, host(found), device);
}

fn a_new_adapter_changes_nothing<B: Backend>(
    encoder: Encoder<B, Nf4Linear<B>>,
    config: &EncoderConfig,
    input: &EncoderInput<B>,
    expected: Vec<f32>,
    device: &B::Device,
) {
    let mut encoder = lora::with_adapters(encoder);
    let adapter = LoraAdapter::init(LoraConfig::cell_task(), config, device).unwrap();
    lora::attach(&mut encoder, &adapter);
    assert_eq!(host(encoder.cls_state(input, 2)), expected);
}

fn least_cosine<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>) -> f32 {
    let dot = (a.clone() * b.clone()).sum_dim(1);
    let norms = a.square().sum_dim(1).sqrt() * b.square().sum_dim(1).sqrt();
    (dot / norms).min().into_data().iter().next().unwrap()
}
