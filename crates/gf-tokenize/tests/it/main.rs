//! The crate against the reference's own output, against slow oracles and against broken files.
#![allow(clippy::unwrap_used)]

mod batch;
mod corrupt;
mod folder;
mod golden_datasets;
mod golden_tokens;
mod laws;
mod reference;
mod layouts;
mod resume;
mod suite;
mod support;
mod tokenizer;
mod typed;
mod vocabulary;
