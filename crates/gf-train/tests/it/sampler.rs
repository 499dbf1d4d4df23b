//! Laws of the order of rows.

use gf_train::length_grouped;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn order(lengths: &[usize], batch_size: usize, seed: u64) -> Vec<usize> {
    length_grouped(lengths, batch_size, &mut ChaCha8Rng::seed_from_u64(seed))
}

proptest! {
    #[test]
    fn every_row_once(lengths in prop::collection::vec(1usize..5000, 0..700), batch_size in 1usize..60, seed: u64) {
        let mut seen = order(&lengths, batch_size, seed);
        prop_assert_eq!(seen.clone(), order(&lengths, batch_size, seed));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
    }

    #[test]
    fn longest_first_and_sorted_within_megabatches(lengths in prop::collection::vec(1usize..5000, 1..700), batch_size in 1usize..20, seed: u64) {
        let order = order(&lengths, batch_size, seed);
        let ordered: Vec<usize> = order.iter().map(|&row| lengths[row]).collect();
        prop_assert_eq!(ordered[0], *lengths.iter().max().unwrap());
        let megabatch = (lengths.len() / (4 * batch_size)).clamp(1, 50) * batch_size;
        for rows in ordered.chunks(megabatch) {
            // The first row of one mega-batch was exchanged for the longest of all.
            prop_assert!(rows[1..].is_sorted_by(|a, b| a >= b));
        }
    }
}

/// What grouping is for: padding stays small even where lengths vary a hundredfold.
#[test]
fn padding_is_bounded() {
    const WORST_PADDING: f64 = 0.05;
    let lengths: Vec<usize> = (0..2000).map(|i| 40 + (i * 7919) % 4000).collect();
    let order = order(&lengths, 8, 1);
    let padded: usize = order
        .chunks(8)
        .map(|batch| batch.len() * batch.iter().map(|&row| lengths[row]).max().unwrap())
        .sum();
    let real: usize = lengths.iter().sum();
    let padding = 1.0 - real as f64 / padded as f64;
    assert!(padding < WORST_PADDING, "{padding} of all positions are padding");
}

#[test]
fn seeds_give_different_orders() {
    let lengths = vec![7; 100];
    assert_ne!(order(&lengths, 4, 1), order(&lengths, 4, 2));
}
