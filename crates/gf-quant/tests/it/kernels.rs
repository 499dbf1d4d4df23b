//! The processor's integer product against the portable one, which a tape for gradients
//! still uses: not one bit differs.

use burn::{
    backend::Autodiff,
    tensor::{Tensor, TensorData, backend::Backend},
};
use burn_flex::Flex;
use gf_model::Projection;
use gf_quant::{
    Int8Linear,
    int8::{Activations, quantize_rows},
};
use proptest::prelude::*;

/// Outputs without and with ReLU.
fn outputs<B: Backend>(weights: &[f32], bias: &[f32], x: &[f32], d_input: usize) -> [Vec<f32>; 2] {
    let device = B::Device::default();
    let rows = quantize_rows(weights, d_input);
    let layer =
        Int8Linear::<B>::new(&rows, d_input, Some(bias.to_vec()), Activations::Int8, &device);
    let input = TensorData::new(x.to_vec(), [1, x.len() / d_input, d_input]);
    let input = Tensor::<B, 3>::from_data(input, &device);
    [layer.forward(input.clone()), layer.forward_relu(input)]
        .map(|output| output.into_data().iter::<f32>().collect())
}

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed) as f32 / 2e9 - 1.0;
    (0..n as u32).map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape(n_tokens in 1usize..30, d_input in 1usize..1300, d_output in 1usize..80, seed: u32) {
        let weights = numbers(d_output * d_input, seed);
        let bias = numbers(d_output, !seed);
        let mut x = numbers(n_tokens * d_input, seed.rotate_left(7));
        x[..d_input].fill(0.0);
        let fast = outputs::<Flex>(&weights, &bias, &x, d_input);
        let portable = outputs::<Autodiff<Flex>>(&weights, &bias, &x, d_input);
        prop_assert_eq!(fast, portable);
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let x = [1.0, f32::NAN, 0.5, 1.0, 2.0, 3.0];
    let [found, rectified] = outputs::<Flex>(&[0.1, 0.2, 0.3], &[0.0], &x, 3);
    assert!(found[0].is_nan() && rectified[0].is_nan() && found[1].is_finite());
}
