//! What must hold on every backend; included by the binary's wgpu test as well.

use burn::{
    module::Param,
    nn::Linear,
    tensor::{Tensor, backend::Backend},
};
use gf_model::{
    CellClassifier, CellHead, Encoder, EncoderConfig, EncoderInput, GeneClassifier, GeneHead,
    MultiTaskClassifier, MultiTaskHead, PooledTokens, Pooling, Preset,
};

/// Two orders of summation over at most 64 terms of magnitude about 1 in f32.
const ROUNDING: f32 = 2e-5;

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 7);
    padding_changes_nothing::<B>(device);
    cls_state_is_row_zero_of_the_hidden_state::<B>(device);
    layers_above_are_not_computed::<B>(device);
    mapping_projections_by_identity_changes_nothing::<B>(device);
    logits_are_tied_to_the_embeddings::<B>(device);
    hidden_states_of_any_heights::<B>(device);
    heads_read_their_hidden_states::<B>(device);
    padding_changes_no_head::<B>(device);
    tasks_read_cls_or_an_average::<B>(device);
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

fn hidden_states_of_any_heights<B: Backend>(device: &B::Device) {
    let mut encoder = config().init_encoder::<B>(device).unwrap();
    let input = EncoderInput::from_rows(&[&SHORT, &LONG], 0, device);
    let heights = [2, 0, 2, 1, 9];
    let found = encoder.hidden_states(&input, &heights);
    assert_eq!(found.len(), heights.len());
    for (k, found) in heights.into_iter().zip(found) {
        check(&format!("hidden state {k}"), found, encoder.hidden_state(&input, k));
    }
    let below = encoder.hidden_states(&input, &[1]).remove(0);
    encoder.layers.truncate(1);
    check("without the layer above", encoder.hidden_states(&input, &[1]).remove(0), below);
    assert!(encoder.hidden_states(&input, &[]).is_empty());
}

fn heads_read_their_hidden_states<B: Backend>(device: &B::Device) {
    let (encoder, input) = encoder_and_input::<B>(device);
    let last = encoder.hidden_state(&input, 2);

    let head = GeneHead::init(&config(), 3, device);
    let expected = head.forward(last.clone());
    let genes = GeneClassifier { encoder: encoder.clone(), head }.forward(&input);
    assert_eq!(genes.dims(), [2, LONG.len(), 3]);
    check("gene logits", genes, expected);

    let head = CellHead::init(&config(), 4, device);
    let expected = head.forward(last.narrow(1, 0, 1).squeeze_dim(1));
    let cells = CellClassifier { encoder, head }.forward(&input);
    assert_eq!(cells.dims(), [2, 4]);
    check("cell logits", cells, expected);
}

fn padding_changes_no_head<B: Backend>(device: &B::Device) {
    let (encoder, padded) = encoder_and_input::<B>(device);
    let alone = EncoderInput::from_rows(&[&SHORT], 0, device);
    let head = CellHead::init(&config(), 4, device);
    let model = CellClassifier { encoder: encoder.clone(), head };
    check("cell", model.forward(&padded).narrow(0, 0, 1), model.forward(&alone));

    let head = MultiTaskHead::init(&config(), &[3, 2], Pooling::Attention, device);
    let model = MultiTaskClassifier { encoder, head };
    let expected = model.forward(&alone, PooledTokens::Real);
    for (found, expected) in model.forward(&padded, PooledTokens::Real).into_iter().zip(&expected) {
        check("task beside padding", found.narrow(0, 0, 1), expected.clone());
    }
    let whole = model.forward(&alone, PooledTokens::RealAndPadding);
    for (found, expected) in whole.into_iter().zip(expected) {
        check("task without padding", found, expected);
    }
}

fn tasks_read_cls_or_an_average<B: Backend>(device: &B::Device) {
    let (encoder, input) = encoder_and_input::<B>(device);
    let head = MultiTaskHead::init(&config(), &[3, 2], Pooling::Cls, device);
    let mut model = MultiTaskClassifier { encoder, head };
    let expected = model.head.forward(model.encoder.cls_state(&input, 2));
    let found = model.forward(&input, PooledTokens::Real);
    assert_eq!([found[0].dims(), found[1].dims()], [[2, 3], [2, 2]]);
    for (found, expected) in found.into_iter().zip(expected) {
        check("task of the first token", found, expected);
    }
    // Equal scores make a plain mean.
    let scores = Tensor::zeros([config().hidden_size, 1], device);
    model.head.attention_pool = Some(Param::from_tensor(scores));
    let alone = EncoderInput::from_rows(&[&SHORT], 0, device);
    let mean = model.encoder.hidden_state(&alone, 2).mean_dim(1).squeeze_dim(1);
    let expected = model.head.forward(mean);
    for (found, expected) in model.forward(&input, PooledTokens::Real).into_iter().zip(expected) {
        check("task of the mean", found.narrow(0, 0, 1), expected);
    }
}

fn encoder_and_input<B: Backend>(device: &B::Device) -> (Encoder<B>, EncoderInput<B>) {
    let encoder = config().init_encoder(device).unwrap();
    (encoder, EncoderInput::from_rows(&[&SHORT, &LONG], 0, device))
}

fn check<B: Backend, const D: usize>(what: &str, found: Tensor<B, D>, expected: Tensor<B, D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}: shape");
    let difference: f32 = (found - expected).abs().max().into_data().iter().next().unwrap();
    assert!(difference <= ROUNDING, "{what}: differs by {difference}, at most {ROUNDING}");
}
