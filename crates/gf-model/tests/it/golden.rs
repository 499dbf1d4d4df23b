//! Numbers of the Python original: forward passes (`forward.rs`), layouts of weights, heads.

use std::path::Path;

use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use gf_model::{
    EncoderConfig, EncoderInput, PooledTokens,
    checkpoint::{Checkpoint, load_masked_lm},
};
use safetensors::SafeTensors;

use crate::forward::{self, Tolerance, check, check_real};

/// INDEX.md: ten times the difference between f32 and f64 runs of the original.
const HIDDEN_TOLERANCE: f32 = 5e-5;
/// INDEX.md, likewise for logits.
const LOGITS_TOLERANCE: f32 = 2e-4;

/// INDEX.md: the layouts hold the same f32 numbers; 1e-5 covers the order of sums.
const LAYOUT_TOLERANCE: f32 = 1e-5;

#[test]
fn tiny_v2_forward() {
    let Some(golden) = crate::golden_folder() else { return };
    let tolerance = Tolerance { hidden: HIDDEN_TOLERANCE, logits: LOGITS_TOLERANCE };
    forward::tiny_v2::<Flex>(&golden, &FlexDevice, &tolerance);
}

/// Every layout of a checkpoint that holds the one micro model
/// (shared/golden/configs/layouts, INDEX.md A5, seed 808), read as an encoder.
#[test]
fn checkpoint_layouts() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("configs/layouts");
    let expected = Golden::read(&folder.join("expected.safetensors"));
    let t = |layout: &str, states: &[&str], n_head_tensors: usize| {
        let checkpoint = Checkpoint::open(&folder.join(layout)).unwrap();
        assert_eq!(checkpoint.head_tensors().count(), n_head_tensors, "{layout}: head tensors");
        let encoder = checkpoint.encoder::<Flex>(&FlexDevice).unwrap();
        let (input, lengths) = expected.input(checkpoint.config());
        let heights: Vec<usize> = (3 - states.len()..3).collect();
        for (found, state) in encoder.hidden_states(&input, &heights).into_iter().zip(states) {
            check_real(layout, found, expected.floats(state), &lengths, LAYOUT_TOLERANCE);
        }
    };
    let states = &["hidden_0", "hidden_1", "hidden_2"];
    // The masked language head has five tensors: dense, norm, bias.
    t("masked_lm", states, 5);
    t("v1_position_ids", states, 5 + 1);
    t("bin_zip_with_decoder", states, 5 + 3);
    t("bin_legacy_pickle", states, 5 + 3);
    t("safetensors_with_decoder", states, 5 + 2);
    t("gamma_beta", states, 5);
    t("f16", &["f16_weights_f32_compute.hidden_2"], 5);
    t("bf16", &["bf16_weights_f32_compute.hidden_2"], 5);
    t("f64", states, 5);
    t("sharded", states, 5);
    // A pooler of two tensors.
    t("headless_bertmodel", states, 2);
    t("sequence_classification", states, 2 + 2);
    t("token_classification", states, 2);
    t("multi_task_bin", states, 2 + 2 * 2 + 1);
    t("multi_task_safetensors", states, 2 + 2 * 2 + 1);
}

/// The layouts that hold the masked language head as well.
#[test]
fn masked_lm_layouts() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("configs/layouts");
    let expected = Golden::read(&folder.join("expected.safetensors"));
    let t = |layout: &str| {
        let (config, model) = load_masked_lm::<Flex>(&folder.join(layout), &FlexDevice).unwrap();
        let (input, lengths) = expected.input(&config);
        let last = model.encoder.hidden_state(&input, 2).reshape([16, 16]);
        let logits = model.logits_at(last).reshape([2, 8, 120]);
        check_real(layout, logits, expected.floats("logits"), &lengths, LAYOUT_TOLERANCE);
    };
    t("masked_lm");
    t("v1_position_ids");
    t("bin_zip_with_decoder");
    t("bin_legacy_pickle");
    t("safetensors_with_decoder");
    t("gamma_beta");
    t("f64");
    t("sharded");
}

/// Layouts without that head say which of its tensors are missing, by name.
#[test]
fn layouts_without_a_masked_language_head() {
    let Some(golden) = crate::golden_folder() else { return };
    for layout in ["headless_bertmodel", "sequence_classification", "multi_task_bin"] {
        let folder = golden.join("configs/layouts").join(layout);
        let error = load_masked_lm::<Flex>(&folder, &FlexDevice).unwrap_err().to_string();
        assert!(error.contains("cls.predictions.bias [120] is missing"), "{layout}: {error}");
        let classifier = "classifier.weight is not expected";
        let holds_classifier = layout == "sequence_classification";
        assert_eq!(error.contains(classifier), holds_classifier, "{layout}: {error}");
    }
}

