//! Deletions that share the first layer, with quantised weights, against a batch of them.

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use gf_model::{
    Deletions, Encoder, EncoderConfig, EncoderInput, Preset, Projection,
    kernels::AttentionArithmetic,
};
use gf_quant::{int8::Activations, quantize_int8, quantize_nf4};

/// Two orders of summation over at most 128 terms, and normalisation between.
const ROUNDING: f32 = 5e-5;
/// A mixed value that is rounded to a neighbouring one of 127 codes moves its token.
const ONE_CODE: f32 = 0.05;
/// So few numbers of each hidden state are moved by that: none of the embeddings, those of
/// a few tokens behind the first layer, and behind the second one also other tokens of
/// the same deletion, through attention.
const MOVED: [f64; 3] = [0.0, 0.005, 0.05];
const N_TOKENS: usize = 50;

/// With two columns of hidden state 0 that reach 6 in most tokens, and others in a few.
fn encoder() -> Encoder<Flex> {
    Flex::seed(&FlexDevice, 31);
    let config = EncoderConfig {
        vocab_size: 60,
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 128,
        max_position_embeddings: 64,
        initializer_range: 0.15,
        ..EncoderConfig::preset(Preset::V1_10M)
    };
    let mut encoder = config.init_encoder(&FlexDevice).unwrap();
    let gamma = &mut encoder.embeddings.layer_norm.gamma;
    let scales = (0..64).map(|j| if j % 32 == 5 { 12.0 } else { 1.0 + 0.03 * j as f32 });
    let scales: Vec<f32> = scales.collect();
    *gamma = gamma.clone().map(|_| Tensor::from_floats(scales.as_slice(), &FlexDevice));
    encoder
}

/// Differences of hidden state `k` of every deletion, computed together.
fn differences<P: Projection<Flex>>(encoder: &Encoder<Flex, P>, k: usize) -> Vec<f32> {
    let arithmetic = encoder.layers[0].attention.query.attention_arithmetic();
    let cell: Vec<i32> = (0..N_TOKENS).map(|i| (i * 7 % 53 + 3) as i32).collect();
    let positions: Vec<usize> = (0..N_TOKENS).collect();
    let deletions = Deletions::new(encoder, &cell, &FlexDevice).unwrap();
    let found = deletions.without(&positions).hidden_state(0..N_TOKENS, k).into_data();
    let rows: Vec<Vec<i32>> =
        positions.iter().map(|&p| [&cell[..p], &cell[p + 1..]].concat()).collect();
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    let expected = match arithmetic {
        AttentionArithmetic::Float => {
            let input = EncoderInput::from_rows(&rows, 0, &FlexDevice);
            encoder.hidden_state(&input, k).into_data()
        }
        // The first layer's attention is shared in f32.
        AttentionArithmetic::Integer16 => {
            let alone = |row: &&[i32]| {
                Deletions::new(encoder, row, &FlexDevice).unwrap().whole_hidden_state(k)
            };
            Tensor::cat(rows.iter().map(alone).collect(), 0).into_data()
        }
    };
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    pairs.map(|(found, expected)| (found - expected).abs()).collect()
}

#[test]
fn four_bits_share() {
    for k in 0..=2 {
        let largest = differences(&quantize_nf4(encoder()), k).into_iter().fold(0.0, f32::max);
        assert!(largest <= ROUNDING, "state {k}: {largest}");
    }
}

/// Activations are rounded token by token, and the outlier columns of LLM.int8, chosen in
/// the whole batch, are those of a batch of all deletions. LLM.int8 also rounds to half
/// precision, which above the first layer moves every token a little.
#[test]
fn eight_bits_share() {
    for (mode, most) in [(Activations::Int8, &MOVED[..]), (Activations::LLM_INT8, &MOVED[..2])] {
        let encoder = quantize_int8(encoder(), mode);
        for (k, &most) in most.iter().enumerate() {
            let differences = differences(&encoder, k);
            let largest = differences.iter().copied().fold(0.0, f32::max);
            let n_moved = differences.iter().filter(|&&difference| difference > ROUNDING).count();
            let moved = n_moved as f64 / differences.len() as f64;
            assert!(
                largest <= ONE_CODE && moved <= most,
                "{mode:?}, state {k}: by up to {largest}, {moved} of the numbers"
            );
        }
    }
}
