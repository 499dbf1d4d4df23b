//! What must hold on every backend; included by the binary's wgpu test as well.

use burn::{
    module::Param,
    nn::{Linear, LinearConfig},
    tensor::{Distribution, Tensor, TensorData, backend::Backend},
};
use gf_model::{EncoderConfig, EncoderInput, Preset, Projection};
use gf_quant::{
    Int8Linear,
    int8::{dequantize_rows, quantize_rows},
    quantize_int8,
};

/// Two orders of f32 summation over at most 61 products of magnitude up to 3.
const ROUNDING: f32 = 1e-4;
/// Row-wise int8 weights of a small random encoder; a broken code gives below 0.9.
const LEAST_COSINE: f32 = 0.999;

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 11);
    product_equals_the_dequantised_product::<B>(device);
    encoder_stays_close::<B>(device);
}

/// The slow oracle: dequantised on the host, multiplied as a dense projection.
fn product_equals_the_dequantised_product<B: Backend>(device: &B::Device) {
    // Widths that are and are not multiples of the four codes in a word.
    for (d_input, d_output) in [(8, 5), (61, 7), (3, 16), (1, 1)] {
        let mut dense: Linear<B> = LinearConfig::new(d_input, d_output).init(device);
        let input = Tensor::random([2, 4, d_input], Distribution::Uniform(-3.0, 3.0), device);
        let found = Int8Linear::from_linear(&dense).forward(input.clone());

        let rows: Vec<f32> = dense.weight.val().transpose().into_data().iter::<f32>().collect();
        let oracle = dequantize_rows(&quantize_rows(&rows, d_input), d_input);
        let oracle = TensorData::new(oracle, [d_output, d_input]);
        dense.weight = Param::from_tensor(Tensor::<B, 2>::from_data(oracle, device).transpose());
        let expected = Projection::forward(&dense, input);

        let difference: f32 = (found - expected).abs().max().into_data().iter().next().unwrap();
        assert!(difference <= ROUNDING, "{d_input}→{d_output}: differs by {difference}");
    }
}

fn encoder_stays_close<B: Backend>(device: &B::Device) {
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
    let found = quantize_int8(encoder).cls_state(&input, 2);
    let dot = (found.clone() * expected.clone()).sum_dim(1);
    let norms = found.square().sum_dim(1).sqrt() * expected.square().sum_dim(1).sqrt();
    let cosine: f32 = (dot / norms).min().into_data().iter().next().unwrap();
    assert!(cosine >= LEAST_COSINE, "cosine {cosine}, at least {LEAST_COSINE}");
    assert!(cosine < 1.0, "nothing was quantised");
}
