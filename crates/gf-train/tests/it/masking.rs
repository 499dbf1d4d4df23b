//! Laws of masking.

use gf_train::{MaskedBatch, MaskedRow, Masking};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::Inner;

/// Standard deviations of a binomial count that a right rate stays within; chance
/// exceeds 6 in 2 of 10⁹ draws, and the seeds are fixed.
const SIGMAS: f64 = 6.0;

fn reference(vocab_size: usize) -> Masking {
    Masking { probability: 0.15, mask_token: 1, vocab_size, never_selected: vec![] }
}

fn mask(masking: &Masking, tokens: &[i32], seed: u64) -> MaskedRow {
    masking.mask(tokens, &mut ChaCha8Rng::seed_from_u64(seed))
}

fn check_rate(what: &str, n: usize, of: usize, expected: f64) {
    let (n, of) = (n as f64, of as f64);
    let bound = SIGMAS * (of * expected * (1.0 - expected)).sqrt();
    assert!(
        (n - of * expected).abs() < bound,
        "{what}: {n} of {of}, expected {expected} ± {bound}"
    );
}

/// 15 % selected; of these 80 % masked, 10 % random, 10 % unchanged.
#[test]
fn rates() {
    let masking = reference(20_275);
    let tokens: Vec<i32> = (0..200_000).map(|i| 4 + i % 20_000).collect();
    let row = mask(&masking, &tokens, 3);
    let n = row.positions.len();
    check_rate("selected", n, tokens.len(), 0.15);
    let after = |keep: &dyn Fn(i32, i32) -> bool| {
        row.positions
            .iter()
            .zip(&row.labels)
            .filter(|&(&p, &label)| keep(row.input_ids[p], label))
            .count()
    };
    let masked = after(&|id, _| id == 1);
    let unchanged = after(&|id, label| id == label);
    check_rate("masked", masked, n, 0.8);
    check_rate("unchanged", unchanged, n, 0.1);
    check_rate("random", n - masked - unchanged, n, 0.1);
    let low_half = after(&|id, label| id != 1 && id != label && id < 20_275 / 2);
    check_rate("random tokens in the lower half", low_half, n - masked - unchanged, 0.5);
}

/// The counts of the reference's collator on one batch (shared/golden/train/masking.json,
/// A4) are such as our rule gives: the parts are those of one rule.
#[test]
fn reference_counts_are_plausible() {
    let Some(golden) = crate::golden_folder() else { return };
    let text = std::fs::read_to_string(golden.join("train/masking.json")).unwrap();
    let counts: std::collections::HashMap<String, usize> = serde_json::from_str(&text).unwrap();
    let selected = counts["selected"];
    check_rate("masked", counts["masked"], selected, 0.8);
    check_rate("random", counts["random"], selected, 0.1);
    check_rate("unchanged", counts["unchanged"], selected, 0.1);
}

proptest! {
    #[test]
    fn a_masked_row_can_be_undone(tokens in prop::collection::vec(0i32..50, 1..200), seed: u64, probability in 0.01f64..1.0) {
        let masking = Masking { probability, ..reference(50) };
        let row = mask(&masking, &tokens, seed);
        prop_assert_eq!(&row, &mask(&masking, &tokens, seed));
        prop_assert!(row.positions.is_sorted_by(|a, b| a < b));
        prop_assert!(row.input_ids.iter().all(|id| (0..50).contains(id)));
        let mut restored = row.input_ids;
        for (&position, &label) in row.positions.iter().zip(&row.labels) {
            restored[position] = label;
        }
        prop_assert_eq!(restored, tokens);
    }

    #[test]
    fn excluded_tokens_are_never_selected(tokens in prop::collection::vec(0i32..9, 1..100), seed: u64) {
        let masking = Masking { probability: 1.0, never_selected: vec![0, 1, 2, 3], ..reference(9) };
        let row = mask(&masking, &tokens, seed);
        let genes: Vec<i32> = tokens.into_iter().filter(|&token| token > 3).collect();
        prop_assert_eq!(row.labels, genes);
    }

    #[test]
    fn padding_is_never_predicted(lengths in prop::collection::vec(1usize..40, 1..6), seed: u64) {
        let masking = reference(50);
        let rows: Vec<MaskedRow> = lengths.iter().enumerate()
            .map(|(i, &n)| mask(&masking, &vec![7; n], seed.wrapping_add(i as u64)))
            .collect();
        let batch = MaskedBatch::<Inner>::new(&rows, 0, &Default::default());
        prop_assert_eq!(batch.n_tokens(), lengths.iter().sum::<usize>());
        let [_, n_selected] = batch.positions.dims();
        let positions: Vec<i64> = batch.positions.into_data().iter::<i64>().collect();
        let predicted: Vec<i64> = batch.predicted.into_data().iter::<i64>().collect();
        let expected: Vec<(usize, usize)> = rows.iter().enumerate()
            .flat_map(|(i, row)| row.positions.iter().map(move |&p| (i, p)))
            .collect();
        let found: Vec<(usize, usize)> = predicted.iter()
            .map(|&slot| (slot as usize / n_selected, positions[slot as usize] as usize))
            .collect();
        prop_assert!(found.iter().all(|&(row, position)| position < lengths[row]));
        prop_assert_eq!(found, expected);
    }
}
