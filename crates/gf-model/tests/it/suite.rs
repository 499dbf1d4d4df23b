//! What must hold on every backend; included by the binary's wgpu test as well.

use burn::{
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};
use gf_model::{EncoderConfig, EncoderInput, Preset};

/// Two orders of summation over at most 64 terms of magnitude about 1 in f32.
const ROUNDING: f32 = 2e-5;

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 7);
    padding_changes_nothing::<B>(device);
    cls_state_is_row_zero_of_the_hidden_state::<B>(device);
    layers_above_are_not_computed::<B>(device);
    mapping_projections_by_identity_changes_nothing::<B>(device);
    logits_are_tied_to_the_embeddings::<B>(device);
}

/// Dropout off: it is tested where it acts, in training.
fn config() -> EncoderConfig {
    EncoderConfig {
        vocab_size: 50,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 24,
        max_position_embeddings: 32,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        // Far larger weights than 0.02, so that every part has a visible effect.
        initializer_range: 0.5,
        ..EncoderConfig::preset(Preset::V1_10M)
    }
}

const SHORT: [i32; 5] = [2, 17, 9, 33, 3];
const LONG: [i32; 9] = [2, 40, 5, 8, 13, 21, 34, 6, 3];

fn padding_changes_nothing<B: Backend>(device: &B::Device) {
    let encoder = config().init_encoder::<B>(device).unwrap();
    let alone = EncoderInput::from_rows(&[&SHORT], 0, device);
    let padded = EncoderInput::from_rows(&[&SHORT, &LONG], 0, device);
    assert!(alone.padding_mask().is_none() && padded.padding_mask().is_some());
    for k in 0..=2 {
        let expected = encoder.hidden_state(&alone, k);
        let found = encoder.hidden_state(&padded, k).slice([0..1, 0..SHORT.len()]);
        check(&format!("hidden state {k} beside padding"), found, expected);
    }
}

fn cls_state_is_row_zero_of_the_hidden_state<B: Backend>(device: &B::Device) {
    let encoder = config().init_encoder::<B>(device).unwrap();
    let input = EncoderInput::from_rows(&[&SHORT, &LONG], 0, device);
    for k in 0..=2 {
        let expected = encoder.hidden_state(&input, k).narrow(1, 0, 1).squeeze_dim::<2>(1);
        check(&format!("cls state {k}"), encoder.cls_state(&input, k), expected);
    }
}

fn layers_above_are_not_computed<B: Backend>(device: &B::Device) {
    let mut encoder = config().init_encoder::<B>(device).unwrap();
    let input = EncoderInput::from_rows(&[&LONG], 0, device);
    let expected = encoder.hidden_state(&input, 1);
    encoder.layers.truncate(1);
    check("hidden state 1 of 2 layers", encoder.hidden_state(&input, 1), expected);
}

fn mapping_projections_by_identity_changes_nothing<B: Backend>(device: &B::Device) {
    let encoder = config().init_encoder::<B>(device).unwrap();
    let input = EncoderInput::from_rows(&[&LONG], 0, device);
    let expected = encoder.hidden_state(&input, 2);
    let mut n_projections = 0;
    let mapped = encoder.map_projections(|projection: Linear<B>| {
        n_projections += 1;
        projection
    });
    assert_eq!(n_projections, 2 * 6, "six projections in each of two layers");
    check("mapped encoder", mapped.hidden_state(&input, 2), expected);
}

fn logits_are_tied_to_the_embeddings<B: Backend>(device: &B::Device) {
    let mut model = config().init_masked_lm::<B>(device).unwrap();
    let hidden = Tensor::<B, 2>::ones([3, 16], device);
    assert_eq!(model.logits_at(hidden.clone()).dims(), [3, 50]);
    let table = &mut model.encoder.embeddings.word_embeddings.weight;
    *table = table.clone().map(|weight| weight.zeros_like());
    let zeros = Tensor::<B, 2>::zeros([3, 50], device);
    check("logits of zero embeddings and zero bias", model.logits_at(hidden), zeros);
}

fn check<B: Backend, const D: usize>(what: &str, found: Tensor<B, D>, expected: Tensor<B, D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}: shape");
    let difference: f32 = (found - expected).abs().max().into_data().iter().next().unwrap();
    assert!(difference <= ROUNDING, "{what}: differs by {difference}, at most {ROUNDING}");
}
