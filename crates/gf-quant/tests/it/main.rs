//! One binary: the number format, golden codes, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod golden;
mod int8;
mod suite;

use burn_flex::{Flex, FlexDevice};

#[test]
fn suite_on_flex() {
    suite::suite::<Flex>(&FlexDevice);
}

#[test]
fn suite_on_autodiff_flex() {
    suite::suite::<burn::backend::Autodiff<Flex>>(&FlexDevice);
}
