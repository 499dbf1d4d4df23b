//! The processor's integer product against the portable one, which a tape for gradients
//! still uses: not one bit differs, but where columns are added up in floating point.

use std::ops::Range;

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

impl Layer<'_> {
    fn projection<B: Backend>(&self) -> Int8Linear<B> {
        let Layer { weights, bias, d_input, activations } = *self;
        let rows = quantize_rows(weights, d_input);
        Int8Linear::new(&rows, d_input, Some(bias.to_vec()), activations, &B::Device::default())
    }
}

fn tokens<B: Backend>(x: &[f32], d_input: usize) -> Tensor<B, 3> {
    let data = TensorData::new(x.to_vec(), [1, x.len() / d_input, d_input]);
    Tensor::from_data(data, &B::Device::default())
}

fn host<B: Backend>(output: Tensor<B, 3>) -> Vec<f32> {
    output.into_data().iter::<f32>().collect()
}

/// Outputs without and with ReLU.
fn outputs<B: Backend>(layer: &Layer, x: &[f32]) -> [Vec<f32>; 2] {
    let (projection, input) = (layer.projection::<B>(), tokens(x, layer.d_input));
    [projection.forward(input.clone()), projection.forward_relu(input)].map(host)
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

    /// None but the first `n_signed` tokens has a negative number: other blocks of tokens are
    /// multiplied in fours.
    #[test]
    fn rectified(
        n_tokens in 1usize..150,
        n_signed in 0usize..40,
        d_input in 1usize..300,
        d_output in 1usize..80,
        seed: u32,
    ) {
        let weights = numbers(d_output * d_input, seed);
        let bias = numbers(d_output, !seed);
        let mut x = numbers(n_tokens * d_input, seed.rotate_left(7));
        x.iter_mut().skip(n_signed * d_input).for_each(|x| *x = x.max(0.0));
        for activations in [Activations::Int8, Activations::Int8WithOutliers(2.0)] {
            let layer = Layer { weights: &weights, bias: &bias, d_input, activations };
            prop_assert_eq!(outputs::<Flex>(&layer, &x), outputs::<Autodiff<Flex>>(&layer, &x));
        }
    }

    /// Three projections of one input, of different widths, are each of them alone.
    #[test]
    fn each_of_three(n_tokens in 1usize..150, d_input in 1usize..200, seed: u32, threshold in 0.5f32..1.5) {
        let weights = numbers(90 * d_input, seed);
        let bias = numbers(90, !seed);
        let x = numbers(n_tokens * d_input, seed.rotate_left(7));
        for activations in [Activations::Float, Activations::Int8, Activations::Int8WithOutliers(threshold)] {
            let projections = [0..1, 1..41, 41..90].map(|channels: Range<usize>| {
                let weights = &weights[channels.start * d_input..channels.end * d_input];
                let bias = &bias[channels];
                Layer { weights, bias, d_input, activations }.projection::<Flex>()
            });
            let alone = projections.each_ref().map(|p| host(p.forward(tokens(&x, d_input))));
            let each = Int8Linear::forward_each(projections.each_ref(), tokens(&x, d_input));
            prop_assert_eq!(each.map(host), alone);
        }
    }

    /// In parts of some tokens or layer by layer, and on a tape.
    #[test]
    fn two_layers(
        n_tokens in 1usize..150,
        d_model in 1usize..40,
        d_inner in 1usize..200,
        seed: u32,
        is_llm_int8: bool,
    ) {
        let x = numbers(n_tokens * d_model, seed);
        let weights = numbers(d_model * d_inner, !seed);
        let bias = numbers(d_inner.max(d_model), seed.rotate_left(5));
        let activations = if is_llm_int8 { Activations::LLM_INT8 } else { Activations::Int8 };
        let inner =
            Layer { weights: &weights, bias: &bias[..d_inner], d_input: d_model, activations };
        let output =
            Layer { weights: &weights, bias: &bias[..d_model], d_input: d_inner, activations };
        let (first, second) = (inner.projection::<Flex>(), output.projection::<Flex>());
        let together = host(first.feed_forward(&second, tokens(&x, d_model)));
        let one_by_one = second.forward(first.forward_relu(tokens(&x, d_model)));
        prop_assert_eq!(&together, &host(one_by_one));
        if !is_llm_int8 {
            let portable = inner.projection::<Autodiff<Flex>>();
            let second = output.projection();
            prop_assert_eq!(together, host(portable.feed_forward(&second, tokens(&x, d_model))));
        }
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

/// Projections that do not round alike share nothing.
#[test]
fn each_as_it_rounds() {
    let [weights, x, bias] = [numbers(40, 1), numbers(30, 2), numbers(4, 3)];
    let projections = [Activations::Int8, Activations::Float].map(|activations| {
        Layer { weights: &weights, bias: &bias, d_input: 10, activations }.projection::<Flex>()
    });
    let alone = projections.each_ref().map(|p| host(p.forward(tokens(&x, 10))));
    assert_ne!(alone[0], alone[1]);
    let each = Int8Linear::forward_each(projections.each_ref(), tokens(&x, 10));
    assert_eq!(each.map(host), alone);
}

/// The largest codes that there are: byte products stay exact.
#[test]
fn largest_codes() {
    const D_INPUT: usize = 37;
    for sign in [1.0, -1.0] {
        let (weights, activations) = ([sign; D_INPUT * 3], Activations::Int8);
        let layer = Layer { weights: &weights, bias: &[0.0; 3], d_input: D_INPUT, activations };
        let expected = vec![sign * D_INPUT as f32; 6];
        assert_eq!(outputs::<Flex>(&layer, &[1.0; 2 * D_INPUT])[0], expected);
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for x in [[1.0, f32::NAN, 0.5, 1.0, 2.0, 3.0], [1.0, f32::NAN, 0.5, 1.0, 2.0, -3.0]] {
        for activations in [Activations::Int8, Activations::LLM_INT8] {
            let layer = Layer { weights: &[0.1, 0.2, 0.3], bias: &[0.0], d_input: 3, activations };
            let [found, rectified] = outputs::<Flex>(&layer, &x);
            assert!(found[0].is_nan() && rectified[0].is_nan() && found[1].is_finite());
        }
    }
}

/// Blocks of other tokens, with and without negative numbers.
#[test]
fn any_number_of_threads() {
    const D_INPUT: usize = 50;
    let (weights, bias) = (numbers(20 * D_INPUT, 1), numbers(20, 2));
    let mut x = numbers(300 * D_INPUT, 3);
    x[70 * D_INPUT..].iter_mut().for_each(|x| *x = x.max(0.0));
    let layer =
        Layer { weights: &weights, bias: &bias, d_input: D_INPUT, activations: Activations::Int8 };
    let on = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| outputs::<Flex>(&layer, &x))
    };
    assert!([2, 3, 7].iter().all(|&n_threads| on(n_threads) == on(1)));
}
