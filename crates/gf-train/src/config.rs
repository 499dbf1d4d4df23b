//! What a pretraining run is asked to do: a TOML file of two tables.

use std::{fmt, fs, path::Path};

use gf_model::{EncoderConfig, Preset};
use gf_tokenize::Vocabulary;
use serde::{Deserialize, Serialize};

use crate::{Decay, Error, Schedule};

/// A pretraining run as typed; [`check`](Self::check) turns it into one that can be
/// run.
///
/// Every key may be left out; what is left out is as in the paper's V2 models
/// (REFERENCE.md §4).
///
/// ```
/// use gf_train::PretrainConfig;
///
/// let config = PretrainConfig::from_toml(
///     "[model]
///      hidden_size = 128
///      num_hidden_layers = 3
///      num_attention_heads = 2
///      [training]
///      epochs = 1",
/// )?;
/// assert_eq!(config.training.learning_rate, 2e-4);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    /// The encoder.
    pub model: ModelTable,
    /// The run.
    pub training: TrainingTable,
}

/// The table `[model]`: a preset, or sizes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelTable {
    /// A named configuration, such as `v2-104m`, which is also what is trained when
    /// neither a preset nor sizes are given. Its vocabulary is the data set's.
    pub preset: Option<String>,
    /// Width of a hidden state.
    pub hidden_size: Option<usize>,
    /// Number of layers.
    pub num_hidden_layers: Option<usize>,
    /// Attention heads per layer; default one for every 64 of `hidden_size`.
    pub num_attention_heads: Option<usize>,
    /// Width of the feed-forward layer; default 4 × `hidden_size`.
    pub intermediate_size: Option<usize>,
    /// Longest row, in tokens; default 4,096, or what the preset says.
    pub max_position_embeddings: Option<usize>,
    /// Dropout while training; default 0.02, as the paper pretrained (the released
    /// V2 configurations say 0.1).
    pub dropout: Option<f64>,
}

/// The table `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingTable {
    /// Times each row is seen; default 3.
    pub epochs: u64,
    /// Ends the run after so many steps even if epochs are left; default none. The
    /// learning rate is planned for the shorter run.
    pub max_steps: Option<u64>,
    /// Rows per step; default 432.
    pub batch_size: usize,
    /// Rows per forward pass, which bounds the memory; it does not change what is
    /// computed. Default 8.
    pub micro_batch_size: usize,
    /// Threads that compute forward passes at the same time, for CPUs; default 1. More
    /// than one needs `dropout = 0`: dropout is drawn from one generator, and which
    /// thread draws first would be chance. The same number gives the same model.
    pub workers: usize,
    /// Highest learning rate; default 2e-4.
    pub learning_rate: f64,
    /// `cosine` (default), `linear` or `constant`.
    pub schedule: Decay,
    /// Steps of the warm-up, instead of `warmup_ratio`.
    pub warmup_steps: Option<u64>,
    /// Part of all steps that is warm-up, rounded up; default 0.007.
    pub warmup_ratio: Option<f64>,
    /// Weight decay of everything but biases and layer norms; default 0.044.
    pub weight_decay: f64,
    /// Largest global norm of the gradients; default 1. `inf` clips nothing.
    pub max_grad_norm: f64,
    /// Chance of a token to be selected for prediction; default 0.15.
    pub mask_probability: f64,
    /// Whether CLS and EOS may be selected, as in the reference; default true.
    pub mask_special_tokens: bool,
    /// Part of the rows that is held out and evaluated after each epoch; default 0.
    pub eval_fraction: f64,
    /// Seed of everything random; default 42.
    pub seed: u64,
}

/// The paper's warm-up, as a part of all steps.
const WARMUP_RATIO: f64 = 0.007;
/// The paper's dropout while pretraining.
const DROPOUT: f64 = 0.02;
/// Width of an attention head in every published model.
const D_HEAD: usize = 64;

impl Default for TrainingTable {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: None,
            batch_size: 432,
            micro_batch_size: 8,
            workers: 1,
            learning_rate: 2e-4,
            schedule: Decay::Cosine,
            warmup_steps: None,
            warmup_ratio: None,
            weight_decay: 0.044,
            max_grad_norm: 1.0,
            mask_probability: 0.15,
            mask_special_tokens: true,
            eval_fraction: 0.0,
            seed: 42,
        }
    }
}

impl PretrainConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// The file is absent, is not TOML, or has a key or type that is not known.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        Self::from_toml(&text)
            .map_err(|source| Error::ConfigToml { path: path.to_owned(), source: Box::new(source) })
    }

    /// Parses the text of a configuration file.
    ///
    /// # Errors
    ///
    /// It is not TOML, or has a key or type that is not known.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Refuses values that no run can have.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the first such key.
    pub fn check(&self) -> Result<CheckedConfig, Error> {
        let model = self.model.check()?;
        self.training.check()?;
        let may_share = model.hidden_dropout_prob == 0.0 || self.training.workers == 1;
        require("training.workers", self.training.workers, may_share, "1, or model.dropout 0")?;
        Ok(CheckedConfig { model, training: self.training.clone() })
    }
}

/// A configuration that has passed [`PretrainConfig::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedConfig {
    model: EncoderConfig,
    training: TrainingTable,
}

