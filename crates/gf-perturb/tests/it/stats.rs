//! Statistics against scipy, statsmodels, scikit-learn and the reference's own tables
//! (shared/golden, INDEX.md A6 and A8), on the reference's numbers.

use std::path::Path;

use gf_perturb::{
    Effect,
    output::{self, GeneNames},
    stats::{
        Combinations, Mixture, Pool, RankPool, aggregate_gene_shifts, benjamini_hochberg,
        compare_groups, goal_state_shift, mean_shifts, mixture_model, python_sample, rank_sum,
        vs_null,
    },
};
use gf_tokenize::TokenId;
use proptest::prelude::*;
use serde_json::Value;

use crate::reference::{Reference, VERSIONS, json, observations};

/// INDEX.md: p-values of equal inputs.
const P_TOLERANCE: f64 = 1e-10;
/// INDEX.md: q-values of equal inputs.
const Q_TOLERANCE: f64 = 1e-12;
/// INDEX.md: parameters of distinct clusters.
const MIXTURE_TOLERANCE: f64 = 1e-6;
/// Means of the same numbers, summed in another order.
const TABLE_TOLERANCE: f64 = 1e-9;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

fn assert_close(place: &str, found: f64, expected: f64, tolerance: f64) {
    let is_close = (found - expected).abs() <= tolerance * expected.abs().max(f64::MIN_POSITIVE);
    assert!(
        is_close || found.is_nan() && expected.is_nan(),
        "{place}: {found}, expected {expected}"
    );
}

fn cases(golden: &Path, file: &str) -> Vec<Value> {
    json(&golden.join("stats").join(file))["cases"].as_array().unwrap().clone()
}

#[test]
fn rank_sums_are_scipy_s() {
    let Some(golden) = crate::golden_folder() else { return };
    for case in cases(&golden, "ranksums.json") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let (name, found) = (case["name"].to_string(), rank_sum(&a, &b));
        let expected = |key: &str| case[key].as_f64().unwrap_or(f64::NAN);
        assert_close(&name, found.p, expected("pvalue"), P_TOLERANCE);
        assert_close(&name, found.z, expected("statistic"), P_TOLERANCE);
    }
}

#[test]
fn q_values_are_those_of_statsmodels() {
    let Some(golden) = crate::golden_folder() else { return };
    for case in cases(&golden, "bh_fdr.json") {
        let found = benjamini_hochberg(&numbers(&case["p"]));
        for (found, expected) in found.into_iter().zip(numbers(&case["q"])) {
            assert_close(&case["name"].to_string(), found, expected, Q_TOLERANCE);
        }
    }
}

#[test]
fn mixtures_are_those_of_scikit_learn() {
    let Some(golden) = crate::golden_folder() else { return };
    // Of one cluster narrower than the variance floor the parts mean nothing.
    let distinct = |case: &Value| case["name"] != "cos_close_to_one";
    for case in cases(&golden, "gaussian_mixture.json").into_iter().filter(distinct) {
        let (name, x) = (case["name"].to_string(), numbers(&case["x"]));
        let found = Mixture::fit(&x).unwrap();
        let parts = [
            ("means_sorted", found.means),
            ("variances_sorted", found.variances),
            ("weights_sorted", found.weights),
        ];
        for (key, found) in parts {
            for (found, expected) in found.into_iter().zip(numbers(&case[key])) {
                let difference = (found - expected).abs();
                assert!(
                    difference <= MIXTURE_TOLERANCE,
                    "{name} {key}: {found}, expected {expected}"
                );
            }
        }
        let labels: Vec<f64> = x.iter().map(|&x| f64::from(u8::from(found.is_lower(x)))).collect();
        assert_eq!(labels, numbers(&case["impact_component_ordered_by_mean"]), "{name}");
    }
    assert_eq!(Mixture::fit(&[0.5]), None);
}

