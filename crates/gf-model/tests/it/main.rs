//! One binary: golden numbers, the checkpoint round trip, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod checkpoint;
mod config;
mod deletions;
mod dropout;
mod forward;
mod golden;
mod golden_folder;
mod half;
mod input;
mod kernels;
mod suite;
mod torch;

use burn_flex::{Flex, FlexDevice};
use golden_folder::golden_folder;

#[test]
fn suite_on_flex() {
    suite::suite::<Flex>(&FlexDevice);
}

#[test]
fn suite_on_autodiff_flex() {
    suite::suite::<burn::backend::Autodiff<Flex>>(&FlexDevice);
}
