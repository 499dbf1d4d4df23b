//! Order of the reference, separability, pairs.

use std::collections::{BTreeMap, HashSet};

use gf_embed::{
    Item, Metric, PairClass, nearest_others, numpy_permutation, pair_cosines, separability,
};
use ndarray::Array2;
use proptest::prelude::*;
use safetensors::SafeTensors;

/// numpy 2.4.6: `default_rng(seed).permutation(n)`, whole or its beginning.
#[test]
fn permutations_are_numpy_s() {
    fn t(n: u32, seed: u64, expected: &[usize]) {
        assert_eq!(numpy_permutation(n, seed)[..expected.len()], *expected, "{n}, {seed}");
    }
    t(0, 42, &[]);
    t(1, 42, &[0]);
    t(5000, 42, &[1535, 1183, 3378, 3825, 643, 90]);
    t(10, 0, &[4, 6, 2, 7, 3, 5, 9, 0, 8, 1]);
    t(25, 42, &[15, 16, 19, 20, 9, 7, 17, 24, 6, 10, 3, 0]);
    t(7, 1099511627781, &[1, 2, 5, 6, 0, 4, 3]);
    t(
        70000,
        123456789012345,
        &[54831, 17141, 46108, 8046, 3060, 11151, 31426, 42988, 66451, 18238, 8917, 14083],
    );
    t(20, 18446744073709551615, &[2, 1, 9, 18, 13, 6, 5, 11, 7, 4, 14, 16]);
}

#[test]
fn rows_shuffled_by_datasets_are_in_numpy_s_order() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("dataset/hf_datasets_3.1.0");
    let json = std::fs::read(folder.join("expected_rows.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let expected: Vec<usize> =
        serde_json::from_value(json["shuffle_seed42_order"].clone()).unwrap();
    assert_eq!(numpy_permutation(25, 42), expected);
}

/// `stats/gsi.*` (INDEX.md A6): numpy brute force in f64; indices are exact.
#[test]
fn separability_is_that_of_brute_force() {
    let Some(golden) = crate::golden_folder() else { return };
    let bytes = std::fs::read(golden.join("stats/gsi.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let json = std::fs::read(golden.join("stats/gsi.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let values = floats(&tensors, "embeddings");
    let genes: Vec<u32> = integers(&tensors, "gene");
    let metrics = [("euclidean", Metric::Euclidean), ("cosine", Metric::Cosine)];
    for (metric_name, metric) in metrics {
        let nearest: Vec<usize> =
            nearest_others(values.view(), metric).into_iter().flatten().collect();
        let expected: Vec<u32> = integers(&tensors, &format!("nearest.{metric_name}.all_genes"));
        assert_eq!(nearest, expected.iter().map(|&i| i as usize).collect::<Vec<_>>());
        for (set, min_detections) in [("all_genes", 0), ("genes_detected_ge20", 20)] {
            let found = separability(values.view(), &genes, min_detections, metric).unwrap();
            let expected = &json[format!("{metric_name}.{set}")];
            assert_eq!(found.n_embeddings as u64, expected["n_embeddings"].as_u64().unwrap());
            let share = |key: &str| expected[key].as_f64().unwrap();
            let found_shares =
                [found.share_of_embeddings, found.share_of_labels_all, found.share_of_labels_most];
            let expected_shares = [
                share("gsi_share_of_embeddings"),
                share("share_of_genes_with_all_nearest_same"),
                share("share_of_genes_with_majority_nearest_same"),
            ];
            assert_eq!(found_shares, expected_shares, "{metric_name} {set}");
            let per_gene: BTreeMap<u32, f64> =
                serde_json::from_value(expected["per_gene"].clone()).unwrap();
            assert_eq!(found.per_label, per_gene, "{metric_name} {set}");
        }
    }
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Array2<f32> {
    let tensor = tensors.tensor(name).unwrap();
    let numbers = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    let shape = [tensor.shape()[0], tensor.shape()[1]];
    Array2::from_shape_vec(shape, numbers.collect()).unwrap()
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let data = tensors.tensor(name).unwrap();
    let numbers = data.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    numbers.map(|n| n as u32).collect()
}

/// The class of a pair as its definition has it.
fn class(a: &Item, b: &Item) -> Option<PairClass> {
    if a.within != b.within {
        return None;
    }
    Some(match (a.label == b.label, a.batch == b.batch) {
        (false, _) => PairClass::Different,
        (true, true) => PairClass::SameBatch,
        (true, false) => PairClass::OtherBatch,
    })
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (0u32..2, 0u32..3, 0u32..3);
    let item = item.prop_map(|(within, label, batch)| Item { within, label, batch });
    prop::collection::vec(item, 0..30)
}

proptest! {
    #[test]
    fn where_there_is_room_every_pair_is_there_once(items in items()) {
        let values = Array2::ones((items.len(), 2));
        let found = pair_cosines(values.view(), &items, 1_000, 7).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|pair| (pair.class as u8, pair.rows[0].min(pair.rows[1]), pair.rows[0].max(pair.rows[1])))
            .collect();
        let all = (0..items.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
        let expected: HashSet<_> = all
            .filter_map(|(a, b)| Some((class(&items[a], &items[b])? as u8, a, b)))
            .collect();
        prop_assert_eq!(found.len(), expected.len());
        prop_assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected);
    }

    #[test]
    fn drawn_pairs_are_of_their_class(items in items(), seed in any::<u64>()) {
        let values = Array2::ones((items.len(), 2));
        let found = pair_cosines(values.view(), &items, 5, seed).unwrap();
        for pair in &found {
            let [a, b] = pair.rows;
            prop_assert_ne!(a, b);
            prop_assert_eq!(class(&items[a], &items[b]), Some(pair.class));
        }
        for class in PairClass::ALL {
            prop_assert!(found.iter().filter(|pair| pair.class == class).count() <= 5);
        }
    }
}

/// Every pair of a class is drawn about as often as every other.
#[test]
fn pairs_are_drawn_evenly() {
    // Groups of different size, where drawing the group first would be uneven.
    let labels = [0u32, 0, 1, 1, 1, 1, 1];
    let items: Vec<Item> =
        labels.iter().map(|&label| Item { within: 0, label, batch: 0 }).collect();
    let values = Array2::ones((items.len(), 2));
    const PER_CLASS: usize = 11_000;
    let cosines = pair_cosines(values.view(), &items, PER_CLASS, 1).unwrap();
    let same = cosines.iter().filter(|pair| pair.class == PairClass::SameBatch);
    let n_small = same.clone().filter(|pair| pair.rows[0] < 2).count();
    assert_eq!(same.count(), 11, "all of the 11 pairs there are");
    assert_eq!(n_small, 1);
    let drawn = pair_cosines(values.view(), &items, 10, 1).unwrap();
    assert_eq!(drawn.iter().filter(|pair| pair.class == PairClass::SameBatch).count(), 10);
    let mut n_small = 0;
    const SEEDS: u64 = 1_100;
    for seed in 0..SEEDS {
        let drawn = pair_cosines(values.view(), &items, 10, seed).unwrap();
        let same = drawn.iter().filter(|pair| pair.class == PairClass::SameBatch);
        n_small += same.filter(|pair| pair.rows[0] < 2).count();
    }
    // 11,000 draws of which 1 in 11 is expected: 1,000 ± 30; five of those deviations.
    assert!((850..1150).contains(&n_small), "{n_small}");
}
