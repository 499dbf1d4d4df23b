//! The run folder's tables: what every step and every evaluation measured.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{Error, Evaluation};

/// Name of the table of steps inside a run folder; see [`LogRow`].
pub const LOG_FILE: &str = "log.csv";
/// Name of the table of evaluations inside a run folder: `step`, `epoch`, `loss`
/// (nats), `accuracy` (fraction), `n_predicted`.
pub const EVALUATION_FILE: &str = "evaluation.csv";
/// Name of the copy of the configuration inside a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// One line of `log.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogRow {
    /// Steps done, 1-based.
    pub step: u64,
    /// The epoch the step belongs to, 1-based.
    pub epoch: u64,
    /// Mean cross entropy over the predicted positions, before the update, in nats.
    pub loss: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Tokens of the step, without padding, per second of wall clock.
    pub tokens_per_second: f64,
}

/// A CSV file that grows by one complete line at a time.
pub(crate) struct Log {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Log {
    /// Starts a new file.
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        Ok(Self { path, writer: csv::Writer::from_writer(file) })
    }

    /// Appends a line and hands it to the operating system.
    pub(crate) fn append(&mut self, row: impl Serialize) -> Result<(), Error> {
        self.writer.serialize(row).map_err(Error::log(&self.path))?;
        self.writer.flush().map_err(Error::io(&self.path))
    }
}

/// Adds a line to `evaluation.csv`, which first gets its header.
pub(crate) fn append_evaluation(
    run: &Path,
    step: u64,
    epoch: u64,
    evaluation: &Evaluation,
) -> Result<(), Error> {
    let path = run.join(EVALUATION_FILE);
    let is_new = !path.exists();
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    let writer = csv::WriterBuilder::new().has_headers(is_new).from_writer(file);
    let Evaluation { loss, accuracy, n_predicted } = *evaluation;
    Log { path, writer }.append(EvaluationRow { step, epoch, loss, accuracy, n_predicted })
}

#[derive(Serialize)]
struct EvaluationRow {
    step: u64,
    epoch: u64,
    loss: f64,
    accuracy: f64,
    n_predicted: usize,
}
