//! Laws of the edits and of the ranking.

use gf_perturb::{
    CellShifts,
    perturbation::{delete, gene_positions},
    rank,
};
use gf_tokenize::TokenId;
use proptest::prelude::*;

/// Rounding of a sum of at most 200 numbers up to 2.
const ROUNDING: f64 = 1e-12;

fn cells() -> impl Strategy<Value = Vec<CellShifts>> {
    let cell = prop::collection::btree_map(4u32..30, -1.0f64..1.0, 0..20);
    prop::collection::vec(cell, 1..10).prop_map(|cells| {
        let shifts = |(row, cell): (usize, std::collections::BTreeMap<u32, f64>)| CellShifts {
            row,
            cell_id: row.to_string(),
            genes: cell.keys().map(|&token| TokenId(token)).collect(),
            cosines: cell.into_values().collect(),
        };
        cells.into_iter().enumerate().map(shifts).collect()
    })
}

proptest! {
    #[test]
    fn a_deletion_takes_one_token_and_keeps_the_order(
        tokens in prop::collection::vec(4i32..1000, 1..40), at in any::<prop::sample::Index>()
    ) {
        let position = at.index(tokens.len());
        let mut expected = tokens.clone();
        expected.remove(position);
        prop_assert_eq!(delete(&tokens, position), expected);
    }

    #[test]
    fn every_gene_of_a_framed_cell_has_a_position(genes in prop::collection::vec(4i32..1000, 0..40)) {
        let mut tokens = vec![2];
        tokens.extend(&genes);
        let unframed = gene_positions(&tokens, None);
        prop_assert_eq!(&tokens[unframed], genes.as_slice());
        tokens.push(3);
        prop_assert_eq!(&tokens[gene_positions(&tokens, Some(3))], genes.as_slice());
    }

    #[test]
    fn a_ranking_accounts_for_every_deletion(cells in cells()) {
        let effects = rank(&cells);
        let n_deletions: usize = cells.iter().map(|cell| cell.genes.len()).sum();
        prop_assert_eq!(effects.iter().map(|effect| effect.n_detections).sum::<usize>(), n_deletions);
        let sum: f64 = effects.iter().map(|e| e.mean_shift * e.n_detections as f64).sum();
        let expected: f64 = cells.iter().flat_map(|cell| &cell.cosines).map(|cosine| 1.0 - cosine).sum();
        prop_assert!((sum - expected).abs() <= ROUNDING * n_deletions.max(1) as f64);
        prop_assert!(effects.windows(2).all(|pair| pair[0].mean_shift >= pair[1].mean_shift));
        for effect in &effects {
            prop_assert!(effect.stdev_shift >= 0.0);
            prop_assert!(effect.n_detections > 1 || effect.stdev_shift == 0.0);
        }
    }
}
