//! `cargo xtask ci`: what .ci/run does after the tests. Cheap checks first; a
//! failure stops the run.

use std::time::Duration;

use crate::{
    layers,
    process::{cargo, pretty, run_with},
};

/// A step's name, its arguments to cargo, its environment.
type Step = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The steps after `layers`. Each feature set costs minutes of building: the
/// wgpu suite has its own build, CUDA is only type-checked, and clippy, docs and
/// that check share what they can.
const STEPS: [Step; 6] = [
    ("format", "fmt --all --check", &[]),
    ("licences", "deny --log-level error check bans licenses sources", &[]),
    ("clippy", "clippy --release --workspace --all-targets -- -D warnings", &[]),
    ("documentation", "doc --release --workspace --no-deps", &[("RUSTDOCFLAGS", "-D warnings")]),
    ("CUDA, types only", "check --release -p gf-cli --features cuda", &[]),
    ("wgpu suite", "nextest run --release -p gf-cli --features wgpu --test wgpu", &[]),
];

/// Runs every step and prints the time each took.
pub fn run_checks() -> Result<(), String> {
    layers::check()?;
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let failure = STEPS.iter().find_map(|(name, arguments, environment)| {
        println!("\n== {name}");
        match run_with(&cargo(), arguments, environment) {
            Ok(time) => {
                times.push((name, time));
                None
            }
            Err(message) => Some(message),
        }
    });
    print_table(&times);
    failure.map_or(Ok(()), Err)
}

fn print_table(times: &[(&str, Duration)]) {
    println!();
    for (name, time) in times {
        println!("{name:<20}{:>14}", pretty(*time));
    }
    println!("{:<20}{:>14}", "total", pretty(times.iter().map(|(_, time)| *time).sum()));
}
