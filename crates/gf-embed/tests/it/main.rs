//! One binary: golden embeddings, laws, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod batches;
mod golden;
mod suite;
mod table;

#[test]
fn suite_on_flex() {
    suite::suite::<burn_flex::Flex>(&burn_flex::FlexDevice);
}
