//! Tasks of this repository that Cargo cannot express: `cargo xtask <task>`.
//!
//! A task starts cargo and the binary `gf` as processes; it depends on none of
//! our crates and must never know the science.

mod bench;
mod ci;
mod demo;
mod layers;
mod process;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <task>

  demo    real cells to a ranking of genes and a report, under target/demo
  test    every test that passes on a fresh machine
  bench encoder [--python PYTHON]
          tokens per CPU second, beside PyTorch where a Python that has it is named
  layers  check which crate may depend on which
  ci      what .ci/run does after the tests: format, clippy, layers, docs,
          wgpu suite, CUDA type check, licences
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [bench, encoder, option, python] = arguments.as_slice()
        && [bench, encoder, option] == ["bench", "encoder", "--python"]
    {
        return finish(bench::encoder_beside(python));
    }
    let task: fn() -> Result<(), String> =
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["demo"] => demo::run_demo,
            ["test"] => test::run_tests,
            ["layers"] => layers::check,
            ["bench", "encoder"] => bench::encoder,
            ["ci"] => ci::run_checks,
            _ => return usage(&arguments),
        };
    finish(task())
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn usage(arguments: &[String]) -> ExitCode {
    if matches!(arguments, [word] if ["help", "-h", "--help"].contains(&word.as_str())) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    eprint!("{HELP}");
    ExitCode::from(2)
}