/// Made with CPython 3.11.7: `random.seed(42); random.sample(range(n), k)`.
#[test]
fn samples_are_python_s() {
    assert_eq!(python_sample(10, 10, 42), [1, 0, 4, 9, 6, 5, 8, 2, 3, 7]);
    assert_eq!(python_sample(1_000_000, 5, 42), [670487, 116739, 26225, 777572, 288389]);
    let large = python_sample(1_200_000, 100_000, 42);
    assert_eq!(large[99_995..], PYTHON_TAIL);
    assert_eq!(large.iter().map(|&i| u64::from(i)).sum::<u64>(), PYTHON_SUM);
}

const PYTHON_TAIL: [u32; 5] = [920337, 1127630, 144225, 157739, 220446];
const PYTHON_SUM: u64 = 59_990_752_436;

/// The tables that the reference made of its own numbers.
#[test]
fn tables_are_the_reference_s() {
    let Some(golden) = crate::golden_folder() else { return };
    for version in VERSIONS {
        let reference = Reference::open(&golden, version);
        let symbol = |_: &str| None;
        let names = GeneNames { vocabulary: &reference.vocabulary, symbol: &symbol };
        let folder = golden.join("ref").join(version.0).join("isp");
        let read = |run: &str| observations(&folder.join(format!("{run}.json")));
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("table.csv");
        let alternatives = ["hcm".to_owned()];
        let check = |file: &str, keys: &[usize]| check_table(&out, &folder.join(file), keys);

        let rows = goal_state_shift(&read("del_all_states"), "nf", &alternatives, Pool::Reference);
        output::write_goal_shifts(&out, &rows.unwrap(), &alternatives, &names).unwrap();
        check("del_all_states_goal.csv", &[1]);

        for run in ["del_list1_states", "oe_list3_states"] {
            let means = mean_shifts(&read(run), "nf", &alternatives).unwrap();
            output::write_mean_shifts(&out, &means, &alternatives).unwrap();
            check(&format!("{run}_goal.csv"), &[0]);
        }
        let rows = vs_null(&read("null_test"), &read("null_null")).unwrap();
        output::write_vs_null(&out, &rows, &names).unwrap();
        check("vs_null.csv", &[1]);

        output::write_impacts(&out, &mixture_model(&read("del_all")).unwrap(), &names).unwrap();
        check("del_all_mixture.csv", &[1]);

        output::write_cosines(&out, &read("del_list1"), &names).unwrap();
        check("del_list1_agg.csv", &[0]);

        let runs = ["del_all_gene", "del_list2_gene", "oe_list2_gene", "oe_list1_absent_gene"];
        for run in runs {
            let rows = aggregate_gene_shifts(&read(run)).unwrap();
            output::write_gene_shifts(&out, &rows, &names).unwrap();
            let file = format!("{}_shifts.csv", run.trim_end_matches("_gene"));
            let file =
                if folder.join(&file).is_file() { file } else { format!("{run}_shifts.csv") };
            check(&file, &[1, 4]);
        }
    }
}

/// Compares tables line by line: lines have the same key in `keys`, texts and counts are
/// the same, numbers close. Names of genes are not compared: they are the reader's.
fn check_table(found: &Path, expected: &Path, keys: &[usize]) {
    let table = |path: &Path| {
        let mut csv = csv::Reader::from_path(path).unwrap();
        let header = csv.headers().unwrap().clone();
        let mut rows: Vec<Vec<String>> = csv
            .records()
            .map(|row| {
                row.unwrap()
                    .iter()
                    .map(|x| x.replace("np.int16(", "").replace("), ", ", ").replace("))", ")"))
                    .collect()
            })
            .collect();
        rows.sort_by_key(|row| keys.iter().map(|&key| row[key].clone()).collect::<Vec<_>>());
        (header, rows)
    };
    let ((found_header, found), (header, rows)) = (table(found), table(expected));
    let place = expected.display();
    assert_eq!(found_header, header, "{place}");
    assert_eq!(found.len(), rows.len(), "{place}");
    for (found, row) in found.iter().zip(&rows) {
        for (column, (x, y)) in header.iter().zip(found.iter().zip(row)) {
            if column.is_empty() || column.ends_with("ame")
                // The two components overlap: where they part depends on scikit-learn's
                // random start. Distinct ones are compared in the test of mixtures.
                || column.starts_with("Impact_component")
                || column == "Gene" && keys == [0]
            {
                continue;
            }
            match (x.parse::<f64>(), y.parse::<f64>()) {
                (Ok(x), Ok(y)) => {
                    let is_close = (x - y).abs() <= TABLE_TOLERANCE * y.abs().max(1.0);
                    assert!(is_close, "{place} {column} of {:?}: {x}, expected {y}", row[1]);
                }
                _ => assert_eq!(x, y, "{place} {column} of {:?}", row[1]),
            }
        }
    }
}

