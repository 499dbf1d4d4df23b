//! Losses, gradients and updated weights against PyTorch (shared/golden/INDEX.md A4:
//! torch 2.15.0, transformers 5.23.0, AdamW, dropout 0, eager attention).

use std::{collections::BTreeMap, fs, path::Path};

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use gf_model::{
    EncoderConfig, MaskedLm, Preset,
    checkpoint::{CONFIG_FILE, WEIGHTS_FILE, load_masked_lm, save_masked_lm},
};
use gf_train::{
    Decay, MaskedBatch, MaskedRow, Optimizer, Schedule, StepPlan, loss_and_gradients, train_step,
};
use safetensors::SafeTensors;

use crate::{TestBackend, golden_folder};

/// Bounds of the index, 5 to 20 times the difference of an f32 from an f64 run.
const LOSS: f64 = 5e-6;
const GRADIENT: f64 = 3e-6;
/// Relative.
const GRAD_NORM: f64 = 5e-5;
const PARAMETER: f64 = 1e-5;
/// The true gradient of a key bias is zero (softmax does not see it), so that Adam
/// turns rounding noise into full steps: two runs may part by twice the sum of the
/// learning rates.
const KEY_BIAS: f64 = 2e-3;
const N_STEPS: u64 = 10;

type Values = BTreeMap<String, Vec<f32>>;

#[test]
fn micro_model_clipped() {
    check("micro_rotating_batches", "clip1", 3, Decay::Cosine);
}

#[test]
fn micro_model_not_clipped() {
    check("micro_rotating_batches", "noclip", 3, Decay::Cosine);
}

#[test]
fn micro_model_linear_schedule() {
    check("micro_linear_schedule", "clip1", 3, Decay::Linear);
}

#[test]
fn tiny_v2_clipped() {
    check("main_model", "clip1", 1, Decay::Cosine);
}

#[test]
fn tiny_v2_not_clipped() {
    check("main_model", "noclip", 1, Decay::Cosine);
}

fn check(case: &str, clipping: &str, n_batches: usize, decay: Decay) {
    let Some(golden) = golden_folder() else { return };
    let folder = golden.join("train").join(case);
    let bytes = fs::read(folder.join("batch_and_grads.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let batches: Vec<_> = (0..n_batches).map(|i| masked_rows(&file, i)).collect();
    let mut model = match case {
        "main_model" => tiny_v2(&golden),
        _ => micro(&file),
    };
    let rows = file.tensor("rows").ok().map(|view| integers(view.data()));
    check_gradients(&file, &model, &batch(&batches[0]), rows.as_deref());

    let max_grad_norm = if clipping == "clip1" { 1.0 } else { f64::INFINITY };
    let mut optimizer = Optimizer::new(0.044, max_grad_norm);
    let schedule = Schedule { peak: 2e-4, decay, warmup_steps: 3, total_steps: N_STEPS };
    for (step, expected) in expected_steps(&folder.join(format!("steps_{clipping}.csv"))) {
        let batch = batch(&batches[step as usize % n_batches]);
        let learning_rate = schedule.at(step);
        let plan = StepPlan { learning_rate, n_predicted: batch.n_predicted(), workers: 1 };
        let report = train_step(&mut model, &mut optimizer, &[batch], plan);
        within(&format!("{case} {clipping} loss {step}"), report.loss, expected.loss, LOSS);
        let bound = GRAD_NORM * expected.grad_norm;
        let name = format!("{case} {clipping} norm {step}");
        within(&name, report.grad_norm, expected.grad_norm, bound);
    }
    let bytes = fs::read(folder.join(format!("final_params_{clipping}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    compare("", &file, &parameters(&model), rows.as_deref(), |name| {
        if name.ends_with("key.bias") { KEY_BIAS } else { PARAMETER }
    });
}

/// Gradients depend neither on how a batch is cut into forward passes nor on who
/// computes them.
#[test]
fn micro_batches_add_up() {
    let Some(golden) = golden_folder() else { return };
    let bytes =
        fs::read(golden.join("train/micro_rotating_batches/batch_and_grads.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let rows = masked_rows(&file, 0);
    let n_predicted = batch(&rows).n_predicted();
    let measure = |micro_batch_size: usize, workers: usize| {
        let mut model = micro(&file);
        let batches: Vec<_> = rows.chunks(micro_batch_size).map(batch).collect();
        let mut optimizer = Optimizer::new(0.0, 1.0);
        let plan = StepPlan { learning_rate: 1e-3, n_predicted, workers };
        let report = train_step(&mut model, &mut optimizer, &batches, plan);
        (report.loss, report.grad_norm)
    };
    let (loss, norm) = measure(rows.len(), 1);
    for (micro_batch_size, workers) in [(1, 1), (1, 2), (1, 9), (2, 1), (2, 3), (3, 2), (4, 1)] {
        let (found_loss, found_norm) = measure(micro_batch_size, workers);
        let case = format!("micro-batches of {micro_batch_size}, {workers} workers");
        within(&format!("{case}: loss"), found_loss, loss, LOSS);
        within(&format!("{case}: norm"), found_norm, norm, GRAD_NORM * norm);
    }
}

struct ExpectedStep {
    loss: f64,
    grad_norm: f64,
}

fn expected_steps(path: &Path) -> Vec<(u64, ExpectedStep)> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let steps: Vec<(u64, ExpectedStep)> = reader
        .deserialize::<(u64, f64, f64, f64, f64, f64)>()
        .map(Result::unwrap)
        .map(|(step, _, loss, _, grad_norm, _)| (step, ExpectedStep { loss, grad_norm }))
        .collect();
    assert_eq!(steps.len() as u64, N_STEPS);
    steps
}

fn batch(rows: &[MaskedRow]) -> MaskedBatch<TestBackend> {
    MaskedBatch::new(rows, 0, &Default::default())
}

/// Rows of `batch{i}`: cut to the attention mask, labels where they are not −100.
fn masked_rows(file: &SafeTensors<'_>, i: usize) -> Vec<MaskedRow> {
    let field = |name: &str| file.tensor(&format!("batch{i}.{name}")).unwrap();
    let seq_length = field("input_ids").shape()[1];
    let [ids, attended, labels] =
        ["input_ids", "attention_mask", "labels"].map(|name| integers(field(name).data()));
    let rows =
        ids.chunks(seq_length).zip(attended.chunks(seq_length)).zip(labels.chunks(seq_length));
    rows.map(|((ids, attended), labels)| {
        let length = attended.iter().sum::<i64>() as usize;
        let positions: Vec<usize> = (0..length).filter(|&p| labels[p] != -100).collect();
        MaskedRow {
            input_ids: ids[..length].iter().map(|&id| id as i32).collect(),
            labels: positions.iter().map(|&p| labels[p] as i32).collect(),
            positions,
        }
    })
    .collect()
}

fn integers(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks_exact(8).map(|x| i64::from_le_bytes(x.try_into().unwrap())).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}

fn tiny_v2(golden: &Path) -> MaskedLm<TestBackend> {
    let source = golden.join("ref/model/tiny_v2");
    let config = EncoderConfig {
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..EncoderConfig::read(&source.join(CONFIG_FILE)).unwrap()
    };
    load(&config, &fs::read(source.join(WEIGHTS_FILE)).unwrap())
}

/// The model whose weights lie beside the batches as `init.*`.
fn micro(file: &SafeTensors<'_>) -> MaskedLm<TestBackend> {
    let config = EncoderConfig {
        vocab_size: 120,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 40,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..EncoderConfig::preset(Preset::V2_104M)
    };
    let initial = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((name.strip_prefix("init.")?.to_owned(), view)));
    load(&config, &safetensors::serialize(initial, None).unwrap())
}

fn load(config: &EncoderConfig, weights: &[u8]) -> MaskedLm<TestBackend> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CONFIG_FILE), config.to_json().to_string()).unwrap();
    fs::write(folder.path().join(WEIGHTS_FILE), weights).unwrap();
    load_masked_lm(folder.path(), &Default::default()).unwrap().1
}

