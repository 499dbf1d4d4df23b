//! What can stand on top of the encoder.

pub mod masked;
