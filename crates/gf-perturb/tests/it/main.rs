//! One binary: golden cosines, laws, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../gf-model/tests/it/golden_folder.rs"]
mod golden_folder;

mod golden;
mod golden_small;
mod laws;
mod output;
mod plan;
mod reference;
mod sharing;
mod stats;
mod store;
mod suite;

use golden_folder::golden_folder;

#[test]
fn suite_on_flex() {
    suite::suite::<burn_flex::Flex>(&burn_flex::FlexDevice);
}