/// Parameters under the names of the file, through the writer of checkpoints.
fn parameters(model: &MaskedLm<TestBackend>) -> Values {
    let folder = tempfile::tempdir().unwrap();
    let config = EncoderConfig::preset(Preset::V2_104M);
    save_masked_lm(folder.path(), &config, model).unwrap();
    let bytes = fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect()
}

fn check_gradients(
    file: &SafeTensors<'_>,
    model: &MaskedLm<TestBackend>,
    batch: &MaskedBatch<TestBackend>,
    rows: Option<&[i64]>,
) {
    let (loss, gradients) = loss_and_gradients(model, batch, batch.n_predicted());
    let expected = f64::from(floats(file.tensor("loss").unwrap().data())[0]);
    within("loss", loss, expected, LOSS);
    let as_model = model.clone().map(&mut Substitute(gradients));
    compare("grad.", file, &parameters(&as_model), rows, |_| GRADIENT);
}

/// Puts each gradient in its parameter's place, where it gets the parameter's name.
struct Substitute(GradientsParams);

impl ModuleMapper<TestBackend> for Substitute {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<TestBackend, D>>,
    ) -> Param<Tensor<TestBackend, D>> {
        let gradient = self.0.remove::<crate::Inner, D>(param.id).unwrap();
        param.map(|_| Tensor::from_inner(gradient))
    }
}

/// Every tensor of the file that starts with `prefix`; of the large ones the file
/// holds the rows listed in `rows`, or the first ones.
fn compare(
    prefix: &str,
    file: &SafeTensors<'_>,
    found: &Values,
    rows: Option<&[i64]>,
    bound: impl Fn(&str) -> f64,
) {
    let mut n_compared = 0;
    for (name, view) in file.tensors() {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        let (name, chosen) = match name.strip_suffix(".rows") {
            Some(name) => (name, rows),
            None => (name.strip_suffix(".first31").unwrap_or(name), None),
        };
        let width: usize = view.shape()[1..].iter().product();
        let values = &found[name];
        for (i, expected) in floats(view.data()).into_iter().enumerate() {
            let row = chosen.map_or(i / width, |rows| rows[i / width] as usize);
            let value = values[row * width + i % width];
            let label = format!("{name} row {row} column {}", i % width);
            within(&label, f64::from(value), f64::from(expected), bound(name));
        }
        n_compared += 1;
    }
    assert_eq!(n_compared, found.len(), "tensors compared");
}

fn within(what: &str, found: f64, expected: f64, bound: f64) {
    let difference = (found - expected).abs();
    assert!(difference <= bound, "{what}: {found}, expected {expected}, difference {difference:e}");
}