/// Logits of the fine-tuned heads of the layouts.
#[test]
fn head_layouts() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("configs/layouts");
    let expected = Golden::read(&folder.join("expected.safetensors"));

    let checkpoint = Checkpoint::open(&folder.join("sequence_classification")).unwrap();
    assert_eq!(checkpoint.labels(), ["class_0", "class_1", "class_2", "class_3"]);
    let (input, lengths) = expected.input(checkpoint.config());
    let logits = checkpoint.cell_classifier::<Flex>(&FlexDevice).unwrap().forward(&input);
    check("cells", logits, expected.floats("sequence_classification.logits"), LAYOUT_TOLERANCE);

    let checkpoint = Checkpoint::open(&folder.join("token_classification")).unwrap();
    let logits = checkpoint.gene_classifier::<Flex>(&FlexDevice).unwrap().forward(&input);
    let theirs = expected.floats("token_classification.logits");
    check_real("genes", logits, theirs, &lengths, LAYOUT_TOLERANCE);

    let t = |layout: &str, pooling: &str, tokens: PooledTokens| {
        let checkpoint = Checkpoint::open(&folder.join(layout)).unwrap();
        let mut model = checkpoint.multi_task_classifier::<Flex>(&FlexDevice).unwrap();
        if pooling == "cls" {
            model.head.attention_pool = None;
        }
        for (task, logits) in model.forward(&input, tokens).into_iter().enumerate() {
            let name = format!("multi_task.{pooling}.task{task}.logits");
            check(&format!("{layout} {name}"), logits, expected.floats(&name), LAYOUT_TOLERANCE);
        }
        assert_eq!(model.head.classification_heads.len(), 2, "{layout}");
    };
    for layout in ["multi_task_bin", "multi_task_safetensors"] {
        t(layout, "cls", PooledTokens::Real);
        t(layout, "attention_pool_masked", PooledTokens::Real);
        t(layout, "attention_pool_unmasked", PooledTokens::RealAndPadding);
    }
}

/// The heads on tiny_v2 (INDEX.md A8): their files hold the head's tensors alone.
#[test]
fn tiny_v2_heads() {
    let Some(golden) = crate::golden_folder() else { return };
    let folder = golden.join("ref/model");
    let forward = Golden::read(&folder.join("tiny_v2_forward.safetensors"));
    let t = |name: &str| {
        let heads =
            Golden::read(&folder.join(format!("tiny_v2_{name}_head_and_logits.safetensors")));
        let whole = with_head(&folder.join("tiny_v2/model.safetensors"), &heads);
        std::fs::copy(
            folder.join(format!("tiny_v2_{name}_config.json")),
            whole.path().join("config.json"),
        )
        .unwrap();
        (Checkpoint::open(whole.path()).unwrap(), heads, whole)
    };

    let (checkpoint, expected, _whole) = t("cell3");
    let (input, lengths) = forward.input(checkpoint.config());
    let logits = checkpoint.cell_classifier::<Flex>(&FlexDevice).unwrap().forward(&input);
    check("cell3", logits, expected.floats("expected_logits"), LOGITS_TOLERANCE);

    let (checkpoint, expected, _whole) = t("gene2");
    let logits = checkpoint.gene_classifier::<Flex>(&FlexDevice).unwrap().forward(&input);
    let theirs = expected.floats("expected_logits");
    check_real("gene2", logits, theirs, &lengths, LOGITS_TOLERANCE);
}

/// A folder with the `bert.*` tensors of one file and the head of another.
fn with_head(encoder: &Path, head: &Golden) -> tempfile::TempDir {
    let encoder = Golden::read(encoder);
    let (encoder, head) = (encoder.file(), head.file());
    let tensors = encoder.iter().filter(|(name, _)| name.starts_with("bert."));
    let head = head.iter().filter(|(name, _)| !name.starts_with("expected"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(tensors.chain(head), None, &path).unwrap();
    folder
}

/// A file of expected tensors.
struct Golden(Vec<u8>);

impl Golden {
    fn read(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    fn input(&self, config: &EncoderConfig) -> (EncoderInput<Flex>, Vec<usize>) {
        forward::input(&self.file(), config, &FlexDevice)
    }

    fn floats<const D: usize>(&self, name: &str) -> Tensor<Flex, D> {
        forward::floats(&self.file(), name, &FlexDevice)
    }
}
