//! One binary: golden numbers, laws, whole runs, and the generic suite.
#![allow(clippy::unwrap_used)]

mod config;
mod golden;
mod masking;
mod pretrain;
mod sampler;
mod suite;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Plain CPU backend of the tests.
type Inner = burn_flex::Flex;
/// The same with gradients.
type TestBackend = burn::backend::Autodiff<Inner>;

/// Flex draws weights and dropout from one generator per process; tests that need
/// its numbers to repeat hold this while they run (`cargo test` runs tests as
/// threads of one process, nextest does not).
fn generator_lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    suite::suite::<TestBackend>(&Default::default());
}
