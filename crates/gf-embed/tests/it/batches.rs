//! Grouping by length.

use gf_embed::batches_by_length;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_cell_is_in_one_batch_that_fits(
        lengths in prop::collection::vec(1usize..50, 0..60),
        tokens_per_batch in 0usize..200,
    ) {
        let batches = batches_by_length(&lengths, tokens_per_batch);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
            prop_assert!(batch.len() == 1 || batch.len() * longest <= tokens_per_batch);
        }
        prop_assert!(batches.concat().windows(2).all(|pair| lengths[pair[0]] >= lengths[pair[1]]));
    }
}
