//! Starting programs: where the repository is, what was run, how long it took.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// The root of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The cargo that runs this task.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string())
}

/// A command line of words without spaces, run in the root; its output is
/// passed through.
pub fn run(program: &str, arguments: &str) -> Result<Duration, String> {
    run_with(program, arguments, &[])
}

/// [`run`] with environment variables.
pub fn run_with(
    program: &str,
    arguments: &str,
    environment: &[(&str, &str)],
) -> Result<Duration, String> {
    let name = Path::new(program).file_stem().map_or(program.into(), |stem| stem.to_string_lossy());
    println!("$ {name} {arguments}");
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments.split_whitespace())
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    match status.success() {
        true => Ok(start.elapsed()),
        false => Err(format!("`{name} {arguments}` failed with {status}")),
    }
}

/// Standard output of a command, run in the root.
pub fn output(program: &str, arguments: &str) -> Result<Vec<u8>, String> {
    let result = Command::new(program)
        .args(arguments.split_whitespace())
        .current_dir(root())
        .output()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    match result.status.success() {
        true => Ok(result.stdout),
        false => Err(format!(
            "`{program} {arguments}` failed: {}",
            String::from_utf8_lossy(&result.stderr)
        )),
    }
}

/// Whether `cargo NAME` is installed.
pub fn has_subcommand(name: &str) -> bool {
    output(&cargo(), &format!("{name} --version")).is_ok()
}

/// "4 min 07 s", "12.3 s".
pub fn pretty(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(pretty(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(pretty(Duration::from_secs(247)), "4 min 07 s");
    }

    #[test]
    fn failures_name_the_command() {
        assert_eq!(run("false", ""), Err("`false ` failed with exit status: 1".to_string()));
        assert!(run("/nowhere/gf", "embed").is_err());
    }
}
