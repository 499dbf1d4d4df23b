//! Where training drops out, seen by dropping (almost surely) everything, or half of numbers
//! that are all alike.
//!
//! BERT drops the normalised embeddings, the attention weights, each block's output
//! before its residual, and what a classifier reads (transformers 4.46.3,
//! `models/bert/modeling_bert.py`).

use std::collections::BTreeSet;

use burn::{
    backend::Autodiff,
    module::Param,
    nn::{LayerNorm, Linear},
    tensor::{Tensor, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{CellHead, Encoder, EncoderConfig, EncoderInput, GeneHead, Preset};

type Training = Autodiff<Flex>;

/// One number in 10¹² survives; the configuration refuses 1.
const ALL: f64 = 1.0 - 1e-12;

fn config(hidden: f64, attention: f64) -> EncoderConfig {
    EncoderConfig {
        vocab_size: 20,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 10,
        hidden_dropout_prob: hidden,
        attention_probs_dropout_prob: attention,
        initializer_range: 0.5,
        ..EncoderConfig::preset(Preset::V1_10M)
    }
}

fn encoder<B: Backend>(config: &EncoderConfig) -> Encoder<B> {
    B::seed(&Default::default(), 3);
    config.init_encoder(&Default::default()).unwrap()
}

fn input<B: Backend>() -> EncoderInput<B> {
    EncoderInput::from_rows(&[&[2, 5, 9, 3]], 0, &Default::default())
}

/// A shift that tells dropping before a norm (leaves it) from after (removes it).
fn shifted<B: Backend>(mut norm: LayerNorm<B>) -> LayerNorm<B> {
    norm.beta = norm.beta.map(|beta| beta.map(|shift| shift.ones_like()));
    norm
}

#[test]
fn embeddings_are_dropped_after_their_norm() {
    let mut embeddings = encoder::<Training>(&config(ALL, 0.0)).embeddings;
    embeddings.layer_norm = shifted(embeddings.layer_norm);
    let found = embeddings.forward(input().input_ids());
    check(found.clone(), found.zeros_like());
}

#[test]
fn outputs_are_dropped_before_their_residual() {
    let layer = encoder::<Training>(&config(ALL, 0.0)).layers.remove(0);
    let x = states();
    let attention = layer.attention.forward(x.clone(), x.clone(), &input());
    check(attention, layer.attention.layer_norm.forward(x.clone()));
    check(layer.feed_forward.forward(x.clone()), layer.feed_forward.layer_norm.forward(x));
}

#[test]
fn attention_weights_are_dropped_after_their_softmax() {
    let mut attention = encoder::<Training>(&config(0.0, ALL)).layers.remove(0).attention;
    let bias = Tensor::<Training, 1>::ones([8], &FlexDevice);
    attention.output.bias = Some(Param::from_tensor(bias.clone()));
    let x = states();
    let found = attention.forward(x.clone(), x.clone(), &input());
    check(found, attention.layer_norm.forward(x + bias.unsqueeze()));
}

/// Weights are dropped, not the averages: within a head every number of a token loses as much.
#[test]
fn heads_lose_attention_weights() {
    let mut attention = encoder::<Training>(&config(0.0, 0.5)).layers.remove(0).attention;
    attention.value = constant([8, 8], |_, _| 0.0, 1.0);
    attention.output = constant([8, 8], |i, j| f32::from(i == j), 0.0);
    let found = attention.forward(states().zeros_like(), states(), &input());
    let heads = found.reshape([4, 2, 4]);
    let spread = heads.clone().max_dim(2) - heads.clone().min_dim(2);
    check(spread.clone(), spread.zeros_like());
    assert!(heads.abs().max().into_scalar() > 0.5, "nothing was dropped");
}

/// Of a block's output alone: what lies before it adds two equal numbers for each, and would
/// give three different sums.
#[test]
fn blocks_drop_nothing_but_their_output() {
    let mut layer = encoder::<Training>(&config(0.5, 0.0)).layers.remove(0);
    let neighbours = |i, j| f32::from(i == j || i == (j + 1) % 8);
    layer.attention.value = constant([8, 8], |_, _| 0.0, 1.0);
    layer.attention.output = constant([8, 8], neighbours, 0.0);
    layer.feed_forward.intermediate = constant([8, 12], |_, _| 0.0, 1.0);
    layer.feed_forward.output = constant([12, 8], neighbours, 0.0);
    let x = states().zeros_like();
    let t = |found: Tensor<Training, 3>| {
        let found = found.into_data().to_vec::<f32>().unwrap();
        let kinds = |row: &[f32]| row.iter().map(|x| (x * 1e4).round() as i32).collect();
        let kinds: Vec<BTreeSet<i32>> = found.chunks(8).map(kinds).collect();
        assert_eq!(kinds.iter().map(BTreeSet::len).max(), Some(2), "{kinds:?}");
    };
    t(layer.attention.forward(x.clone(), x.clone(), &input()));
    t(layer.feed_forward.forward(x));
}

/// The transform of the masked language head drops nothing.
#[test]
fn the_masked_language_head_drops_nothing() {
    let logits = |p| {
        Training::seed(&FlexDevice, 3);
        let model = config(p, p).init_masked_lm::<Training>(&FlexDevice).unwrap();
        model.logits_at(states().squeeze_dim(0))
    };
    check(logits(ALL), logits(0.0));
}

/// Weights by input and output, and one bias for all.
fn constant(
    [d_input, d_output]: [usize; 2],
    weight: impl Fn(usize, usize) -> f32,
    bias: f32,
) -> Linear<Training> {
    let weights: Vec<f32> =
        (0..d_input * d_output).map(|at| weight(at / d_output, at % d_output)).collect();
    let weight = Tensor::<Training, 1>::from_floats(weights.as_slice(), &FlexDevice);
    Linear {
        weight: Param::from_tensor(weight.reshape([d_input, d_output])),
        bias: Some(Param::from_tensor(Tensor::full([d_output], bias, &FlexDevice))),
    }
}

/// Dropped after the pooler: its own bias must not show.
#[test]
fn classifiers_read_what_is_left() {
    let config = config(ALL, 0.0);
    let ones = || Some(Param::from_tensor(Tensor::<Training, 1>::ones([8], &FlexDevice)));
    let mut cell = CellHead::<Training>::init(&config, 3, &FlexDevice);
    cell.pooler.bias = ones();
    let logits = cell.forward(Tensor::ones([2, 8], &FlexDevice));
    check(logits.clone(), logits.zeros_like());
    let gene = GeneHead::<Training>::init(&config, 3, &FlexDevice);
    let logits = gene.forward(states());
    check(logits.clone(), logits.zeros_like());
}

/// `classifier_dropout` stands in for `hidden_dropout_prob` where it is given.
#[test]
fn a_classifier_has_its_own_dropout() {
    let config = EncoderConfig { classifier_dropout: Some(0.0), ..config(ALL, 0.0) };
    let logits = GeneHead::<Training>::init(&config, 3, &FlexDevice).forward(states());
    assert!(logits.abs().max().into_scalar() > 0.0);
}

#[test]
fn nothing_is_dropped_outside_training() {
    let of = |p| {
        let encoder = encoder::<Flex>(&config(p, p));
        encoder.hidden_state(&input(), 1)
    };
    assert_eq!(of(ALL).into_data(), of(0.0).into_data());
}

fn states() -> Tensor<Training, 3> {
    let values = Tensor::<Training, 1, burn::tensor::Int>::arange(0..32, &FlexDevice);
    values.float().sin().reshape([1, 4, 8])
}

/// Both sides run the same operations on the same numbers, or on zeros of any sign.
fn check<B: Backend, const D: usize>(found: Tensor<B, D>, expected: Tensor<B, D>) {
    let difference: f32 = (found - expected).abs().max().into_data().iter().next().unwrap();
    assert_eq!(difference, 0.0);
}
