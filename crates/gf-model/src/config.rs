//! The shape of an encoder: six named configurations and Hugging Face's `config.json`.

use std::{fmt, fs, path::Path, str::FromStr};

use burn::{nn::Linear, tensor::backend::Backend};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Encoder, Error, MaskedLm};

/// The configurations named in the paper (its scaling series) and its releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum Preset {
    /// `Geneformer-V1-10M`: 6 layers × 256, 2,048 positions, 25,426 tokens.
    V1_10M,
    /// `Geneformer-38M`: 8 layers × 512.
    M38,
    /// `Geneformer-65M`: 10 layers × 640.
    M65,
    /// `Geneformer-V2-104M`: 12 layers × 768.
    V2_104M,
    /// `Geneformer-228M`: 16 layers × 1,024.
    M228,
    /// `Geneformer-V2-316M`: 18 layers × 1,152.
    V2_316M,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Self; 6] =
        [Self::V1_10M, Self::M38, Self::M65, Self::V2_104M, Self::M228, Self::V2_316M];

    /// The name under which the configuration is published.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_10M => "Geneformer-V1-10M",
            Self::M38 => "Geneformer-38M",
            Self::M65 => "Geneformer-65M",
            Self::V2_104M => "Geneformer-V2-104M",
            Self::M228 => "Geneformer-228M",
            Self::V2_316M => "Geneformer-V2-316M",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    /// Accepts the published name with or without `Geneformer-`, in any case.
    ///
    /// ```
    /// use gf_model::Preset;
    /// assert_eq!("v2-316m".parse::<Preset>()?, Preset::V2_316M);
    /// # Ok::<(), gf_model::Error>(())
    /// ```
    fn from_str(name: &str) -> Result<Self, Error> {
        let short = |s: &str| s.to_ascii_lowercase().replace("geneformer-", "");
        Self::ALL.into_iter().find(|preset| short(preset.name()) == short(name)).ok_or_else(|| {
            Error::UnknownPreset {
                found: name.to_owned(),
                expected: Self::ALL.map(Self::name).join(", "),
            }
        })
    }
}

/// What determines the shape and arithmetic of an encoder; the keys are those of
/// Hugging Face's BERT `config.json` (REFERENCE.md §3.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Number of token ids, special tokens included.
    pub vocab_size: usize,
    /// Width of a hidden state, `d_model`.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer, `d_ff`.
    pub intermediate_size: usize,
    /// Longest input, in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token type table; only row 0 is used.
    #[serde(default = "default_type_vocab_size")]
    pub type_vocab_size: usize,
    /// Dropout of embeddings and of each block's output, while training.
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention weights, while training.
    pub attention_probs_dropout_prob: f64,
    /// Dropout before a classifier, while training; as `hidden_dropout_prob` if absent.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Added to the variance in layer normalisation.
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// Token id of padding.
    #[serde(default)]
    pub pad_token_id: i32,
    /// Activation of feed-forward and head; only `relu` is built.
    #[serde(default = "default_hidden_act")]
    pub hidden_act: String,
}

fn default_type_vocab_size() -> usize {
    2
}

fn default_layer_norm_eps() -> f64 {
    1e-12
}

fn default_initializer_range() -> f64 {
    0.02
}

/// What `transformers` assumes where the key is absent; [`EncoderConfig::check`] refuses it.
fn default_hidden_act() -> String {
    "gelu".to_owned()
}

/// Geneformer's encoders share a head width of 64, ε 1e-12 and ReLU.
const D_HEAD: usize = 64;

