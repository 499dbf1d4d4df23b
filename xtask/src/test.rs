//! `cargo xtask test`: every test, then every example in the documentation.

use crate::process::{cargo, has_subcommand, run};

/// Runs the tests with nextest where it is installed, with `cargo test` elsewhere.
pub fn run_tests() -> Result<(), String> {
    let cargo = cargo();
    match has_subcommand("nextest") {
        true => run(&cargo, "nextest run --release --workspace --no-fail-fast")?,
        false => run(&cargo, "test --release --workspace --lib --bins --tests --no-fail-fast")?,
    };
    run(&cargo, "test --release --workspace --doc")?;
    Ok(())
}
