//! Laws of edits and rankings.

use gf_perturb::{
    Effect,
    perturbation::{Edit, Quartiles, Targets, Variant, without},
    rank,
};
use gf_tokenize::TokenId;
use proptest::prelude::*;

/// Sums of a few hundred numbers near 1, in another order.
const ROUNDING: f64 = 1e-12;

fn genes() -> impl Strategy<Value = Vec<i32>> {
    let set = prop::collection::hash_set(4i32..1000, 1..40);
    set.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn edits() -> impl Strategy<Value = Edit> {
    let by = (1u8..=3).prop_map(|by| Quartiles::new(by).unwrap());
    prop_oneof![
        Just(Edit::Delete),
        Just(Edit::Overexpress),
        by.clone().prop_map(Edit::Inhibit),
        by.prop_map(Edit::Activate),
    ]
}

/// The example of the reference's documentation: of 16 genes, quarters of four.
#[test]
fn quartiles_are_shifted_as_documented() {
    let genes: Vec<i32> = (0..16).collect();
    let rank = |edit: Edit, gene: i32| {
        edit.apply(&genes, &[gene]).iter().position(|&other| other == gene).unwrap()
    };
    let by = |n| Quartiles::new(n).unwrap();
    for (edit, gene, expected) in [
        (Edit::Activate(by(1)), 13, 10),
        (Edit::Activate(by(1)), 8, 6),
        (Edit::Activate(by(1)), 5, 2),
        (Edit::Activate(by(1)), 3, 0),
        (Edit::Activate(by(3)), 15, 2),
        (Edit::Inhibit(by(1)), 0, 6),
        (Edit::Inhibit(by(2)), 0, 10),
        (Edit::Inhibit(by(1)), 13, 15),
        (Edit::Inhibit(by(3)), 5, 15),
    ] {
        assert_eq!(rank(edit, gene), expected, "{edit:?} of {gene}");
    }
}

/// REFERENCE.md §6.7: the reference cuts the original of this case twice.
#[test]
fn an_original_is_cut_by_the_overflow_alone() {
    // CLS, four genes, EOS; a model of seven positions; two genes are put first.
    let tokens = [2, 11, 12, 13, 14, 3];
    let variant = Variant::new(Edit::Overexpress, &tokens[1..5], vec![8, 9], 5);
    assert_eq!(variant.tokens(Edit::Overexpress, &tokens, 1..5), [2, 8, 9, 11, 12, 13, 3]);
    assert_eq!(variant.original(&tokens, 1..5), [2, 11, 12, 13, 3]);
    let fits = Variant::new(Edit::Overexpress, &tokens[1..5], vec![8], 5);
    assert_eq!(fits.original(&tokens, 1..5), tokens);
    // V1: neither CLS nor EOS.
    let v1 = Variant::new(Edit::Overexpress, &[11, 12], vec![8], 2);
    assert_eq!(v1.tokens(Edit::Overexpress, &[11, 12], 0..2), [8, 11]);
    assert_eq!(v1.original(&[11, 12], 0..2), [11]);
}

#[test]
fn groups_of_a_cell() {
    fn t(targets: &Targets, edit: Edit, expected: &[&[i32]]) {
        assert_eq!(targets.groups(edit, &[7, 5, 9]), expected, "{targets:?} {edit:?}");
    }
    let token = |tokens: &[u32]| tokens.iter().map(|&t| TokenId(t)).collect::<Vec<_>>();
    let inhibit = Edit::Inhibit(Quartiles::new(3).unwrap());
    t(&Targets::All, Edit::Delete, &[&[7], &[5], &[9]]);
    t(&Targets::All, Edit::Overexpress, &[&[5], &[9]]);
    t(&Targets::All, inhibit, &[&[7], &[5]]);
    t(&Targets::Each(token(&[9, 4])), Edit::Delete, &[&[9]]);
    t(&Targets::Each(token(&[9, 4])), Edit::Overexpress, &[&[9], &[4]]);
    t(&Targets::Together(token(&[9, 4])), Edit::Delete, &[]);
    t(&Targets::Together(token(&[9, 7])), Edit::Delete, &[&[9, 7]]);
    t(&Targets::Together(token(&[9, 4])), Edit::Overexpress, &[&[9, 4]]);
    t(&Targets::WithAnchor(TokenId(5)), Edit::Delete, &[&[5, 7], &[5, 9]]);
    t(&Targets::WithAnchor(TokenId(4)), Edit::Overexpress, &[]);
}

proptest! {
    #[test]
    fn other_genes_keep_their_order(genes in genes(), edit in edits(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let mut group: Vec<i32> = picks.iter().map(|pick| genes[pick.index(genes.len())]).collect();
        group.sort_unstable();
        group.dedup();
        let edited = edit.apply(&genes, &group);
        prop_assert_eq!(without(&edited, &group), without(&genes, &group));
        let n_left = edited.iter().filter(|gene| group.contains(gene)).count();
        prop_assert_eq!(n_left, if edit == Edit::Delete { 0 } else { group.len() });
        prop_assert_eq!(Variant::new(edit, &genes, group, usize::MAX).n_genes, edited.len());
    }

    #[test]
    fn shifts_go_one_way(genes in genes(), pick in any::<prop::sample::Index>(), by in 1u8..=3) {
        let (rank, by) = (pick.index(genes.len()), Quartiles::new(by).unwrap());
        let rank_after = |edit: Edit| {
            edit.apply(&genes, &[genes[rank]]).iter().position(|&gene| gene == genes[rank]).unwrap()
        };
        prop_assert!(rank_after(Edit::Activate(by)) <= rank);
        prop_assert!(rank_after(Edit::Inhibit(by)) >= rank);
    }

    #[test]
    fn what_is_not_moved_is_left_out(genes in genes(), edit in edits()) {
        let groups = Targets::All.groups(edit, &genes);
        for &gene in &genes {
            let is_moved = edit.apply(&genes, &[gene]) != genes;
            prop_assert_eq!(groups.contains(&vec![gene]), is_moved);
        }
    }

    #[test]
    fn a_ranking_accounts_for_every_effect(effects in prop::collection::vec((4u32..30, -1.0f64..1.0), 0..80)) {
        let effects: Vec<Effect> = effects.into_iter().map(|(gene, cosine)| Effect {
            genes: vec![TokenId(gene)], cosine, shifts: Vec::new(), affected: Vec::new(),
        }).collect();
        let ranked = rank(&effects);
        prop_assert_eq!(ranked.iter().map(|gene| gene.n_detections).sum::<usize>(), effects.len());
        let sum: f64 = ranked.iter().map(|e| e.mean_shift * e.n_detections as f64).sum();
        let expected: f64 = effects.iter().map(|effect| 1.0 - effect.cosine).sum();
        prop_assert!((sum - expected).abs() <= ROUNDING * effects.len().max(1) as f64);
        prop_assert!(ranked.windows(2).all(|pair| pair[0].mean_shift >= pair[1].mean_shift));
        prop_assert!(ranked.iter().all(|gene| gene.n_detections > 1 || gene.stdev_shift == 0.0));
    }
}
