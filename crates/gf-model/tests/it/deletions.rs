//! Deletions that share their first layer against the same cells in a batch.

use burn::{
    backend::Autodiff,
    module::AutodiffModule,
    tensor::{FloatDType, Tensor, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Deletions, Encoder, EncoderConfig, EncoderInput, Preset, Projection};
use proptest::prelude::*;

/// As for the kernels: two orders of summation over at most a few thousand terms, and
/// normalisation between.
const TOLERANCE: f32 = 5e-5;
/// Normalising few numbers enlarges differences where they are nearly equal: 7e-5 was seen with
/// four of them. A key too many or too few moves numbers by more than a hundredth.
const TOLERANCE_OF_FEW: f32 = 5e-4;
/// So many are few.
const FEW: usize = 16;
const N_LAYERS: usize = 3;

fn encoder(n_heads: usize, d_head: usize) -> Encoder<Flex> {
    Flex::seed(&FlexDevice, 21);
    let hidden_size = n_heads * d_head;
    let config = EncoderConfig {
        vocab_size: 50,
        hidden_size,
        num_hidden_layers: N_LAYERS,
        num_attention_heads: n_heads,
        intermediate_size: 2 * hidden_size,
        max_position_embeddings: 4_096,
        initializer_range: 1.2 / (hidden_size as f64).sqrt(),
        ..EncoderConfig::preset(Preset::V1_10M)
    };
    config.init_encoder(&FlexDevice).unwrap()
}

fn cell(length: usize) -> Vec<i32> {
    (0..length).map(|i| (i * i % 47 + 3) as i32).collect()
}

/// Every height, by rows and by CLS, of the cell and of deletions computed in two parts.
fn check<P: Projection<Flex>>(encoder: &Encoder<Flex, P>, cell: &[i32], positions: &[usize]) {
    let rows: Vec<Vec<i32>> =
        positions.iter().map(|&p| [&cell[..p], &cell[p + 1..]].concat()).collect();
    let deletions = Deletions::new(encoder, cell, &FlexDevice).unwrap();
    let input = EncoderInput::from_rows(&[cell], 0, &FlexDevice);
    for k in 0..=N_LAYERS + 1 {
        let what = format!("state {k} of {} tokens", cell.len());
        let found = deletions.whole_hidden_state(k);
        same(&format!("hidden {what}"), found, encoder.hidden_state(&input, k));
        let found = deletions.whole_cls_state(k);
        same(&format!("CLS {what}"), found, encoder.cls_state(&input, k));
    }
    let without = deletions.without(positions);
    let half = positions.len().div_ceil(2);
    for range in [0..half, half..positions.len()].into_iter().filter(|range| !range.is_empty()) {
        let rows: Vec<&[i32]> = rows[range.clone()].iter().map(Vec::as_slice).collect();
        let input = EncoderInput::from_rows(&rows, 0, &FlexDevice);
        for k in 0..=N_LAYERS + 1 {
            let what = format!("state {k} of {} tokens without {positions:?}", cell.len());
            let found = without.hidden_state(range.clone(), k);
            same(&format!("hidden {what}"), found, encoder.hidden_state(&input, k));
            let found = without.cls_state(range.clone(), k);
            same(&format!("CLS {what}"), found, encoder.cls_state(&input, k));
        }
    }
}

#[track_caller]
fn same<const D: usize>(what: &str, found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}: shape");
    let tolerance = if found.dims()[D - 1] <= FEW { TOLERANCE_OF_FEW } else { TOLERANCE };
    let (found, expected) = (found.into_data(), expected.into_data());
    for (i, (found, expected)) in found.iter::<f32>().zip(expected.iter::<f32>()).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance, "{what}, number {i}: {found}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape_any_positions(
        n_heads in 1usize..4,
        d_head in 1usize..40,
        length in 2usize..230,
        positions in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
    ) {
        let positions: Vec<usize> = positions.iter().map(|i| i.index(length)).collect();
        check(&encoder(n_heads, d_head), &cell(length), &positions);
    }
}

#[test]
fn first_last_neighbours_all() {
    let encoder = encoder(2, 24).pack();
    let cell = cell(300);
    check(&encoder, &cell, &[0]);
    check(&encoder, &cell, &[299]);
    check(&encoder, &cell, &[0, 299]);
    check(&encoder, &cell, &[94, 95, 96, 97, 191, 192]);
    check(&encoder, &cell, &[200, 3, 200, 17]);
    check(&encoder, &cell[..40], &(0..40).collect::<Vec<_>>());
    check(&encoder, &cell[..2], &[0, 1]);
}

/// Several blocks of keys.
#[test]
fn longer_than_every_block() {
    check(&encoder(2, 40), &cell(700), &[1, 2, 3, 400, 699]);
}

#[test]
fn threads_change_no_bit() {
    let (encoder, cell) = (encoder(3, 20), cell(500));
    let numbers = |n_threads| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let hidden = pool.install(|| {
            let deletions = Deletions::new(&encoder, &cell, &FlexDevice).unwrap();
            deletions.without(&[4, 5, 6, 123]).hidden_state(0..4, 2).into_data()
        });
        hidden.iter::<f32>().map(f32::to_bits).collect()
    };
    assert_eq!(numbers(1), numbers(2));
}

#[test]
fn nothing_is_shared_elsewhere() {
    let cell = cell(20);
    let half = encoder(2, 8).cast(FloatDType::F16);
    assert!(Deletions::new(&half, &cell, &FlexDevice).is_none(), "half precision");
    let full = encoder(2, 8);
    assert!(Deletions::new(&full, &cell[..1], &FlexDevice).is_none(), "nothing would be left");
    let taped: Encoder<Autodiff<Flex>> = Encoder::from_inner(full);
    assert!(Deletions::new(&taped, &cell, &FlexDevice).is_none(), "a tape");
}

/// A run that is cut into other batches gives the same bytes.
#[test]
fn company_changes_no_bit() {
    let (encoder, cell) = (encoder(2, 24).pack(), cell(230));
    let deletions = Deletions::new(&encoder, &cell, &FlexDevice).unwrap();
    let bits = |hidden: Tensor<Flex, 3>| -> Vec<u32> {
        hidden.into_data().iter::<f32>().map(f32::to_bits).collect()
    };
    let positions = [0, 31, 32, 33, 95, 96, 97, 100, 192, 228, 229];
    let together = deletions.without(&positions);
    for (i, &position) in positions.iter().enumerate() {
        let alone = bits(deletions.without(&[position]).hidden_state(0..1, 2));
        assert_eq!(bits(together.hidden_state(i..i + 1, 2)), alone, "without {position}");
    }
}
