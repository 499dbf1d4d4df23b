//! **gf-train** teaches an encoder to guess hidden genes.
//!
//! The nouns, in the order a step meets them: a [`Split`](gf_tokenize::Split) of the data set's rows;
//! the order in which they are seen ([`length_grouped`]); a [`Masking`] that hides
//! tokens of a cell; a [`MaskedBatch`] on the device; the cross entropy of what the
//! model answers ([`predict`]); a [`Schedule`] of learning rates; an [`Optimizer`].
//! [`pretrain`] is the loop around them, told what to do by a [`PretrainConfig`].
//!
//! Everything random is drawn from a stream named by the seed, the purpose, the
//! epoch and the row, so that neither batch composition nor threads change what is
//! drawn. The log and the model folder of a run are written as it goes: a run that
//! is stopped leaves a model that loads.
//!
//! ```
//! use burn::backend::Autodiff;
//! use burn_flex::{Flex, FlexDevice};
//! use gf_model::{EncoderConfig, Preset};
//! use gf_train::{MaskedBatch, Masking, Optimizer, StepPlan, train_step};
//! use rand::SeedableRng;
//!
//! let device = FlexDevice::default();
//! let config = EncoderConfig {
//!     vocab_size: 9,
//!     num_hidden_layers: 1,
//!     ..EncoderConfig::preset(Preset::V1_10M)
//! };
//! let mut model = config.init_masked_lm::<Autodiff<Flex>>(&device)?;
//! let mut optimizer = Optimizer::new(0.044, 1.0);
//!
//! let masking = Masking { probability: 0.5, mask_token: 1, vocab_size: 9, never_selected: vec![] };
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
//! let row = masking.mask(&[2, 4, 8, 5, 7, 6, 3], &mut rng);
//! let batch = MaskedBatch::new(&[row], config.pad_token_id, &device);
//! let plan = StepPlan { learning_rate: 1e-3, n_predicted: batch.n_predicted(), workers: 1 };
//! let report = train_step(&mut model, &mut optimizer, &[batch], plan);
//! assert!(report.loss > 0.0 && report.grad_norm > 0.0);
//! # Ok::<(), gf_model::Error>(())
//! ```
//!
//! This crate must never know what a perturbation is, nor which device it runs on.

mod config;
mod sampler;

mod masking;

mod loss;
mod step;

mod optimizer;
mod schedule;

pub mod checkpoint;
mod task;

mod pretrain;
mod tracking;

mod error;
mod random;

pub use checkpoint::{TrainerState, save_checkpoint};
pub use config::{CheckedConfig, ModelTable, PretrainConfig, TrainingTable};
pub use error::Error;
pub use loss::cross_entropy;
pub use masking::{MaskedBatch, MaskedRow, Masking};
pub use optimizer::Optimizer;
pub use pretrain::{PretrainSummary, Progress, pretrain};
pub use sampler::length_grouped;
pub use schedule::{Decay, Schedule};
pub use step::{
    Evaluation, StepPlan, StepReport, evaluate, loss_and_gradients, predict, train_step,
};
pub use tracking::{CONFIG_FILE, EVALUATION_FILE, LOG_FILE, LogRow};
