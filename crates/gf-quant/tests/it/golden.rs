//! Codes of bitsandbytes 0.50.2 (shared/golden/quant/int8, INDEX.md A2, seed 101).

use gf_quant::int8::quantize_rows;
use safetensors::SafeTensors;

/// INDEX.md: codes may differ by one step in at most 0.2 % (rounding at .5).
const DIFFERING_SHARE: f64 = 0.002;

const CASES: [&str; 6] = [
    "plain_16x64_32x64",
    "thr6_no_outlier_16x64_32x64",
    "thr6_outliers_16x64_32x64",
    "thr6_single_row_1x64_24x64",
    "thr6_wide_33x256_128x256",
    "thr6_zero_rows_7x96_40x96",
];

#[test]
fn weight_codes() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&shared).join("golden/quant/int8/int8_cases.safetensors");
    if !path.is_file() {
        eprintln!("SKIPPED: {} is absent", path.display());
        return;
    }
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in CASES {
        let weights = file.tensor(&format!("{case}.W")).unwrap();
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(weights.data());
        let rows = quantize_rows(&values, weights.shape()[1]);

        let absmax = file.tensor(&format!("{case}.W_row_absmax")).unwrap();
        let absmax: Vec<f32> = bytemuck::pod_collect_to_vec(absmax.data());
        assert_eq!(rows.absmax, absmax, "{case}: absmax");

        let codes = file.tensor(&format!("{case}.W_codes")).unwrap();
        let codes: &[i8] = bytemuck::cast_slice(codes.data());
        let steps: Vec<i16> = codes
            .iter()
            .zip(&rows.codes)
            .map(|(a, b)| (i16::from(*a) - i16::from(*b)).abs())
            .collect();
        assert!(steps.iter().all(|&step| step <= 1), "{case}: a code differs by more than one");
        let differing = steps.iter().filter(|&&step| step > 0).count();
        let allowed = (DIFFERING_SHARE * codes.len() as f64) as usize;
        assert!(differing <= allowed, "{case}: {differing} of {} codes differ", codes.len());
    }
}
