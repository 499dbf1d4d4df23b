//! The processor's kernels against the portable operations, which a tape for gradients
//! still uses: the same encoder with and without one.

use burn::{
    backend::Autodiff,
    module::AutodiffModule,
    nn::LinearConfig,
    tensor::{Distribution, Tensor, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderConfig, EncoderInput, PackedLinear, Preset, Projection};
use proptest::prelude::*;

/// Two orders of summation over at most a few thousand terms, and normalisation between.
const TOLERANCE: f32 = 5e-5;

fn config(n_heads: usize, d_head: usize, d_ff: usize) -> EncoderConfig {
    EncoderConfig {
        vocab_size: 50,
        hidden_size: n_heads * d_head,
        num_hidden_layers: 2,
        num_attention_heads: n_heads,
        intermediate_size: d_ff,
        max_position_embeddings: 4_096,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        // Scores of attention of a few units: anything but uniform, and not so large that
        // their own rounding shows.
        initializer_range: 1.2 / ((n_heads * d_head) as f64).sqrt(),
        ..EncoderConfig::preset(Preset::V1_10M)
    }
}

/// Every hidden state of rows of the given lengths, and the CLS read-out, with weights laid
/// out for each product and once.
fn check(config: &EncoderConfig, lengths: &[usize]) {
    let portable = config.init_encoder::<Autodiff<Flex>>(&FlexDevice).unwrap();
    compare(&portable, &portable.valid(), lengths);
    compare(&portable, &portable.valid().pack(), lengths);
}

fn compare<P: Projection<Flex>>(
    portable: &Encoder<Autodiff<Flex>>,
    fast: &Encoder<Flex, P>,
    lengths: &[usize],
) {
    let token = |i: usize| (i * i % 47 + 3) as i32;
    let rows: Vec<Vec<i32>> = lengths.iter().map(|&n| (0..n).map(token).collect()).collect();
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    let slow_input = EncoderInput::from_rows(&rows, 0, &FlexDevice);
    let fast_input = EncoderInput::from_rows(&rows, 0, &FlexDevice);
    for k in 1..=2 {
        let expected = portable.hidden_state(&slow_input, k);
        let found = fast.hidden_state(&fast_input, k).into_data();
        let [_, seq_length, d_model] = expected.dims();
        let expected = expected.into_data();
        let numbers = found.iter::<f32>().zip(expected.iter::<f32>()).enumerate();
        for (i, (found, expected)) in numbers {
            let (row, token) = (i / (seq_length * d_model), i / d_model % seq_length);
            let difference = (found - expected).abs();
            assert!(
                token >= lengths[row] || difference <= TOLERANCE,
                "state {k}, row {row}, token {token}: {found}, expected {expected}"
            );
        }
    }
    let expected = portable.cls_state(&slow_input, 2).into_data();
    let found = fast.cls_state(&fast_input, 2).into_data();
    for (found, expected) in found.iter::<f32>().zip(expected.iter::<f32>()) {
        assert!((found - expected).abs() <= TOLERANCE, "CLS: {found}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape(
        n_heads in 1usize..4,
        d_head in 1usize..40,
        d_ff in 1usize..70,
        lengths in prop::collection::vec(1usize..130, 1..4),
    ) {
        Flex::seed(&FlexDevice, 11);
        check(&config(n_heads, d_head, d_ff), &lengths);
    }
}

#[test]
fn longer_than_every_block() {
    Flex::seed(&FlexDevice, 12);
    let wide = config(2, 200, 900);
    check(&wide, &[1]);
    check(&wide, &[300, 257]);
    check(&config(2, 8, 24), &[4_096]);
}

fn host(tensor: Tensor<Flex, 3>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Sixty tokens, of which the first shares its products with one of the next 23.
#[test]
fn what_is_no_number_stays_none() {
    let dense = LinearConfig::new(3, 5).init::<Flex>(&FlexDevice);
    let layer = PackedLinear::new(dense.clone());
    let second = PackedLinear::new(LinearConfig::new(5, 5).init::<Flex>(&FlexDevice));
    let mut values = vec![0.5; 180];
    values[1] = f32::NAN;
    let input = Tensor::<Flex, 1>::from_floats(values.as_slice(), &FlexDevice);
    let input = input.reshape([1, 60, 3]);
    let outputs = [
        Projection::forward(&dense, input.clone()),
        layer.forward(input.clone()),
        layer.forward_relu(input.clone()),
        layer.feed_forward(&second, input),
    ];
    for output in outputs.map(host) {
        assert!(output[..5].iter().all(|x| x.is_nan()), "{:?}", &output[..5]);
        assert!(output[24 * 5..].iter().all(|x| x.is_finite()));
    }
}

/// Widths beyond a part of the depth and beyond a pair of panels, tokens of whole and broken
/// groups; all within one cell, in three at once and one after the other.
#[test]
fn together_as_one_by_one() {
    Flex::seed(&FlexDevice, 13);
    for (d_input, d_output, n_tokens) in [(1_601, 65, 25), (96, 900, 300), (1, 3, 1)] {
        let layer =
            |from, to| PackedLinear::new(LinearConfig::new(from, to).init::<Flex>(&FlexDevice));
        let layers = [d_output, 7, d_output].map(|width| layer(d_input, width));
        let shape = [1, n_tokens, d_input];
        let input = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &FlexDevice);
        let each = PackedLinear::forward_each(layers.each_ref(), input.clone()).map(host);
        assert_eq!(each, layers.each_ref().map(|layer| host(layer.forward(input.clone()))));
        let second = layer(d_output, d_input);
        let together = host(layers[0].feed_forward(&second, input.clone()));
        assert_eq!(together, host(second.forward(layers[0].forward_relu(input))));
    }
}
