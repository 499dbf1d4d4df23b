//! Folders written, read again, and refused.

use std::{collections::HashMap, fs, path::Path};

use burn_flex::{Flex, FlexDevice};
use gf_model::{
    CellClassifier, CellHead, EncoderConfig, Error, GeneClassifier, GeneHead, MultiTaskClassifier,
    MultiTaskHead, Pooling, Preset,
    checkpoint::{
        Checkpoint, load_encoder, load_masked_lm, save_cell_classifier, save_gene_classifier,
        save_masked_lm, save_multi_task_classifier, weight_files,
    },
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

/// The file is written tensor by tensor; safetensors' own writer is its oracle.
#[test]
fn the_writer_is_that_of_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    assert_eq!(safetensors::serialize(file.iter(), Some(metadata)).unwrap(), bytes);
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

/// Each head: written, read again by its own loader, written again to the same bytes.
#[test]
fn heads_are_saved_and_loaded() {
    let config = small();
    let encoder = config.init_encoder::<Flex>(&FlexDevice).unwrap();
    let labels = ["a", "b", "c"].map(str::to_owned);
    let t = |save: &dyn Fn(&Path), again: &dyn Fn(&Checkpoint, &Path)| {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        save(first.path());
        let checkpoint = Checkpoint::open(first.path()).unwrap();
        assert_eq!(checkpoint.config(), &config);
        again(&checkpoint, second.path());
        for name in ["config.json", "model.safetensors"] {
            let bytes = |folder: &Path| fs::read(folder.join(name)).unwrap();
            assert_eq!(bytes(first.path()), bytes(second.path()), "{name}");
        }
    };

    let head = CellHead::init(&config, 3, &FlexDevice);
    let cells = CellClassifier { encoder: encoder.clone(), head };
    t(
        &|folder| save_cell_classifier(folder, &config, &cells, &labels).unwrap(),
        &|read, folder| {
            assert_eq!(read.labels(), labels);
            let model = read.cell_classifier::<Flex>(&FlexDevice).unwrap();
            save_cell_classifier(folder, &config, &model, read.labels()).unwrap();
        },
    );

    let head = GeneHead::init(&config, 3, &FlexDevice);
    let genes = GeneClassifier { encoder: encoder.clone(), head };
    t(
        &|folder| save_gene_classifier(folder, &config, &genes, &labels).unwrap(),
        &|read, folder| {
            let model = read.gene_classifier::<Flex>(&FlexDevice).unwrap();
            save_gene_classifier(folder, &config, &model, read.labels()).unwrap();
        },
    );

    for pooling in [Pooling::Cls, Pooling::Attention] {
        // Eleven tasks: 10 sorts before 2 as a text.
        let head =
            MultiTaskHead::init(&config, &[2, 3, 4, 2, 2, 2, 2, 2, 2, 2, 5], pooling, &FlexDevice);
        let tasks = MultiTaskClassifier { encoder: encoder.clone(), head };
        t(
            &|folder| save_multi_task_classifier(folder, &config, &tasks).unwrap(),
            &|read, folder| {
                let model = read.multi_task_classifier::<Flex>(&FlexDevice).unwrap();
                save_multi_task_classifier(folder, &config, &model).unwrap();
            },
        );
    }
}

#[test]
fn a_head_has_one_label_per_class() {
    let config = small();
    let encoder = config.init_encoder::<Flex>(&FlexDevice).unwrap();
    let head = CellHead::init(&config, 3, &FlexDevice);
    let model = CellClassifier { encoder, head };
    let folder = tempfile::tempdir().unwrap();
    let error = save_cell_classifier(folder.path(), &config, &model, &["a".to_owned()]);
    assert!(matches!(error, Err(Error::Labels { found: 1, expected: 3 })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

/// A head's own loader says what it lacks.
#[test]
fn absent_heads_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let t = |error: Error, parts: &[&str]| {
        for part in parts {
            assert!(error.to_string().contains(part), "{error} lacks {part}");
        }
    };
    let unread = "cls.predictions.bias is not expected";
    let classifier = "classifier.weight [2, 8] is missing";
    let pooler = "bert.pooler.dense.weight [8, 8] is missing";
    let task = "classification_heads.0.weight [1, 8] is missing";
    t(checkpoint.cell_classifier::<Flex>(&FlexDevice).unwrap_err(), &[unread, classifier, pooler]);
    t(checkpoint.gene_classifier::<Flex>(&FlexDevice).unwrap_err(), &[unread, classifier]);
    t(checkpoint.multi_task_classifier::<Flex>(&FlexDevice).unwrap_err(), &[unread, task]);
}

#[test]
fn a_folder_without_weights_says_what_they_may_be_called() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let error = load_encoder::<Flex>(folder.path(), &FlexDevice).unwrap_err().to_string();
    for name in [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ] {
        assert!(error.contains(name), "{error} lacks {name}");
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

/// The first of the four layouts that is there counts.
#[test]
fn the_files_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let found = || {
        let files = weight_files(folder.path()).unwrap();
        let names = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    assert!(matches!(weight_files(folder.path()), Err(Error::NoWeights { .. })));
    let index = r#"{"weight_map": {"a": "two.bin", "b": "one.bin", "c": "two.bin"}}"#;
    write("pytorch_model.bin.index.json", index);
    assert_eq!(found(), "one.bin two.bin");
    write("pytorch_model.bin", "");
    assert_eq!(found(), "pytorch_model.bin");
    let index = r#"{"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}}"#;
    write("model.safetensors.index.json", index);
    assert_eq!(found(), "one.safetensors two.safetensors");
    write("model.safetensors", "");
    assert_eq!(found(), "model.safetensors");
}
