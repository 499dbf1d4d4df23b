//! Shapes and counts of the named configurations.

use gf_model::{EncoderConfig, Error, Preset};
use serde_json::Value;

/// Counts by transformers 4.46.3 (shared/golden/configs/parameter_counts.json, A5).
#[test]
fn parameter_counts() {
    fn t(preset: Preset, expected: usize) {
        assert_eq!(EncoderConfig::preset(preset).num_params(), expected, "{preset}");
    }
    t(Preset::V1_10M, 10_288_722);
    t(Preset::M38, 37_983_027);
    t(Preset::M65, 65_266_995);
    t(Preset::V2_104M, 104_386_867);
    t(Preset::M228, 227_571_507);
    t(Preset::V2_316M, 316_354_867);
}

#[test]
fn presets_equal_the_golden_configurations() {
    let Some(golden) = crate::golden_folder() else { return };
    let text = std::fs::read_to_string(golden.join("configs/parameter_counts.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    for preset in Preset::ALL {
        let ours = EncoderConfig::preset(preset).to_json();
        let theirs = &json["configs"][preset.name()];
        for key in [
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "vocab_size",
            "hidden_act",
            "layer_norm_eps",
            "initializer_range",
            "type_vocab_size",
            "pad_token_id",
        ] {
            assert_eq!(ours[key], theirs[key], "{preset}: {key}");
        }
        assert_eq!(ours["hidden_dropout_prob"], theirs["dropout"], "{preset}: dropout");
        assert_eq!(
            EncoderConfig::preset(preset).num_params() as u64,
            theirs["masked_lm_parameters"]
        );
    }
}

/// The count from the shapes is the count of what is really built.
#[test]
fn counted_parameters_are_built() {
    let config = EncoderConfig { num_hidden_layers: 2, ..EncoderConfig::preset(Preset::V1_10M) };
    let model = config.init_masked_lm::<burn_flex::Flex>(&Default::default()).unwrap();
    assert_eq!(burn::module::Module::num_params(&model), config.num_params());
}

#[test]
fn refused_configurations() {
    fn t(change: impl Fn(&mut EncoderConfig), message: &str) {
        let mut config = EncoderConfig::preset(Preset::V1_10M);
        change(&mut config);
        assert_eq!(config.check().unwrap_err().to_string(), message);
    }
    t(|c| c.vocab_size = 0, "configuration: vocab_size is 0, expected at least 1");
    t(
        |c| c.num_attention_heads = 3,
        "configuration: num_attention_heads is 3, expected a divisor of hidden_size",
    );
    t(
        |c| c.hidden_dropout_prob = 1.0,
        "configuration: hidden_dropout_prob is 1, expected from 0 to below 1",
    );
    t(|c| c.hidden_act = "gelu".into(), "configuration: hidden_act is gelu, expected relu");
}

#[test]
fn refused_rows() {
    fn t(row: &[i32], message: &str) {
        let config = EncoderConfig { vocab_size: 10, ..EncoderConfig::preset(Preset::V1_10M) };
        assert_eq!(config.check_row(row).unwrap_err().to_string(), message);
    }
    t(&[], "no token in the row, expected at least one");
    t(&[2, 10], "token 10 at position 1, expected 0 to 9");
    t(&[-1], "token -1 at position 0, expected 0 to 9");
    t(&[1; 2049], "2049 tokens, the model has 2048 positions");
}

#[test]
fn unknown_preset() {
    let error = "V3".parse::<Preset>().unwrap_err();
    assert!(matches!(error, Error::UnknownPreset { .. }));
    assert!(error.to_string().contains("Geneformer-V2-316M"), "{error}");
}
