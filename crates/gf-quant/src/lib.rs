//! **gf-quant** stores the encoder's projections in eight bits.
//!
//! [`int8`] is the number format on plain slices: each output channel of a weight
//! matrix is scaled by its absolute maximum and rounded to −127…127. [`Int8Linear`]
//! holds such a matrix behind gf-model's [`Projection`](gf_model::Projection), four
//! codes to a 32-bit integer, on any backend; [`quantize_int8`] converts a whole
//! encoder. Embeddings, layer norms and heads stay in floating point, as in the
//! reference (REFERENCE.md §7.5); activations do too.
//!
//! ```
//! use burn_flex::{Flex, FlexDevice};
//! use gf_model::{EncoderConfig, EncoderInput, Preset};
//!
//! let config = EncoderConfig { num_hidden_layers: 1, ..EncoderConfig::preset(Preset::V1_10M) };
//! let encoder = config.init_encoder::<Flex>(&FlexDevice)?;
//! let encoder = gf_quant::quantize_int8(encoder);
//! // A quarter of the f32 weights, and a scale and a bias per output channel.
//! let bytes = gf_quant::projection_bytes(&encoder);
//! assert_eq!(bytes, 524_288 + 8 * (4 * 256 + 512 + 256));
//! let input = EncoderInput::from_rows(&[&[7, 30, 12]], 0, &FlexDevice);
//! assert_eq!(encoder.cls_state(&input, 1).dims(), [1, 256]);
//! # Ok::<(), gf_model::Error>(())
//! ```
//!
//! This crate must never know about data sets or training loops.

pub mod int8;

mod linear;

mod convert;

pub use convert::{projection_bytes, quantize_int8};
pub use linear::int8::Int8Linear;
