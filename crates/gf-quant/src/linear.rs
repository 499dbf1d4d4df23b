//! Quantised layers behind gf-model's `Projection`.

pub mod int8;
