//! One binary: golden cosines, laws, and the generic suite.
#![allow(clippy::unwrap_used, missing_docs)]

mod golden;
mod golden_small;
mod laws;
mod output;
mod plan;
mod reference;
mod stats;
mod store;
mod suite;

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
    suite::suite::<burn_flex::Flex>(&burn_flex::FlexDevice);
}
