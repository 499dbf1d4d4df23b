//! Layers on a processor; the portable forms beside them are the oracles.

pub mod int8;
