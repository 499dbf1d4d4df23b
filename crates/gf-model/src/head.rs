//! What can stand on top of the encoder.

pub mod cell;
pub mod gene;
pub mod masked;
pub mod multi_task;
