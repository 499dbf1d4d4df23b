//! The processor's integer product against the portable one, which a tape for gradients
//! still uses: not one bit differs, but where columns are added up in floating point.

use burn::{
    backend::Autodiff,
    tensor::{Tensor, TensorData, backend::Backend},
};
use burn_flex::Flex;
use gf_model::Projection;
use gf_quant::{
    Int8Linear,
    int8::{Activations, half_precision, outlier_columns, quantize_rows},
};
use proptest::prelude::*;

/// Two orders of f32 summation over at most 1,300 columns of either sign, as a share of the
/// largest output.
const ROUNDING: f32 = 1e-5;

struct Layer<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    d_input: usize,
    activations: Activations,
}

/// Outputs without and with ReLU.
fn outputs<B: Backend>(layer: &Layer, x: &[f32]) -> [Vec<f32>; 2] {
    let Layer { weights, bias, d_input, activations } = *layer;
    let device = B::Device::default();
    let rows = quantize_rows(weights, d_input);
    let layer = Int8Linear::<B>::new(&rows, d_input, Some(bias.to_vec()), activations, &device);
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
        let activations = Activations::Int8;
        let layer = Layer { weights: &weights, bias: &bias, d_input, activations };
        prop_assert_eq!(outputs::<Flex>(&layer, &x), outputs::<Autodiff<Flex>>(&layer, &x));
    }

    /// From no column above the threshold to all.
    #[test]
    fn any_outliers(
        n_tokens in 1usize..30,
        d_input in 1usize..1300,
        d_output in 1usize..80,
        seed: u32,
        threshold in 0.0f32..1.5,
    ) {
        let weights = numbers(d_output * d_input, seed);
        let bias = numbers(d_output, !seed);
        let x: Vec<f32> =
            numbers(n_tokens * d_input, seed.rotate_left(7)).iter().map(|x| x.powi(9)).collect();
        let activations = Activations::Int8WithOutliers(threshold);
        let layer = Layer { weights: &weights, bias: &bias, d_input, activations };
        let (fast, portable) = (outputs::<Flex>(&layer, &x), outputs::<Autodiff<Flex>>(&layer, &x));
        let size = portable[0].iter().fold(1.0f32, |size, y| size.max(y.abs()));
        for (fast, portable) in fast.iter().flatten().zip(portable.iter().flatten()) {
            let difference = (fast - portable).abs();
            prop_assert!(difference <= ROUNDING * size, "{fast}, expected {portable}");
        }
        let halves: Vec<f32> = x.iter().map(|x| half_precision(*x)).collect();
        if outlier_columns(&halves, d_input, threshold).is_empty() {
            prop_assert_eq!(fast, portable);
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let x = [1.0, f32::NAN, 0.5, 1.0, 2.0, 3.0];
    for activations in [Activations::Int8, Activations::LLM_INT8] {
        let layer = Layer { weights: &[0.1, 0.2, 0.3], bias: &[0.0], d_input: 3, activations };
        let [found, rectified] = outputs::<Flex>(&layer, &x);
        assert!(found[0].is_nan() && rectified[0].is_nan() && found[1].is_finite());
    }
}
