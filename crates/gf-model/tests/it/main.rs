//! One binary: golden numbers, the checkpoint round trip, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod checkpoint;
mod config;
mod dropout;
mod golden;
mod half;
mod input;
mod kernels;
mod suite;
mod torch;

use burn_flex::{Flex, FlexDevice};

/// `../shared/golden`, or a loud `None` where it is absent.
fn golden_folder() -> Option<std::path::PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
    let folder = std::path::Path::new(&shared).join("golden");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is absent", folder.display());
    None
}

#[test]
fn suite_on_flex() {
    suite::suite::<Flex>(&FlexDevice);
}

#[test]
fn suite_on_autodiff_flex() {
    suite::suite::<burn::backend::Autodiff<Flex>>(&FlexDevice);
}
