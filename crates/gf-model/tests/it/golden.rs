//! Forward passes of the Python original (shared/golden/ref/model, INDEX.md A8:
//! transformers 4.46.3, torch 2.5.1, seed 0).

use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use gf_model::{EncoderConfig, EncoderInput, checkpoint::load_masked_lm};
use safetensors::SafeTensors;

/// INDEX.md: ten times the difference between f32 and f64 runs of the original.
const HIDDEN_TOLERANCE: f32 = 5e-5;
/// INDEX.md, likewise for logits.
const LOGITS_TOLERANCE: f32 = 2e-4;

/// INDEX.md: the layouts hold the same f32 numbers; 1e-5 covers the order of sums.
const LAYOUT_TOLERANCE: f32 = 1e-5;

#[test]
fn tiny_v2_forward() {
    let Some(golden) = crate::golden_folder() else { return };
    let device = FlexDevice;
    let folder = golden.join("ref/model");
    let (config, model) = load_masked_lm::<Flex>(&folder.join("tiny_v2"), &device).unwrap();
    let bytes = std::fs::read(folder.join("tiny_v2_forward.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();

    let (input, lengths) = input(&file, &config);

    for k in 0..=3 {
        let found = model.encoder.hidden_state(&input, k);
        let expected = floats::<3>(&file, &format!("hidden_{k}"), &device);
        check_real(&format!("hidden_{k}"), found, expected, &lengths, HIDDEN_TOLERANCE);
    }

    let last = model.encoder.hidden_state(&input, 3);
    let first_two = last.clone().slice([0..3, 0..2]).reshape([6, config.hidden_size]);
    let logits = model.logits_at(first_two).slice([0..6, 0..4096]);
    let expected = floats::<3>(&file, "logits_first2_vocab4096", &device).reshape([6, 4096]);
    check("logits", logits, expected, LOGITS_TOLERANCE);

    let first_16 = last.slice([0..3, 0..16]).reshape([48, config.hidden_size]);
    let found: Tensor<Flex, 1, Int> = model.logits_at(first_16).argmax(1).squeeze_dim(1);
    let found: Vec<i64> = found.into_data().iter::<i64>().collect();
    assert_eq!(found, integers(&file, "logits_first16_argmax").0);
}

/// The layouts of safetensors checkpoints that hold one micro model
/// (shared/golden/configs/layouts, INDEX.md A5, seed 808).
#[test]
fn checkpoint_layouts() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("configs/layouts");
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let t = |layout: &str, expected: &str| {
        let (config, model) = load_masked_lm::<Flex>(&folder.join(layout), &FlexDevice).unwrap();
        let (input, lengths) = input(&file, &config);
        let found = model.encoder.hidden_state(&input, 2);
        let expected = floats::<3>(&file, expected, &FlexDevice);
        check_real(layout, found, expected, &lengths, LAYOUT_TOLERANCE);
    };
    t("masked_lm", "hidden_2");
    t("v1_position_ids", "hidden_2");
    t("safetensors_with_decoder", "hidden_2");
    t("f16", "f16_weights_f32_compute.hidden_2");
    t("bf16", "bf16_weights_f32_compute.hidden_2");
}

/// The rows of `input_ids` that `attention_mask` marks as real, and their lengths.
fn input(file: &SafeTensors<'_>, config: &EncoderConfig) -> (EncoderInput<Flex>, Vec<usize>) {
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
    (EncoderInput::from_rows(&rows, config.pad_token_id, &FlexDevice), lengths)
}

/// Compares the real tokens of each row; padding is undefined.
fn check_real(
    what: &str,
    found: Tensor<Flex, 3>,
    expected: Tensor<Flex, 3>,
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
    (bytemuck::pod_collect_to_vec(view.data()), view.shape().to_vec())
}

fn floats<const D: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    device: &FlexDevice,
) -> Tensor<Flex, D> {
    let view = file.tensor(name).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
    Tensor::from_data(TensorData::new(values, view.shape().to_vec()), device)
}

fn check<const D: usize>(
    what: &str,
    found: Tensor<Flex, D>,
    expected: Tensor<Flex, D>,
    tolerance: f32,
) {
    let difference = (found - expected).abs().max().into_scalar();
    assert!(difference <= tolerance, "{what}: differs by {difference}, at most {tolerance}");
}