#[test]
fn groups_of_genes_are_compared() {
    let Some(golden) = crate::golden_folder() else { return };
    let observations = observations(&golden.join("ref/isp_v2_more/isp/del_list2_gene.json"));
    let (genes, affected) = observations.affected.iter().next().unwrap();
    let tokens: Vec<_> = affected.keys().copied().collect();
    let (a, b) = tokens.split_at(20);
    let mut with_absent = a.to_vec();
    with_absent.push(gf_tokenize::TokenId(0));
    let groups = [("direct".to_owned(), with_absent), ("other".to_owned(), b.to_vec())];
    let (effects, pairs) = compare_groups(&observations, genes, &groups).unwrap();
    assert_eq!((effects[0].n_undetected, effects[0].shifts.len()), (1, 20));
    let shifts = |i: usize| effects[i].shifts.iter().map(|(_, shift)| *shift).collect::<Vec<_>>();
    assert_eq!(pairs.len(), 1);
    assert_eq!(pairs[0].p_value, rank_sum(&shifts(0), &shifts(1)).p);
    let error = compare_groups(&observations, &[], &groups).unwrap_err().to_string();
    assert!(error.contains("remaining genes"), "{error}");
}

proptest! {
    /// The pool sorted once gives what the test itself gives, ties included.
    #[test]
    fn pools_agree_with_the_plain_test(
        others in prop::collection::vec(0i32..12, 1..40), gene in prop::collection::vec(0i32..12, 1..12)
    ) {
        let floats = |numbers: &[i32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (others, gene) = (floats(&others), floats(&gene));
        let all = [others.clone(), gene.clone()].concat();
        let with = RankPool::new(Pool::Reference, all.clone()).test(&gene);
        let without = RankPool::new(Pool::Others, all.clone()).test(&gene);
        prop_assert!((with.z - rank_sum(&gene, &all).z).abs() < P_TOLERANCE);
        prop_assert!((without.z - rank_sum(&gene, &others).z).abs() < P_TOLERANCE);
    }
}

#[test]
fn pairs_are_set_against_their_genes_in_the_same_cells() {
    let effect = |genes: &[u32], cosine| Effect {
        genes: genes.iter().copied().map(TokenId).collect(),
        cosine,
        shifts: Vec::new(),
        affected: Vec::new(),
    };
    let mut combinations = Combinations::default();
    combinations.add(
        &[effect(&[1, 2], 0.25), effect(&[1, 3], 0.5)],
        &[effect(&[1], 0.75), effect(&[2], 0.75), effect(&[3], 0.5)],
    );
    // Here 3 is not perturbed by itself, and 4 is in no pair.
    combinations.add(
        &[effect(&[1, 2], 0.5), effect(&[1, 3], 0.5)],
        &[effect(&[1], 0.5), effect(&[2], 1.0), effect(&[4], 0.5)],
    );
    assert_eq!(combinations.n_left_out, 1);
    let rows = combinations.finish().unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let impact = &row.impact;
            let cosines = [row.anchor, row.gene, row.sum(), impact.mean_cosine, row.excess()];
            (impact.genes[1].0, impact.is_impact, impact.n_detections, cosines)
        })
        .collect();
    // Means of 2: 0.625 and 0.875, together 0.375; of 3: 0.75 and 0.5, together 0.5.
    assert_eq!(
        found,
        [
            (2, true, 2, [0.625, 0.875, 0.5, 0.375, -0.125]),
            (3, false, 1, [0.75, 0.5, 0.25, 0.5, 0.25]),
        ]
    );
}
