//! **gf-quant** stores the encoder's projections in eight or four bits, and fine-tunes
//! over them.
//!
//! [`nf4`] (with [`double`]) and [`int8`] are the number formats on plain slices.
//! [`Nf4Linear`] and [`Int8Linear`] hold such matrices behind gf-model's
//! [`Projection`](gf_model::Projection) on any backend; [`quantize_nf4`] and
//! [`quantize_int8`] convert a whole encoder. Embeddings, layer norms and heads stay in
//! floating point, as in the reference (REFERENCE.md §7.5).
//!
//! [`checkpoint`] reads and writes such models in the layout of bitsandbytes, without ever
//! holding their dense projections; [`footprint`] counts their bytes. [`lora`] trains
//! low-rank adapters over any projection, in PEFT's folders, and [`recompute`] does so in
//! the memory of one layer: over [`Nf4Linear`] that is QLoRA.
//!
//! ```
//! use burn_flex::{Flex, FlexDevice};
//! use gf_model::{EncoderConfig, EncoderInput, Preset};
//!
//! let config = EncoderConfig { num_hidden_layers: 1, ..EncoderConfig::preset(Preset::V1_10M) };
//! let encoder = config.init_encoder::<Flex>(&FlexDevice)?;
//! let encoder = gf_quant::quantize_int8(encoder, gf_quant::int8::Activations::Float);
//! // A quarter of the f32 weights, and a scale and a bias per output channel.
//! let bytes = gf_quant::projection_bytes(&encoder);
//! assert_eq!(bytes, 524_288 + 8 * (4 * 256 + 512 + 256));
//! let input = EncoderInput::from_rows(&[&[7, 30, 12]], 0, &FlexDevice);
//! assert_eq!(encoder.cls_state(&input, 1).dims(), [1, 256]);
//!
//! // The paper's adapter for cell tasks beside the frozen projections.
//! use gf_quant::lora::{LoraAdapter, LoraConfig, attach, with_adapters};
//! let adapter = LoraAdapter::init(LoraConfig::cell_task(), &config, &FlexDevice)?;
//! let mut encoder = with_adapters(encoder);
//! attach(&mut encoder, &adapter);
//! assert_eq!(encoder.cls_state(&input, 1).dims(), [1, 256]);
//! # Ok::<(), gf_quant::Error>(())
//! ```
//!
//! This crate must never know about data sets or training loops.

pub mod double;
pub mod int8;
pub mod nf4;

mod kernels;
mod linear;
mod words;

pub mod lora;
pub mod recompute;

pub mod checkpoint;
mod convert;
mod error;
pub mod footprint;
mod tensors;

pub use convert::{projection_bytes, quantize_int8, quantize_nf4};
pub use error::Error;
pub use linear::{StoredBytes, int8::Int8Linear, nf4::Nf4Linear};
