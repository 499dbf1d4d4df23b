//! Laws of the number format.

use gf_quant::int8::{MAX_CODE, dequantize_rows, half_precision, quantize_rows, quantize_weights};
use half::f16;
use proptest::prelude::*;

/// Three roundings of f32 arithmetic, as a share of absmax.
const ROUNDING: f32 = 4.0 * f32::EPSILON;

proptest! {
    #[test]
    fn a_weight_moves_by_at_most_half_a_step(
        weights in prop::collection::vec(-50.0f32..50.0, 1..200),
        n_columns in 1usize..20,
    ) {
        let rows = quantize_rows(&weights, n_columns);
        let back = dequantize_rows(&rows, n_columns);
        for (i, (w, found)) in weights.iter().zip(&back).enumerate() {
            let absmax = rows.absmax[i / n_columns];
            let bound = absmax * (0.5 / MAX_CODE + ROUNDING);
            prop_assert!((w - found).abs() <= bound, "{i}: {w} became {found}, bound {bound}");
        }
    }

    #[test]
    fn the_largest_weight_of_a_row_is_kept(weights in prop::collection::vec(0.001f32..50.0, 1..40)) {
        let rows = quantize_rows(&weights, weights.len());
        prop_assert_eq!(*rows.codes.iter().max().unwrap(), 127);
    }

    /// At ties the two may go to either side.
    #[test]
    fn half_precision_is_the_nearest_f16(x in -65_000.0f32..65_000.0, scale in 0i32..28) {
        let x = x / 2.0f32.powi(scale);
        prop_assume!(x.abs() >= f16::MIN_POSITIVE.to_f32());
        let (found, expected) = (half_precision(x), f16::from_f32(x).to_f32());
        prop_assert_eq!(found, f16::from_f32(found).to_f32(), "{} is no f16", found);
        prop_assert_eq!((found - x).abs(), (expected - x).abs(), "{} became {}", x, found);
    }

    #[test]
    fn quantising_twice_changes_nothing(weights in prop::collection::vec(-5.0f32..5.0, 1..60)) {
        let once = quantize_rows(&weights, 7);
        let twice = quantize_rows(&dequantize_rows(&once, 7), 7);
        prop_assert_eq!(once.codes, twice.codes);
    }
}

#[test]
fn edge_rows() {
    fn t(row: &[f32], codes: &[i8]) {
        assert_eq!(quantize_rows(row, row.len()).codes, codes, "{row:?}");
    }
    t(&[0.0, -0.0], &[0, 0]);
    t(&[1e-45, 0.0], &[127, 0]);
    t(&[f32::MAX, -f32::MAX], &[127, -127]);
    t(&[2.0, 0.5 * 2.0 / 127.0, 1.5 * 2.0 / 127.0], &[127, 0, 2]);
    t(&[], &[]);
}

#[test]
fn weights_beyond_f16_stay_finite() {
    let rows = quantize_weights(&[1e30, -65_504.0], 2);
    assert_eq!((rows.absmax, rows.codes), (vec![65_504.0], vec![127, -127]));
}