impl EncoderConfig {
    /// The configuration of a named model, with the dropout of its released
    /// `config.json` (0.1 for the V2 releases) or the paper's 0.02.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::V1_10M => Self {
                vocab_size: 25_426,
                max_position_embeddings: 2_048,
                ..Self::v2(6, 256, 512, 0.02)
            },
            Preset::M38 => Self::v2(8, 512, 2_048, 0.02),
            Preset::M65 => Self::v2(10, 640, 2_560, 0.02),
            Preset::V2_104M => Self::v2(12, 768, 3_072, 0.1),
            Preset::M228 => Self::v2(16, 1_024, 4_096, 0.02),
            Preset::V2_316M => Self::v2(18, 1_152, 4_608, 0.1),
        }
    }

    fn v2(n_layers: usize, d_model: usize, d_ff: usize, dropout: f64) -> Self {
        Self {
            vocab_size: 20_275,
            hidden_size: d_model,
            num_hidden_layers: n_layers,
            num_attention_heads: d_model / D_HEAD,
            intermediate_size: d_ff,
            max_position_embeddings: 4_096,
            type_vocab_size: default_type_vocab_size(),
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
            classifier_dropout: None,
            layer_norm_eps: default_layer_norm_eps(),
            initializer_range: default_initializer_range(),
            pad_token_id: 0,
            hidden_act: "relu".to_owned(),
        }
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    ///
    /// The file is absent, is not such a JSON, or asks for what is not supported.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_json(read_json(path)?, path)
    }

    /// Takes its keys out of a `config.json`.
    pub(crate) fn from_json(json: Value, path: &Path) -> Result<Self, Error> {
        let positions = json.get("position_embedding_type").and_then(Value::as_str);
        let positions = positions.unwrap_or("absolute").to_owned();
        let absolute = positions == "absolute";
        require("position_embedding_type", positions, absolute, "absolute")?;
        let config: Self = serde_json::from_value(json)
            .map_err(|source| Error::ConfigJson { path: path.to_owned(), source })?;
        config.check()?;
        Ok(config)
    }

    /// The `config.json` from which `transformers` builds a `BertForMaskedLM`.
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json["architectures"] = serde_json::json!(["BertForMaskedLM"]);
        json["model_type"] = "bert".into();
        json["position_embedding_type"] = "absolute".into();
        json["tie_word_embeddings"] = true.into();
        json["torch_dtype"] = "float32".into();
        json
    }

    /// Refuses shapes and activations that the encoder cannot compute.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the key, what was found and what is supported.
    pub fn check(&self) -> Result<(), Error> {
        let at_least_one = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        for (key, value) in at_least_one {
            require(key, value, value >= 1, "at least 1")?;
        }
        let heads = self.num_attention_heads;
        let divides = self.hidden_size.is_multiple_of(heads);
        require("num_attention_heads", heads, divides, "a divisor of hidden_size")?;
        for (key, p) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.head_dropout()),
        ] {
            require(key, p, (0.0..1.0).contains(&p), "from 0 to below 1")?;
        }
        require("hidden_act", &self.hidden_act, self.hidden_act == "relu", "relu")
    }

    /// Dropout before a classifier, while training.
    pub(crate) fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Refuses a row of tokens that this model cannot read.
    ///
    /// # Errors
    ///
    /// The row is empty, longer than the positions, or holds an unknown token id.
    pub fn check_row(&self, tokens: &[i32]) -> Result<(), Error> {
        if tokens.is_empty() {
            return Err(Error::EmptyRow);
        }
        if tokens.len() > self.max_position_embeddings {
            let expected = self.max_position_embeddings;
            return Err(Error::TooLong { found: tokens.len(), expected });
        }
        let known = |token: &i32| usize::try_from(*token).is_ok_and(|id| id < self.vocab_size);
        match tokens.iter().position(|token| !known(token)) {
            None => Ok(()),
            Some(position) => Err(Error::UnknownToken {
                found: tokens[position],
                position,
                vocab_size: self.vocab_size,
            }),
        }
    }

    /// Exact number of parameters of the masked language model, the tied decoder
    /// counted once.
    pub fn num_params(&self) -> usize {
        crate::weights::keymap::masked_lm_tensors(self)
            .iter()
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum()
    }

    /// A randomly initialised encoder.
    ///
    /// # Errors
    ///
    /// See [`check`](Self::check).
    pub fn init_encoder<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<Encoder<B, Linear<B>>, Error> {
        self.check()?;
        Ok(Encoder::init(self, device))
    }

    /// A randomly initialised encoder with its masked language head.
    ///
    /// # Errors
    ///
    /// See [`check`](Self::check).
    pub fn init_masked_lm<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<MaskedLm<B, Linear<B>>, Error> {
        self.check()?;
        Ok(MaskedLm::init(self, device))
    }
}

/// The JSON of a `config.json`.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text)
        .map_err(|source| Error::ConfigJson { path: path.to_owned(), source })
}

fn require(
    key: &'static str,
    value: impl fmt::Display,
    holds: bool,
    expected: &str,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Config { key, found: value.to_string(), expected: expected.to_owned() })
}
