//! Summaries of states, and their file.

use gf_embed::{Error, StateEmbeddings, StateSummary};
use ndarray::array;
use proptest::prelude::*;

#[test]
fn each_state_has_its_own_rows() {
    let cells = array![[1.0f32, 10.0], [9.0, 9.0], [3.0, 30.0], [5.0, 20.0], [4.0, 40.0]];
    let states = [Some("sick"), None, Some("sick"), Some(""), Some("sick")];
    let t = |summary, sick: [f32; 2]| {
        let found = StateEmbeddings::summarise(cells.view(), &states, summary).unwrap();
        let expected = [("", &[5.0, 20.0][..]), ("sick", &sick[..])];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    };
    t(StateSummary::Mean, [8.0 / 3.0, 80.0 / 3.0]);
    t(StateSummary::Median, [3.0, 30.0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let cells = array![[1.0f32], [f32::NAN]];
    let t = |states: &[Option<&str>], expected: &str| {
        let error = StateEmbeddings::summarise(cells.view(), states, StateSummary::Mean);
        assert_eq!(error.unwrap_err().to_string(), expected);
    };
    t(&[None], "found 1 labels, expected one for each of 2 rows");
    t(&[None, Some("b")], "state \"b\": dimension 0 is not finite, expected a number");
    let states = StateEmbeddings::new([("a".to_owned(), vec![1.0])].into()).unwrap();
    let error = states.get("b").unwrap_err().to_string();
    assert_eq!(error, "there is no state \"b\", expected one of [\"a\"]");
    let uneven = [("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![])];
    let error = StateEmbeddings::new(uneven.into()).unwrap_err();
    assert!(matches!(error, Error::StateWidth { found: 0, expected: 1, .. }), "{error}");
}

/// Medians of torch (INDEX.md A6); the numbers there have nine decimals.
#[test]
fn the_median_is_torch_s() {
    const F32_EPSILON: f64 = f32::EPSILON as f64;
    let Some(golden) = crate::golden_folder() else { return };
    let json = std::fs::read(golden.join("stats/medians.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut n_cases = 0;
    for case in json["cases"].as_array().unwrap() {
        let Some(numbers) = case["x"].as_array() else { continue };
        let numbers = numbers.iter().map(|x| x.as_f64().unwrap() as f32).collect();
        let expected = case["torch_lower_median"].as_f64().unwrap();
        let found = f64::from(StateSummary::Median.of(numbers));
        let difference = (found - expected).abs();
        assert!(difference <= F32_EPSILON * expected.abs(), "{}: {found}", case["name"]);
        n_cases += 1;
    }
    assert!(n_cases > 1, "{n_cases} cases");
}

proptest! {
    #[test]
    fn the_file_gives_the_same_numbers_back(
        states in prop::collection::btree_map(".*", prop::collection::vec(-1e30f32..1e30, 3), 0..5),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("states.json");
        let states = StateEmbeddings::new(states).unwrap();
        states.write_json(&path).unwrap();
        prop_assert_eq!(StateEmbeddings::read_json(&path).unwrap(), states);
    }

    #[test]
    fn as_many_are_above_the_median_as_below_or_one_more(
        numbers in prop::collection::vec(-9.0f32..9.0, 1..20),
    ) {
        let mut sorted = numbers.clone();
        sorted.sort_by(f32::total_cmp);
        let found = StateSummary::Median.of(numbers);
        prop_assert_eq!(found, sorted[(sorted.len() - 1) / 2]);
    }
}
