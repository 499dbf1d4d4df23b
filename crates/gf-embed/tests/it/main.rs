//! One binary: golden embeddings, laws, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../gf-model/tests/it/golden_folder.rs"]
mod golden_folder;

mod analyses;
mod batches;
mod files;
mod golden;
mod kept_means;
mod maps;
mod states;
mod suite;
mod table;

use golden_folder::golden_folder;

#[test]
fn suite_on_flex() {
    suite::suite::<burn_flex::Flex>(&burn_flex::FlexDevice);
}
