//! Folders in every layout of the encoder's checkpoints (shared/golden/configs/layouts,
//! INDEX.md A5, seed 808), quantised on disk and on the way into memory.

use std::{fs, path::Path};

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderInput, Projection};
use gf_quant::{
    checkpoint::{
        WeightFormat, load_int8_encoder, load_nf4_encoder, quantize_folder, stored_format,
    },
    int8::Activations,
};

use crate::fixture::golden;

/// Layouts with the encoder of `masked_lm`.
const SAME_ENCODER: [&str; 13] = [
    "masked_lm",
    "v1_position_ids",
    "bin_zip_with_decoder",
    "bin_legacy_pickle",
    "safetensors_with_decoder",
    "gamma_beta",
    "sharded",
    "headless_bertmodel",
    "f64",
    "sequence_classification",
    "token_classification",
    "multi_task_bin",
    "multi_task_safetensors",
];
/// The same, rounded.
const ROUNDED: [&str; 2] = ["f16", "bf16"];

fn states<P: Projection<Flex>>(encoder: &Encoder<Flex, P>) -> Vec<f32> {
    let input = EncoderInput::from_rows(&[&[2, 11, 25, 7, 3], &[2, 30, 3]], 0, &FlexDevice);
    host(encoder.cls_state(&input, encoder.n_layers()))
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn load(folder: &Path, format: WeightFormat) -> Result<Vec<f32>, gf_quant::Error> {
    Ok(match format {
        WeightFormat::Nf4 => states(&load_nf4_encoder::<Flex>(folder, &FlexDevice)?.1),
        WeightFormat::Int8 => {
            states(&load_int8_encoder::<Flex>(folder, Activations::Int8, &FlexDevice)?.1)
        }
    })
}

#[test]
fn every_layout() {
    let Some(layouts) = golden("configs/layouts") else { return };
    for format in [WeightFormat::Nf4, WeightFormat::Int8] {
        let expected = load(&layouts.join("masked_lm"), format).unwrap();
        for layout in SAME_ENCODER.into_iter().chain(ROUNDED) {
            let (source, target) = (layouts.join(layout), tempfile::tempdir().unwrap());
            quantize_folder(&source, target.path(), format).unwrap();
            assert_eq!(stored_format(target.path()).unwrap(), Some(format), "{layout}");
            let stored = load(target.path(), format).unwrap();
            assert_eq!(stored, load(&source, format).unwrap(), "{format:?} {layout}");
            assert_eq!(stored == expected, SAME_ENCODER.contains(&layout), "{format:?} {layout}");
        }
    }
}

/// All that is no projection is copied, under the names of today.
#[test]
fn heads_are_kept() {
    let Some(layouts) = golden("configs/layouts") else { return };
    for (layout, head) in [
        ("headless_bertmodel", "bert.pooler.dense.weight"),
        ("gamma_beta", "cls.predictions.transform.LayerNorm.weight"),
        ("sharded", "cls.predictions.transform.dense.weight"),
        ("bin_legacy_pickle", "cls.predictions.bias"),
        ("multi_task_bin", "classification_heads.0.weight"),
        ("token_classification", "classifier.bias"),
    ] {
        let target = tempfile::tempdir().unwrap();
        quantize_folder(&layouts.join(layout), target.path(), WeightFormat::Nf4).unwrap();
        let bytes = fs::read(target.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor(head).unwrap_or_else(|e| panic!("{layout} {head}: {e}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{layout} {head}");
    }
}

/// A configuration of fewer layers than there are would leave some out; one of more asks
/// for what is not there.
#[test]
fn layers_of_another_number_are_refused() {
    let Some(layouts) = golden("configs/layouts") else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| fs::copy(layouts.join("f64").join(name), folder.path().join(name));
    copy("model.safetensors").unwrap();
    let config = fs::read_to_string(layouts.join("f64/config.json")).unwrap();
    for (layers, message) in [
        ("1", "tensor bert.encoder.layer.1."),
        ("3", "tensor bert.encoder.layer.2."),
        ("1000000000000", "num_hidden_layers"),
    ] {
        let layers = format!("\"num_hidden_layers\": {layers}");
        let config = config.replace("\"num_hidden_layers\": 2", &layers);
        fs::write(folder.path().join("config.json"), config).unwrap();
        let target = folder.path().join("target");
        for error in [
            quantize_folder(folder.path(), &target, WeightFormat::Int8).unwrap_err(),
            load(folder.path(), WeightFormat::Nf4).unwrap_err(),
        ] {
            assert!(error.to_string().contains(message), "{layers}: {error}");
        }
        assert!(!target.exists());
    }
}
