//! Laws of 4-bit NormalFloat.

use gf_quant::{
    double::{DYNAMIC_MAP, DoubleQuantized},
    nf4::{Absmax, BLOCK_SIZE, LEVELS, MAX_ERROR, Nf4},
};
use proptest::prelude::*;

/// Three roundings of f32 arithmetic, as a share of absmax.
const ROUNDING: f32 = 4.0 * f32::EPSILON;

/// Values over many orders of magnitude, some zero.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = (-1.0f32..1.0, -30i32..30).prop_map(|(x, e)| x * (e as f32).exp2());
    prop::collection::vec(prop_oneof![8 => value, 1 => Just(0.0)], 0..400)
}

proptest! {
    #[test]
    fn a_value_moves_by_at_most_half_the_widest_gap(values in values()) {
        let nf4 = Nf4::quantize(&values);
        let absmax = nf4.absmax.dequantize();
        for (i, (x, found)) in values.iter().zip(nf4.dequantize()).enumerate() {
            let bound = absmax[i / BLOCK_SIZE] * (MAX_ERROR + ROUNDING);
            prop_assert!((x - found).abs() <= bound, "{i}: {x} became {found}, bound {bound}");
        }
    }

    /// No level is nearer than the one chosen: the slow search.
    #[test]
    fn the_nearest_level_is_chosen(values in values()) {
        let nf4 = Nf4::quantize(&values);
        let absmax = nf4.absmax.dequantize();
        for (i, (x, code)) in values.iter().zip(nf4.codes()).enumerate() {
            let scale = f64::from(absmax[i / BLOCK_SIZE]);
            let distance = |level: &f32| (f64::from(*x) - f64::from(*level) * scale).abs();
            let best = LEVELS.iter().map(distance).fold(f64::INFINITY, f64::min);
            let chosen = distance(&LEVELS[usize::from(code)]);
            prop_assert!(chosen <= best + f64::from(ROUNDING) * scale, "{i}: {x}, code {code}");
        }
    }

    #[test]
    fn quantising_twice_changes_nothing(values in values()) {
        let once = Nf4::quantize(&values);
        let twice = Nf4::quantize(&once.dequantize());
        // Where a block is negative at its absmax only, −1 and 1 keep the scale.
        prop_assert_eq!(once.dequantize(), twice.dequantize());
    }

    #[test]
    fn scales_move_by_at_most_half_a_step(scales in prop::collection::vec(0.0f32..3.0, 1..700)) {
        let widest = DYNAMIC_MAP.windows(2).map(|p| p[1] - p[0]).fold(0.0, f32::max);
        let quantized = DoubleQuantized::quantize(&scales);
        for (i, (scale, found)) in scales.iter().zip(quantized.dequantize()).enumerate() {
            let nested = quantized.nested_absmax[i / 256];
            // −1 is not in the map: its nearest is −0.993.
            let bound = nested * (widest / 2.0).max(1.0 + DYNAMIC_MAP[0]) + ROUNDING * 3.0;
            prop_assert!((scale - found).abs() <= bound, "{i}: {scale} became {found}");
        }
    }
}

#[test]
fn edge_blocks() {
    fn t(values: &[f32], expected: &[f32]) {
        assert_eq!(Nf4::quantize(values).dequantize(), expected, "{values:?}");
    }
    t(&[], &[]);
    t(&[0.0, -0.0], &[0.0, 0.0]);
    t(&[1e-45, 0.0, -1e-45], &[1e-45, 0.0, -1e-45]);
    t(&[f32::MAX, -f32::MAX], &[f32::MAX, -f32::MAX]);
}

#[test]
fn bits_per_weight() {
    let n = 64 * 256;
    let bits = |nf4: &Nf4| 8.0 * nf4.num_bytes() as f64 / n as f64;
    let values = vec![0.5; n];
    assert_eq!(bits(&Nf4::quantize(&values)), 4.0 + 32.0 / 64.0);
    // The offset is one f32 a tensor; QLoRA's 4.127 does not count it.
    let offset = 32.0 / n as f64;
    assert_eq!(bits(&Nf4::quantize_double(&values)) - offset, 4.0 + 8.0 / 64.0 + 32.0 / n as f64);
    assert!(matches!(Nf4::quantize_double(&values).absmax, Absmax::Double(_)));
}
