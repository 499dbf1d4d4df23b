//! What every backend must compute; included by other crates for theirs.

use burn::tensor::{Tensor, backend::Backend};
use gf_corpus::{CountMatrix, cp10k_tensor};

/// f32 keeps 24 bits: half a unit in the last place of a value, relative.
const F32_ROUNDING: f64 = 6e-8;

/// Runs the suite on one device.
pub fn suite<B: Backend>(device: &B::Device) {
    dense_block_is_cp10k::<B>(device);
    empty_block_has_its_shape::<B>(device);
    totals_must_match::<B>(device);
}

fn dense_block_is_cp10k<B: Backend>(device: &B::Device) {
    let mut counts = CountMatrix::new(4);
    counts.push_row(vec![(1, 3), (3, 7)]).unwrap();
    counts.push_row(Vec::new()).unwrap();
    counts.push_row(vec![(0, 1_000_000)]).unwrap();
    let tensor: Tensor<B, 2> = cp10k_tensor(&counts, &[30, 5, 1_234_567], device).unwrap();
    let [n_cells, n_genes] = tensor.dims();
    assert_eq!([n_cells, n_genes], [3, 4]);
    let found: Vec<f32> = tensor.into_data().convert::<f32>().to_vec().unwrap();
    let last = 1e6 / 1_234_567.0 * 1e4;
    let expected = [0.0, 1000.0, 0.0, 7.0 / 30.0 * 1e4, 0.0, 0.0, 0.0, 0.0, last, 0.0, 0.0, 0.0];
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(
            difference <= F32_ROUNDING * expected,
            "at {at}: found {found}, expected {expected}"
        );
    }
}

fn empty_block_has_its_shape<B: Backend>(device: &B::Device) {
    let mut counts = CountMatrix::new(3);
    counts.push_row(Vec::new()).unwrap();
    let tensor: Tensor<B, 2> = cp10k_tensor(&counts, &[0], device).unwrap();
    assert_eq!(tensor.dims(), [1, 3]);
    let found: Vec<f32> = tensor.into_data().convert::<f32>().to_vec().unwrap();
    assert_eq!(found, [0.0; 3]);
}

fn totals_must_match<B: Backend>(device: &B::Device) {
    let counts = CountMatrix::new(3);
    let error = cp10k_tensor::<B>(&counts, &[1], device).unwrap_err().to_string();
    assert!(error.contains("found 1, expected 0"), "{error}");
}
