//! Encoders cast to half precision: weights, activations and results are half, and
//! close to full precision.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_flex::{Flex, FlexDevice};
use gf_model::{EncoderInput, checkpoint::load_encoder};

/// Three layers round each of some ten operations to 8 bits (bf16) or 11 (f16): a
/// relative error near 10·2⁻⁹ or 10·2⁻¹², whose square is what a cosine loses.
const BF16_LOSS: f32 = 4e-4;
const F16_LOSS: f32 = 6e-6;

const ROWS: [&[i32]; 2] = [&[2, 40, 5_000, 813, 1_300, 21, 340, 6, 3], &[2, 17, 9, 3_333, 3]];

#[test]
fn half_precision_follows_full_precision() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("ref/model/tiny_v2");
    let (config, encoder) = load_encoder::<Flex>(&folder, &FlexDevice).unwrap();
    let input = EncoderInput::from_rows(&ROWS, config.pad_token_id, &FlexDevice);
    let full = encoder.hidden_state(&input, 3);
    let t = |dtype: FloatDType, expected: DType, at_most: f32| {
        let half = encoder.clone().cast(dtype).hidden_state(&input, 3);
        assert_eq!(half.dtype(), expected);
        let packed = encoder.clone().cast(dtype).pack().hidden_state(&input, 3);
        assert_eq!(packed.into_data(), half.clone().into_data());
        let loss = 1.0 - smallest_cosine(half.cast(FloatDType::F32), full.clone());
        assert!(loss <= at_most, "{dtype:?}: cosine falls short of 1 by {loss}");
        assert!(loss > 0.0, "{dtype:?}: nothing was rounded");
    };
    t(FloatDType::BF16, DType::BF16, BF16_LOSS);
    t(FloatDType::F16, DType::F16, F16_LOSS);
}

/// Over the real tokens of both rows.
fn smallest_cosine(found: Tensor<Flex, 3>, expected: Tensor<Flex, 3>) -> f32 {
    let real = |states: Tensor<Flex, 3>| -> Tensor<Flex, 2> {
        let rows = ROWS.iter().enumerate();
        let row = |(i, row): (usize, &&[i32])| {
            states.clone().slice([i..i + 1, 0..row.len()]).squeeze_dim::<2>(0)
        };
        Tensor::cat(rows.map(row).collect(), 0)
    };
    let (found, expected) = (real(found), real(expected));
    let dot = |a: &Tensor<Flex, 2>, b: &Tensor<Flex, 2>| (a.clone() * b.clone()).sum_dim(1);
    let norms = dot(&found, &found).sqrt() * dot(&expected, &expected).sqrt();
    (dot(&found, &expected) / norms).min().into_scalar()
}
