//! The forward pass of the Python original (shared/golden/ref/model, INDEX.md A8:
//! transformers 4.46.3, torch 2.5.1, seed 0) on any backend; included by the binary's wgpu
//! test as well.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use gf_model::{EncoderConfig, EncoderInput, checkpoint::load_masked_lm};
use safetensors::SafeTensors;

/// How far numbers may lie from those of the original.
pub struct Tolerance {
    pub hidden: f32,
    pub logits: f32,
}

/// `tiny_v2` on a padded batch: hidden states, logits and the tokens they are largest for.
pub fn tiny_v2<B: Backend>(golden: &Path, device: &B::Device, tolerance: &Tolerance) {
    let folder = golden.join("ref/model");
    let (config, model) = load_masked_lm::<B>(&folder.join("tiny_v2"), device).unwrap();
    let bytes = std::fs::read(folder.join("tiny_v2_forward.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (input, lengths) = input::<B>(&file, &config, device);

    for k in 0..=3 {
        let found = model.encoder.hidden_state(&input, k);
        let expected = floats(&file, &format!("hidden_{k}"), device);
        check_real(&format!("hidden_{k}"), found, expected, &lengths, tolerance.hidden);
    }

    let last = model.encoder.hidden_state(&input, 3);
    let first_two = last.clone().slice([0..3, 0..2]).reshape([6, config.hidden_size]);
    let logits = model.logits_at(first_two).slice([0..6, 0..4096]);
    let expected = floats::<B, 3>(&file, "logits_first2_vocab4096", device).reshape([6, 4096]);
    check("logits", logits, expected, tolerance.logits);

    let first_16 = last.slice([0..3, 0..16]).reshape([48, config.hidden_size]);
    let found: Tensor<B, 1, Int> = model.logits_at(first_16).argmax(1).squeeze_dim(1);
    let found: Vec<i64> = found.into_data().iter::<i64>().collect();
    assert_eq!(found, integers(&file, "logits_first16_argmax").0);
}

/// The rows of `input_ids` that `attention_mask` marks as real, and their lengths.
pub fn input<B: Backend>(
    file: &SafeTensors<'_>,
    config: &EncoderConfig,
    device: &B::Device,
) -> (EncoderInput<B>, Vec<usize>) {
    let (ids, shape) = integers(file, "input_ids");
    let (mask, _) = integers(file, "attention_mask");
    let lengths: Vec<usize> =
        mask.chunks(shape[1]).map(|row| row.iter().sum::<i64>() as usize).collect();
    let rows: Vec<Vec<i32>> = ids
        .chunks(shape[1])
        .zip(&lengths)
        .map(|(row, &length)| row[..length].iter().map(|&id| id as i32).collect())
        .collect();
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    for row in &rows {
        config.check_row(row).unwrap();
    }
    (EncoderInput::from_rows(&rows, config.pad_token_id, device), lengths)
}

/// Compares the real tokens of each row; padding is undefined.
pub fn check_real<B: Backend>(
    what: &str,
    found: Tensor<B, 3>,
    expected: Tensor<B, 3>,
    lengths: &[usize],
    tolerance: f32,
) {
    for (row, &length) in lengths.iter().enumerate() {
        let real = [row..row + 1, 0..length];
        let (found, expected) = (found.clone().slice(real.clone()), expected.clone().slice(real));
        check(&format!("{what} of row {row}"), found, expected, tolerance);
    }
}

fn integers(file: &SafeTensors<'_>, name: &str) -> (Vec<i64>, Vec<usize>) {
    let view = file.tensor(name).unwrap();
    let numbers = view.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
    (numbers.collect(), view.shape().to_vec())
}

pub fn floats<B: Backend, const D: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    device: &B::Device,
) -> Tensor<B, D> {
    let view = file.tensor(name).unwrap();
    let numbers = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    Tensor::from_data(TensorData::new(numbers.collect(), view.shape().to_vec()), device)
}

pub fn check<B: Backend, const D: usize>(
    what: &str,
    found: Tensor<B, D>,
    expected: Tensor<B, D>,
    tolerance: f32,
) {
    let difference: f32 = (found - expected).abs().max().into_data().iter().next().unwrap();
    assert!(difference <= tolerance, "{what}: differs by {difference}, at most {tolerance}");
}
