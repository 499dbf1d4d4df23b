//! Examples of the libraries at work. This one is the README's; Cargo compiles
//! and runs it with the documentation tests.
//!
#![doc = include_str!("../../README.md")]
