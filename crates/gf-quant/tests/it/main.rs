//! One binary: the number format, golden codes, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod deletions;
mod fixture;
mod golden_int8;
mod golden_nf4;
mod int8;
mod kernels;
mod layouts;
mod lora;
mod nf4;
mod qmodel;
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

#[test]
fn gradients_on_flex() {
    suite::gradients::<burn::backend::Autodiff<Flex>>(&FlexDevice);
}
