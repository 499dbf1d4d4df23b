//! Adapters of PEFT 0.21.2 on tiny_v2 (shared/golden/lora, INDEX.md A3, seed 4242).

mod folders;
mod heads;
mod recompute;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::{
    backend::Autodiff,
    module::{Module, Param},
    nn::Linear,
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{DType, Int, Tensor, TensorData, activation::log_softmax, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{
    Encoder, EncoderConfig, EncoderInput, MaskedLm,
    checkpoint::{load_encoder, load_masked_lm},
};
use gf_quant::lora::{
    LoraAdapter, LoraConfig, LoraLinear, Target, attach, detach,
    peft::{self, PeftExtras},
    with_adapters,
};

use crate::fixture::{Golden, assert_close, golden};

type Ad = Autodiff<Flex>;

/// INDEX.md A3.
const HIDDEN: f32 = 2e-5;
const LOSS: f32 = 5e-6;
const GRADIENT: f32 = 2e-6;
const MERGED: f32 = 1e-6;
const AFTER_STEPS: f32 = 2e-6;
/// Near-zero gradients, which Adam scales up.
const AFTER_STEPS_KEY: f32 = 1e-4;
const AFTER_STEPS_SEQ: f32 = 5e-5;
/// `after5steps`: constant learning rate and decay of all parameters.
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f32 = 0.01;
/// W + δ − δ in f32, against weights below 1.
const UNMERGED: f32 = 1e-6;

const ENCODER_ONLY: [&str; 3] = ["query_value", "query_key_value", "all_linear_rslora"];
const SEQ_CLS: &str = "seq_cls_default_targets";
const TOKEN_CLS: &str = "token_cls_default_targets";

fn folder(case: &str) -> PathBuf {
    golden("lora").unwrap().join(case)
}

fn tiny() -> Option<PathBuf> {
    golden("lora").and(golden("ref/model/tiny_v2"))
}

fn expected(case: &str) -> Golden {
    Golden::open(&format!("lora/{case}/expected.safetensors")).unwrap()
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn ints(file: &Golden, name: &str) -> Vec<i32> {
    file.values::<i64>(name).iter().map(|&id| id as i32).collect()
}

fn input<B: Backend>(file: &Golden, name: &str, device: &B::Device) -> EncoderInput<B> {
    let shape = file.shape(name);
    let lengths = file.values::<i64>("attention_mask");
    let lengths = lengths.chunks(shape[1]).map(|row| row.iter().sum::<i64>() as usize).collect();
    let ids = TensorData::new(ints(file, name), shape);
    EncoderInput::new(Tensor::from_data(ids, (device, DType::I32)), lengths)
}

/// Hidden state `k` at real tokens.
fn real_states(file: &Golden, values: &[f32]) -> Vec<f32> {
    let mask: Vec<i64> = file.values("attention_mask");
    let width = values.len() / mask.len();
    let tokens = values.chunks(width).zip(&mask);
    tokens.filter(|(_, real)| **real == 1).flat_map(|(token, _)| token.to_vec()).collect()
}

fn assert_states(
    what: &str,
    encoder: &Encoder<Flex, LoraLinear<Flex, Linear<Flex>>>,
    file: &Golden,
    run: &str,
) {
    let input = input::<Flex>(file, "input_ids", &FlexDevice);
    for k in 0..=encoder.n_layers() {
        let found = real_states(file, &host(encoder.hidden_state(&input, k)));
        let expected = file.values::<f32>(&format!("{run}.hidden_{k}"));
        assert_close(what, &found, &real_states(file, &expected), HIDDEN);
    }
}

/// Several adapters on one base: each as PEFT computes it, and the base untouched.
#[test]
fn hidden_states_of_adapters_in_turn() {
    let Some(model) = tiny() else { return };
    let (config, encoder) = load_encoder::<Flex>(&model, &FlexDevice).unwrap();
    let mut encoder = with_adapters(encoder);
    let adapters: BTreeMap<&str, LoraAdapter<Flex>> =
        [ENCODER_ONLY.as_slice(), &[SEQ_CLS, TOKEN_CLS]]
            .concat()
            .into_iter()
            .map(|case| (case, peft::read(&folder(case), &FlexDevice).unwrap().0))
            .collect();
    for (case, adapter) in &adapters {
        let file = expected(case);
        adapter.check(&config).unwrap();
        attach(&mut encoder, adapter);
        assert_states(case, &encoder, &file, "after");
        let taken = detach(&mut encoder, adapter.config.clone());
        assert_eq!(taken.pairs.len(), adapter.pairs.len());
        assert_states(case, &encoder, &file, "before");
    }
}

#[test]
fn merged_and_unmerged_weights() {
    let Some(model) = tiny() else { return };
    for case in ENCODER_ONLY {
        let (_, encoder) = load_encoder::<Flex>(&model, &FlexDevice).unwrap();
        let file = expected(case);
        let (adapter, _) = peft::read::<Flex>(&folder(case), &FlexDevice).unwrap();
        let dense = encoder.clone();
        let mut encoder = with_adapters(encoder);
        attach(&mut encoder, &adapter);
        let pairs: Vec<_> =
            Target::ALL.map(|target| adapter.pairs.get(&(0, target)).cloned()).into();
        let merged = encoder.map_projections(LoraLinear::merge);
        let weight = |linear: &Linear<Flex>| host(linear.weight.val().transpose());
        for (k, layer) in merged.layers.iter().enumerate() {
            let query = weight(&layer.attention.query);
            let name = format!("merged.bert.encoder.layer.{k}.attention.self.query.weight");
            assert_close(case, &query, &file.values::<f32>(&name), MERGED);
        }
        let query = merged.layers[0].attention.query.clone();
        let unmerged = LoraLinear::unmerge(query, pairs[0].clone());
        assert_close(
            case,
            &weight(&unmerged.base),
            &weight(&dense.layers[0].attention.query),
            UNMERGED,
        );
    }
}

/// Mean cross entropy over labels that are not −100, of logits `[n, n_classes]`.
fn cross_entropy(logits: Tensor<Ad, 2>, labels: &[i32]) -> Tensor<Ad, 1> {
    let device = logits.device();
    let (rows, classes): (Vec<i32>, Vec<i32>) = (0..)
        .zip(labels)
        .filter(|(_, label)| **label != -100)
        .map(|(i, label)| (i, *label))
        .unzip();
    let n = rows.len();
    let rows = Tensor::<Ad, 1, Int>::from_data(TensorData::new(rows, [n]), &device);
    let classes = Tensor::<Ad, 2, Int>::from_data(TensorData::new(classes, [n, 1]), &device);
    -log_softmax(logits.select(0, rows), 1).gather(1, classes).mean()
}

fn masked_lm_loss(
    model: &MaskedLm<Ad, LoraLinear<Ad, Linear<Ad>>>,
    hidden: Tensor<Ad, 3>,
    file: &Golden,
) -> Tensor<Ad, 1> {
    cross_entropy(model.logits_at(hidden.flatten(0, 1)), &ints(file, "labels"))
}

/// The model without dropout, as the golden numbers were made.
fn without_dropout(model: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(model.join("model.safetensors"), folder.path().join("model.safetensors"))
        .unwrap();
    let config = EncoderConfig::read(&model.join("config.json")).unwrap();
    let config =
        EncoderConfig { hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0, ..config };
    std::fs::write(folder.path().join("config.json"), config.to_json().to_string()).unwrap();
    folder
}

fn adapted_masked_lm(
    case: &str,
    model: &Path,
) -> (MaskedLm<Ad, LoraLinear<Ad, Linear<Ad>>>, LoraConfig) {
    let (_, MaskedLm { encoder, head }) =
        load_masked_lm::<Ad>(without_dropout(model).path(), &FlexDevice).unwrap();
    let (adapter, _) = peft::read::<Ad>(&folder(case), &FlexDevice).unwrap();
    let mut encoder = with_adapters(encoder);
    attach(&mut encoder, &adapter);
    (MaskedLm { encoder, head: head.no_grad() }, adapter.config)
}

/// The adapter's matrices under PEFT's names, without its prefix.
fn named<B: Backend>(adapter: &LoraAdapter<B>) -> BTreeMap<String, Param<Tensor<B, 2>>> {
    let folder = tempfile::tempdir().unwrap();
    peft::write_folder(folder.path(), adapter, &PeftExtras::default()).unwrap();
    let bytes = std::fs::read(folder.path().join(peft::WEIGHTS_FILE)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    let by_name: BTreeMap<String, Param<Tensor<B, 2>>> = adapter
        .pairs
        .iter()
        .flat_map(|((k, target), pair)| {
            let path = match target {
                Target::Query | Target::Key | Target::Value => format!("attention.self.{target}"),
                other => other.to_string(),
            };
            let stem = format!("bert.encoder.layer.{k}.{path}");
            [
                (format!("{stem}.lora_A.weight"), pair.a.clone()),
                (format!("{stem}.lora_B.weight"), pair.b.clone()),
            ]
        })
        .collect();
    let prefixed: Vec<String> =
        by_name.keys().map(|name| format!("base_model.model.{name}")).collect();
    assert_eq!(names, prefixed, "names in the file");
    by_name
}

fn assert_gradients(
    case: &str,
    adapter: &LoraAdapter<Ad>,
    gradients: &GradientsParams,
    file: &Golden,
) {
    for (name, param) in named(adapter) {
        let found =
            gradients.get::<Flex, 2>(param.id).unwrap_or_else(|| panic!("{name}: no gradient"));
        let expected: Vec<f32> = file.values(&format!("grad.{name}"));
        assert_close(&format!("{case} {name}"), &host(found), &expected, GRADIENT);
    }
}

#[test]
fn loss_gradients_and_five_steps_of_masked_lm() {
    let Some(path) = tiny() else { return };
    for case in ENCODER_ONLY {
        let file = expected(case);
        let (mut model, config) = adapted_masked_lm(case, &path);
        let input = input::<Ad>(&file, "masked_input_ids", &FlexDevice);
        let n_layers = model.encoder.n_layers();
        let mut optimizer = adamw().init::<Ad, MaskedLm<Ad, _>>();
        for step in 0..5 {
            let hidden = model.encoder.hidden_state(&input, n_layers);
            let loss = masked_lm_loss(&model, hidden, &file);
            let value = host(loss.clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            if step == 0 {
                assert_close(case, &value, &file.values::<f32>("loss"), LOSS);
                let adapter = detach(&mut model.encoder.clone(), config.clone());
                assert_eq!(gradients.len(), 2 * adapter.pairs.len(), "{case}: only adapters");
                assert_gradients(case, &adapter, &gradients, &file);
            }
            model = optimizer.step(LEARNING_RATE, model, gradients);
        }
        assert_after_steps(case, &detach(&mut model.encoder, config), &file, AFTER_STEPS);
    }
}

fn adamw() -> AdamWConfig {
    AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).with_epsilon(1e-8)
}

fn assert_after_steps(case: &str, adapter: &LoraAdapter<Ad>, file: &Golden, tolerance: f32) {
    for (name, param) in named(adapter) {
        let expected: Vec<f32> = file.values(&format!("after5steps.{name}"));
        let tolerance = if name.contains("key") { AFTER_STEPS_KEY } else { tolerance };
        assert_close(&format!("{case} {name}"), &host(param.val()), &expected, tolerance);
    }
}