impl CheckedConfig {
    /// The encoder to be trained on tokens of this vocabulary.
    pub fn encoder(&self, vocabulary: &Vocabulary) -> EncoderConfig {
        EncoderConfig {
            vocab_size: vocabulary.len(),
            pad_token_id: vocabulary.special().pad.0 as i32,
            ..self.model.clone()
        }
    }

    /// The run.
    pub fn training(&self) -> &TrainingTable {
        &self.training
    }

    /// Steps and learning rates of a run over `n_rows` rows.
    pub fn schedule(&self, n_rows: usize) -> Schedule {
        let training = &self.training;
        let all_epochs =
            training.epochs.saturating_mul(n_rows.div_ceil(training.batch_size) as u64);
        let total_steps = training.max_steps.map_or(all_epochs, |max| max.min(all_epochs));
        let ratio = training.warmup_ratio.unwrap_or(WARMUP_RATIO);
        let warmup_steps =
            training.warmup_steps.unwrap_or((total_steps as f64 * ratio).ceil() as u64);
        Schedule {
            peak: training.learning_rate,
            decay: training.schedule,
            warmup_steps,
            total_steps,
        }
    }
}

impl ModelTable {
    fn check(&self) -> Result<EncoderConfig, Error> {
        let base = match (&self.preset, self.first_size()) {
            (Some(name), None) => EncoderConfig::preset(name.parse()?),
            (Some(name), Some(size)) => {
                return Err(refusal(
                    size,
                    format!("given beside preset {name:?}"),
                    "one of the two",
                ));
            }
            (None, None) => EncoderConfig::preset(Preset::V2_104M),
            (None, Some(_)) => self.sizes()?,
        };
        let dropout = self.dropout.unwrap_or(DROPOUT);
        let config = EncoderConfig {
            max_position_embeddings: self
                .max_position_embeddings
                .unwrap_or(base.max_position_embeddings),
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
            ..base
        };
        config.check()?;
        Ok(config)
    }

    fn first_size(&self) -> Option<&'static str> {
        [
            ("model.hidden_size", self.hidden_size),
            ("model.num_hidden_layers", self.num_hidden_layers),
            ("model.num_attention_heads", self.num_attention_heads),
            ("model.intermediate_size", self.intermediate_size),
        ]
        .into_iter()
        .find_map(|(key, size)| size.map(|_| key))
    }

    fn sizes(&self) -> Result<EncoderConfig, Error> {
        let required = |key, size: Option<usize>| {
            size.ok_or_else(|| refusal(key, "absent", "a number, as other sizes are given"))
        };
        let hidden_size = required("model.hidden_size", self.hidden_size)?;
        Ok(EncoderConfig {
            hidden_size,
            num_hidden_layers: required("model.num_hidden_layers", self.num_hidden_layers)?,
            num_attention_heads: self.num_attention_heads.unwrap_or(hidden_size / D_HEAD),
            intermediate_size: self.intermediate_size.unwrap_or(hidden_size.saturating_mul(4)),
            ..EncoderConfig::preset(Preset::V2_104M)
        })
    }
}

impl TrainingTable {
    fn check(&self) -> Result<(), Error> {
        let positive = |x: f64| x > 0.0;
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let finite = |x: f64| x >= 0.0 && x.is_finite();
        require("training.epochs", self.epochs, self.epochs >= 1, "at least 1")?;
        require("training.batch_size", self.batch_size, self.batch_size >= 1, "at least 1")?;
        let micro = self.micro_batch_size;
        require("training.micro_batch_size", micro, micro >= 1, "at least 1")?;
        let workers = self.workers;
        require("training.workers", workers, workers >= 1, "at least 1")?;
        let rate = self.learning_rate;
        require("training.learning_rate", rate, positive(rate) && finite(rate), "above 0")?;
        let decay = self.weight_decay;
        require("training.weight_decay", decay, finite(decay), "at least 0")?;
        let norm = self.max_grad_norm;
        require("training.max_grad_norm", norm, positive(norm), "above 0")?;
        let chance = self.mask_probability;
        let in_range = positive(chance) && chance <= 1.0;
        require("training.mask_probability", chance, in_range, "above 0, at most 1")?;
        let held_out = self.eval_fraction;
        require("training.eval_fraction", held_out, fraction(held_out), "from 0 to below 1")?;
        let in_toml = i64::try_from(self.seed).is_ok();
        require("training.seed", self.seed, in_toml, "at most 9223372036854775807")?;
        if let Some(steps) = self.max_steps {
            require("training.max_steps", steps, steps >= 1, "at least 1")?;
        }
        match (self.warmup_steps, self.warmup_ratio) {
            (Some(_), Some(ratio)) => {
                Err(refusal("training.warmup_ratio", ratio, "absent beside warmup_steps"))
            }
            (None, Some(ratio)) => {
                require("training.warmup_ratio", ratio, fraction(ratio), "from 0 to below 1")
            }
            _ => Ok(()),
        }
    }
}

fn require(
    key: &'static str,
    found: impl fmt::Display,
    holds: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(refusal(key, found, expected)) }
}

fn refusal(key: &'static str, found: impl fmt::Display, expected: &'static str) -> Error {
    Error::Config { key, found: found.to_string(), expected }
}
