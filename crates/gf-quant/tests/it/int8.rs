//! Laws of the number format.

use gf_quant::int8::{MAX_CODE, dequantize_rows, quantize_rows};
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
