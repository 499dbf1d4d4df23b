//! One binary: golden cosines, laws, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod golden;
mod laws;
mod output;
mod suite;

#[test]
fn suite_on_flex() {
    suite::suite::<burn_flex::Flex>(&burn_flex::FlexDevice);
}
