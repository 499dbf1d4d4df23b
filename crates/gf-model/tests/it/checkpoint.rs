//! Folders written, read again, and refused.

use std::{fs, path::Path};

use burn_flex::{Flex, FlexDevice};
use gf_model::{
    EncoderConfig, Preset,
    checkpoint::{load_encoder, load_masked_lm, save_masked_lm},
};
use safetensors::SafeTensors;
use serde_json::Value;

fn small() -> EncoderConfig {
    EncoderConfig {
        vocab_size: 20,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 10,
        ..EncoderConfig::preset(Preset::V1_10M)
    }
}

fn saved(folder: &Path) -> EncoderConfig {
    let config = small();
    let model = config.init_masked_lm::<Flex>(&FlexDevice).unwrap();
    save_masked_lm(folder, &config, &model).unwrap();
    config
}

#[test]
fn loading_what_was_saved_and_saving_again_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = saved(first.path());
    let (read, model) = load_masked_lm::<Flex>(first.path(), &FlexDevice).unwrap();
    assert_eq!(read, config);
    save_masked_lm(second.path(), &config, &model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        let bytes = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert_eq!(bytes(first.path()), bytes(second.path()), "{name}");
    }
}

/// Tensor names, shapes and order as transformers 4.46.3 writes V2-104M
/// (shared/golden/configs/v2_104m_tensor_layout.json), checked on a model of the
/// same depth and small width.
#[test]
fn tensor_names_equal_the_original_layout() {
    let Some(golden) = crate::golden_folder() else { return };
    let text = fs::read_to_string(golden.join("configs/v2_104m_tensor_layout.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let expected = json["BertForMaskedLM"]["tensors_in_file_order"].as_object().unwrap();

    let config = EncoderConfig { num_hidden_layers: 12, ..small() };
    let folder = tempfile::tempdir().unwrap();
    let model = config.init_masked_lm::<Flex>(&FlexDevice).unwrap();
    save_masked_lm(folder.path(), &config, &model).unwrap();
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();

    assert_eq!(file.len(), expected.len());
    let width = |theirs: u64| match theirs {
        768 => 8,
        3072 => 12,
        4096 => 10,
        20275 => 20,
        other => other as usize,
    };
    for (name, entry) in expected {
        let shape: Vec<usize> =
            entry["shape"].as_array().unwrap().iter().map(|d| width(d.as_u64().unwrap())).collect();
        assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
    }
}

#[test]
fn an_encoder_loads_without_its_head() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    let (config, encoder) = load_encoder::<Flex>(folder.path(), &FlexDevice).unwrap();
    assert_eq!(encoder.n_layers(), config.num_hidden_layers);
}

#[test]
fn unfit_tensors_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = saved(folder.path());
    let deeper = EncoderConfig { num_hidden_layers: 2, vocab_size: 21, ..config };
    fs::write(folder.path().join("config.json"), deeper.to_json().to_string()).unwrap();
    let error = load_masked_lm::<Flex>(folder.path(), &FlexDevice).unwrap_err();
    let message = error.to_string();
    for part in [
        "model.safetensors",
        "bert.encoder.layer.1.attention.self.query.weight [8, 8] is missing",
        "bert.embeddings.word_embeddings.weight has shape [20, 8], expected [21, 8]",
    ] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

#[test]
fn damaged_files_are_errors() {
    fn t(name: &str, content: &[u8], part: &str) {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        fs::write(folder.path().join(name), content).unwrap();
        let error = load_encoder::<Flex>(folder.path(), &FlexDevice).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
    t("config.json", b"{}", "missing field");
    t("config.json", b"\xff", "UTF-8");
    t("model.safetensors", b"short", "not a safetensors file");
    t("model.safetensors", &[255; 64], "not a safetensors file");
}

#[test]
fn an_absent_folder_is_an_error_that_names_the_file() {
    let error = load_encoder::<Flex>(Path::new("/no/such"), &FlexDevice).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/config.json: "), "{error}");
}
