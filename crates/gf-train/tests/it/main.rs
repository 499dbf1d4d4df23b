//! One binary: golden numbers, laws, whole runs, and the generic suite.
#![allow(clippy::unwrap_used)]

#[path = "../../../gf-model/tests/it/golden_folder.rs"]
mod golden_folder;

mod config;
mod golden;
mod masking;
mod pretrain;
mod sampler;
mod suite;

use golden_folder::golden_folder;

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

#[test]
fn suite_on_flex() {
    suite::suite::<TestBackend>(&Default::default());
}
