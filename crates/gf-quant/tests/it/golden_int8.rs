//! Numbers of bitsandbytes 0.50.2 and of the definition in f64
//! (shared/golden/quant/int8, INDEX.md A2, seed 101).

use gf_quant::int8::{
    Activations, Int8Rows, accumulate, float_part, integer_part, outlier_columns, quantize_inliers,
    quantize_rows, quantize_weights,
};

use crate::fixture::Golden;

/// INDEX.md: codes may differ by one step in at most 0.2 % (rounding at .5).
const DIFFERING_SHARE: f64 = 0.002;
/// INDEX.md: outputs from given codes, relative to the largest.
const OUTPUT_RELATIVE: f64 = 1e-5;

const CASES: [&str; 6] = [
    "plain_16x64_32x64",
    "thr6_no_outlier_16x64_32x64",
    "thr6_outliers_16x64_32x64",
    "thr6_single_row_1x64_24x64",
    "thr6_wide_33x256_128x256",
    "thr6_zero_rows_7x96_40x96",
];

fn mode(case: &str) -> Activations {
    if case.starts_with("plain") { Activations::Int8 } else { Activations::LLM_INT8 }
}

fn open() -> Option<Golden> {
    Golden::open("quant/int8/int8_cases.safetensors")
}

fn given(file: &Golden, case: &str, matrix: &str) -> Int8Rows {
    let codes = file.values(&format!("{case}.{matrix}_codes"));
    let absmax = file.values(&format!("{case}.{matrix}_row_absmax"));
    Int8Rows { codes, absmax }
}

fn assert_codes(what: &str, found: &Int8Rows, expected: &Int8Rows) {
    assert_eq!(found.absmax, expected.absmax, "{what}: absmax");
    let steps = found.codes.iter().zip(&expected.codes).map(|(a, b)| a.abs_diff(*b));
    assert!(steps.clone().all(|step| step <= 1), "{what}: a code differs by more than one");
    let differing = steps.filter(|&step| step > 0).count();
    let allowed = (DIFFERING_SHARE * expected.codes.len() as f64) as usize;
    assert!(differing <= allowed, "{what}: {differing} of {} codes differ", found.codes.len());
}

#[test]
fn weight_codes() {
    let Some(file) = open() else { return };
    for case in CASES {
        let weights: Vec<f32> = file.values(&format!("{case}.W"));
        let found = quantize_weights(&weights, file.shape(&format!("{case}.W"))[1]);
        assert_codes(case, &found, &given(&file, case, "W"));
    }
}

#[test]
fn activation_codes_and_outliers() {
    let Some(file) = open() else { return };
    for case in CASES {
        let activations: Vec<f32> = file.values(&format!("{case}.A"));
        let n_columns = file.shape(&format!("{case}.A"))[1];
        let expected = given(&file, case, "A");
        let Activations::Int8WithOutliers(threshold) = mode(case) else {
            assert_codes(case, &quantize_rows(&activations, n_columns), &expected);
            continue;
        };
        let (found, outliers) = quantize_inliers(&activations, n_columns, threshold);
        assert_codes(case, &found, &expected);
        let expected: Vec<i64> = file.values(&format!("{case}.outlier_cols"));
        let found: Vec<i64> = outliers.iter().map(|&j| j as i64).collect();
        assert_eq!(found, expected, "{case}: outlier columns");
        assert_eq!(outlier_columns(&activations, n_columns, threshold), outliers);
    }
}

#[test]
fn products() {
    let Some(file) = open() else { return };
    for case in CASES {
        let (a, w) = (given(&file, case, "A"), given(&file, case, "W"));
        let n_columns = file.shape(&format!("{case}.W"))[1];
        let expected: Vec<i32> = file.values(&format!("{case}.acc_i32"));
        assert_eq!(accumulate(&a, &w, n_columns), expected, "{case}: accumulated");

        let activations: Vec<f32> = file.values(&format!("{case}.A"));
        let outliers: Vec<i64> = file.values(&format!("{case}.outlier_cols"));
        let outliers: Vec<usize> = outliers.iter().map(|&j| j as usize).collect();
        let in_float = float_part(&activations, &outliers, &w, n_columns);
        let found = integer_part(&a, &w, n_columns);
        let found: Vec<f64> = found.iter().zip(in_float).map(|(i, f)| i + f).collect();
        let expected: Vec<f64> = file.values(&format!("{case}.out_f64"));
        let size = expected.iter().fold(0.0f64, |size, y| size.max(y.abs()));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = (found - expected).abs();
            assert!(difference <= OUTPUT_RELATIVE * size, "{case}[{i}]: {found}, not {expected}");
        }
    }
}
