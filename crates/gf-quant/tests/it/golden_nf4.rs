//! Numbers of bitsandbytes 0.50.2 (shared/golden/quant/nf4, INDEX.md A1, seed 101).

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use gf_model::Projection;
use gf_quant::{
    Nf4Linear,
    double::{DYNAMIC_MAP, DoubleQuantized},
    nf4::{Absmax, LEVELS, Nf4},
};

use crate::fixture::{Golden, assert_close};

const TENSORS: &str = "quant/nf4/nf4_tensors.safetensors";
const NAMES: [&str; 10] = [
    "normal",
    "heavy_tailed",
    "zero_and_special_blocks",
    "len_130",
    "len_1000",
    "len_63",
    "len_1",
    "ffn_slice",
    "tall_slice",
    "levels_and_midpoints",
];
/// INDEX.md: the mean of the scales, in another order of summation.
const OFFSET_RELATIVE: f32 = 1e-6;
/// INDEX.md: dequantisation from given codes.
const DEQUANTISED_RELATIVE: f32 = 1e-6;
/// INDEX.md: codes of scales may differ by one step (rounding at a midpoint) in so many.
const DIFFERING_SHARE: f64 = 0.005;
/// INDEX.md: summation order.
const PRODUCT: f32 = 1e-5;
/// The largest step of the dynamic map.
const MAP_STEP: f32 = 0.0141;

#[test]
fn code_books() {
    let Some(file) = Golden::open(TENSORS) else { return };
    assert_eq!(file.values::<f32>("nf4_levels"), LEVELS);
    assert_eq!(file.values::<f32>("dynamic_map_256"), *DYNAMIC_MAP);
}

#[test]
fn codes_and_scales_are_bit_equal() {
    let Some(file) = Golden::open(TENSORS) else { return };
    for name in NAMES {
        let x: Vec<f32> = file.values(&format!("{name}.x"));
        let found = Nf4::quantize(&x);
        let codes: Vec<u8> = found.codes().collect();
        assert_eq!(codes, file.values::<u8>(&format!("{name}.codes")), "{name}: codes");
        let packed: Vec<u8> = file.values(&format!("{name}.packed"));
        // An odd tail's second half means nothing.
        let whole = x.len() / 2;
        assert_eq!(found.packed.len(), packed.len(), "{name}");
        assert_eq!(found.packed[..whole], packed[..whole], "{name}: packed");
        let absmax: Vec<f32> = file.values(&format!("{name}.absmax"));
        assert_eq!(found.absmax, Absmax::Single(absmax), "{name}: absmax");
        let expected: Vec<f32> = file.values(&format!("{name}.deq_single"));
        for (found, expected) in found.dequantize().iter().zip(&expected) {
            let ulps = (found.to_bits() as i64 - expected.to_bits() as i64).abs();
            assert!(ulps <= 1, "{name}: {found}, expected {expected} within 1 ulp");
        }
    }
}

#[test]
fn nested_state() {
    let Some(file) = Golden::open(TENSORS) else { return };
    let (mut differing, mut n_codes) = (0, 0);
    for name in NAMES {
        let absmax: Vec<f32> = file.values(&format!("{name}.absmax"));
        let found = DoubleQuantized::quantize(&absmax);
        let offset = file.values::<f32>(&format!("{name}.absmax_offset"))[0];
        assert_close(name, &[found.offset], &[offset], OFFSET_RELATIVE * offset.abs());
        let given: Vec<f32> = file.values(&format!("{name}.nested_absmax"));
        assert_close(name, &found.nested_absmax, &given, OFFSET_RELATIVE * offset.abs());
        if given != [0.0] {
            let codes: Vec<u8> = file.values(&format!("{name}.absmax_codes"));
            let steps = codes.iter().zip(&found.codes).map(|(a, b)| a.abs_diff(*b));
            assert!(steps.clone().all(|step| step <= 1), "{name}: a code is off by two");
            differing += steps.filter(|&step| step > 0).count();
            n_codes += codes.len();
        }
    }
    let allowed = (DIFFERING_SHARE * n_codes as f64) as usize;
    assert!(differing <= allowed, "{differing} of {n_codes} codes differ");
}

/// From the given codes, and from values to values through our own.
#[test]
fn doubly_dequantised() {
    let Some(file) = Golden::open(TENSORS) else { return };
    for name in NAMES {
        let x: Vec<f32> = file.values(&format!("{name}.x"));
        let given = DoubleQuantized {
            codes: file.values(&format!("{name}.absmax_codes")),
            nested_absmax: file.values(&format!("{name}.nested_absmax")),
            offset: file.values(&format!("{name}.absmax_offset"))[0],
        };
        let nested = given.nested_absmax.iter().copied().fold(0.0, f32::max);
        let expected: Vec<f32> = file.values(&format!("{name}.absmax_double"));
        let size = expected.iter().copied().fold(0.0, f32::max);
        assert_close(name, &given.dequantize(), &expected, DEQUANTISED_RELATIVE * size);
        let expected: Vec<f32> = file.values(&format!("{name}.deq_double"));
        let packed = file.values(&format!("{name}.packed"));
        let given = Nf4 { packed, absmax: Absmax::Double(given), n_values: x.len() };
        assert_close(name, &given.dequantize(), &expected, DEQUANTISED_RELATIVE * size);
        let ours = Nf4::quantize_double(&x).dequantize();
        assert_close(name, &ours, &expected, MAP_STEP * nested + DEQUANTISED_RELATIVE * size);
    }
}

#[test]
fn nested_quantiser_alone() {
    let Some(file) = Golden::open("quant/nf4/dynamic8_blockwise.safetensors") else { return };
    // Without an offset: values are scales whose mean was taken off already.
    let found = DoubleQuantized {
        codes: file.values("codes"),
        nested_absmax: file.values("absmax"),
        offset: 0.0,
    };
    let expected: Vec<f32> = file.values("deq");
    let size = found.nested_absmax.iter().copied().fold(0.0, f32::max);
    assert_close("deq", &found.dequantize(), &expected, DEQUANTISED_RELATIVE * size);
}

/// bitsandbytes' `Linear4bit`, from its own codes.
#[test]
fn layer() {
    let Some(file) = Golden::open("quant/nf4/linear4bit.safetensors") else { return };
    let double = DoubleQuantized {
        codes: file.values("absmax_codes"),
        nested_absmax: file.values("nested_absmax"),
        offset: file.values("absmax_offset")[0],
    };
    let packed = file.values("packed");
    let nf4 = Nf4 { packed, absmax: Absmax::Double(double), n_values: 96 * 128 };
    let dequantised: Vec<f32> = file.values("W_deq");
    let size = dequantised.iter().copied().fold(0.0, f32::max);
    assert_close("W_deq", &nf4.dequantize(), &dequantised, DEQUANTISED_RELATIVE * size);
    let layer = Nf4Linear::<Flex>::new(&nf4, [96, 128], Some(file.values("bias")), &FlexDevice);
    let input = TensorData::new(file.values::<f32>("X"), [1, 5, 128]);
    let output = layer.forward(Tensor::from_data(input, &FlexDevice));
    let output: Vec<f32> = output.into_data().iter().collect();
    assert_close("y", &output, &file.values::<f32>("y_compute_f32"), PRODUCT);
}
