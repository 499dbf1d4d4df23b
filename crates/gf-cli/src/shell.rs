//! What the user sees while a command runs: tables, progress, a JSON summary.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{args::Common, failure::Failure};

/// Set by Ctrl-C; long commands look at it between batches.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Without a terminal a line of progress appears this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where a command prints, and what.
pub struct Shell {
    quiet: bool,
    json: bool,
}

impl Shell {
    /// Also sets the number of threads and catches Ctrl-C and SIGTERM: the first asks
    /// the command to stop, the second ends it and may leave a temporary folder.
    pub fn new(common: &Common) -> Self {
        if let Some(threads) = common.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get());
            if let Err(error) = pool.build_global() {
                eprintln!("warning: --threads is not in effect: {error}");
            }
        }
        let caught = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(error) = caught {
            eprintln!("warning: Ctrl-C is not caught: {error}");
        }
        Self { quiet: common.quiet, json: common.json }
    }

    /// Prints a line or a table for a person.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn say(&self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.quiet || self.json {
            return Ok(());
        }
        print(&text.to_string())
    }

    /// Prints the summary of a command where `--json` asks for it.
    ///
    /// # Errors
    ///
    /// The summary cannot be written as JSON.
    pub fn summary(&self, summary: &impl Serialize) -> Result<(), Failure> {
        match self.json {
            true => print(&serde_json::to_string(summary)?),
            false => Ok(()),
        }
    }

    /// A bar on a terminal's standard error, plain lines elsewhere.
    pub fn progress(&self, verb: &'static str, unit: &'static str) -> Meter {
        let bar = (!self.quiet && std::io::stderr().is_terminal()).then(|| bar(verb, unit));
        Meter { verb, unit, bar, quiet: self.quiet, started: Instant::now(), last: Instant::now() }
    }
}

/// A reader that closed the pipe has seen what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Error(format!("standard output: {error}").into())),
        Ok(()) => Ok(()),
    }
}

/// Whether Ctrl-C was pressed, as the libraries' callbacks want to know it.
fn go_on() -> ControlFlow<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

fn bar(verb: &str, unit: &str) -> ProgressBar {
    let template = format!("{verb} {{wide_bar}} {{pos}}/{{len}} {unit} {{msg}} {{eta}} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Progress of one long command.
pub struct Meter {
    verb: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    quiet: bool,
    started: Instant,
    last: Instant,
}

impl Meter {
    /// Shows how far the command has come; says whether it shall go on.
    pub fn update(&mut self, done: u64, total: u64, message: &str) -> ControlFlow<()> {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(message.to_owned());
                if done >= total {
                    bar.finish_and_clear();
                }
            }
            None if !self.quiet && self.last.elapsed() >= LINE_EVERY => {
                self.last = Instant::now();
                eprintln!(
                    "{} {done}/{total} {} {message} {}",
                    self.verb,
                    self.unit,
                    self.left(done, total)
                );
            }
            None => {}
        }
        go_on()
    }

    fn left(&self, done: u64, total: u64) -> String {
        let pace = self.started.elapsed().as_secs_f64() / done.max(1) as f64;
        format!("{:.0} s left", pace * total.saturating_sub(done) as f64)
    }
}
