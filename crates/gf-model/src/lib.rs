//! **gf-model** is the Geneformer encoder: a post-layer-norm BERT over gene tokens.
//!
//! The nouns, in the order of the forward pass: an [`EncoderConfig`] (one of six
//! named [`Preset`]s or a Hugging Face `config.json`) makes an [`Encoder`]; an
//! [`EncoderInput`] (token ids and real lengths) goes through its embeddings and
//! [`layer`]s; a [`MaskedLm`] adds the head that predicts masked genes, a
//! [`CellClassifier`], [`GeneClassifier`] or [`MultiTaskClassifier`] one that is
//! fine-tuned; a [`checkpoint`] folder holds any of them under the names
//! `transformers` uses.
//!
//! Every layer is generic over the backend `B` and over its [`Projection`] `P`,
//! the one seam through which a quantised layer replaces a dense one. Hidden
//! states are counted as in the reference: state 0 is the embedding output, state
//! `k` the output of layer `k`; nothing above the state asked for is computed.
//!
//! ```
//! use burn_flex::{Flex, FlexDevice};
//! use gf_model::{EncoderConfig, EncoderInput, Preset};
//!
//! let device = FlexDevice;
//! let config = EncoderConfig { num_hidden_layers: 2, ..EncoderConfig::preset(Preset::V1_10M) };
//! let encoder = config.init_encoder::<Flex>(&device)?;
//! let input = EncoderInput::<Flex>::from_rows(&[&[7, 30, 12], &[9, 4]], config.pad_token_id, &device);
//! let second_to_last = encoder.cls_state(&input, encoder.n_layers() - 1);
//! assert_eq!(second_to_last.dims(), [2, 256]);
//! # Ok::<(), gf_model::Error>(())
//! ```
//!
//! This crate must never know what a gene, a cell or a data set is, nor how a
//! projection stores its weights.

pub mod checkpoint;
pub mod config;
pub mod projection;

pub mod input;

pub mod embeddings;

pub mod attention;
pub mod feed_forward;
pub mod layer;

pub mod encoder;

pub mod deletions;

pub mod head;

pub mod kernels;

mod error;
mod weights;

pub use config::{EncoderConfig, Preset};
pub use deletions::{Deletions, WithoutTokens};
pub use encoder::Encoder;
pub use error::Error;
pub use head::{
    cell::{CellClassifier, CellHead},
    gene::{GeneClassifier, GeneHead},
    masked::{MaskedHead, MaskedLm},
    multi_task::{MultiTaskClassifier, MultiTaskHead, PooledTokens, Pooling},
};
pub use input::EncoderInput;
pub use projection::{PackedLinear, Projection};
