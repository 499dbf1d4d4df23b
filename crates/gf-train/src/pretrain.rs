//! The loop: epochs of steps, a log, a model folder.

use std::{
    fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use atomic_write_file::AtomicWriteFile;
use burn::{
    module::{AutodiffModule, Module},
    tensor::backend::AutodiffBackend,
};
use gf_model::MaskedLm;
use gf_tokenize::Dataset;
use rand::Rng;
use serde::Serialize;

use crate::{
    Error, Evaluation, LogRow, Optimizer, PretrainConfig, StepPlan, StepReport, TrainerState,
    checkpoint::{MODEL_FOLDER, save_checkpoint},
    evaluate,
    random::{Purpose, stream},
    task::Task,
    tracking::{CONFIG_FILE, LOG_FILE, Log, append_evaluation},
    train_step,
};

/// How far a run has come; given to the caller after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps_total: u64,
    /// The epoch under way, 1-based.
    pub epoch: u64,
    /// Loss of the last step, in nats.
    pub loss: f64,
    /// Tokens per second of wall clock since the run began, without padding.
    pub tokens_per_second: f64,
    /// Wall clock to the end at the mean pace so far, in seconds.
    pub seconds_left: f64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PretrainSummary {
    /// The model folder.
    pub model: PathBuf,
    /// The log, one line per step.
    pub log: PathBuf,
    /// Parameters of the model, the tied decoder counted once.
    pub n_params: usize,
    /// Rows trained on.
    pub n_train_rows: usize,
    /// Rows held out.
    pub n_held_out_rows: usize,
    /// Steps done.
    pub steps: u64,
    /// Steps planned.
    pub steps_total: u64,
    /// Tokens read in training, without padding.
    pub n_tokens: u64,
    /// Loss of the first step, in nats.
    pub first_loss: Option<f64>,
    /// Mean loss of the last epoch begun, in nats.
    pub last_epoch_loss: Option<f64>,
    /// The last evaluation on held-out rows.
    pub evaluation: Option<Evaluation>,
    /// Wall clock of the whole run, in seconds.
    pub seconds: f64,
    /// Whether the caller ended the run before its last step.
    pub interrupted: bool,
}

/// Pretrains a masked language model on a data set and leaves a run folder:
/// `model/` (a Hugging Face model with its vocabulary, rewritten after every epoch,
/// at the end and on interruption), `log.csv` (a [`LogRow`] per step),
/// `evaluation.csv` (if rows are held out) and `config.toml` (what was run).
///
/// The same data set, configuration and device give the same bytes of `model/`,
/// whatever the number of threads; the backend's own generator, which draws initial
/// weights and dropout, is seeded here and must not be used by others meanwhile.
///
/// # Errors
///
/// The configuration is refused, the folder already holds a run, a row does not fit
/// the model, the loss is no longer finite, or a file cannot be written.
pub fn pretrain<B: AutodiffBackend>(
    dataset: &Dataset,
    config: &PretrainConfig,
    out: &Path,
    device: &B::Device,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<PretrainSummary, Error> {
    let checked = config.check()?;
    let task = Task::new(dataset, &checked)?;
    create_run_folder(out, config)?;
    let mut run = Run::<B>::start(&task, out, device)?;
    for epoch in 1..=checked.training().epochs {
        if run.epoch(&task, epoch, progress)?.is_break() {
            break;
        }
    }
    Ok(run.finish())
}

/// What changes from step to step.
struct Run<B: AutodiffBackend> {
    folder: PathBuf,
    device: B::Device,
    model: MaskedLm<B>,
    optimizer: Optimizer<B, MaskedLm<B>>,
    log: Log,
    begun: Instant,
    epoch: u64,
    epoch_losses: Vec<f64>,
    summary: PretrainSummary,
}

impl<B: AutodiffBackend> Run<B> {
    fn start(task: &Task<'_>, folder: &Path, device: &B::Device) -> Result<Self, Error> {
        let training = task.config.training();
        B::seed(device, stream(training.seed, Purpose::Weights, 0, 0).next_u64());
        let model = task.encoder.init_masked_lm::<B>(device)?;
        // Burn draws weights when they are first looked at: here, before any dropout.
        let n_params = model.num_params();
        let optimizer = Optimizer::new(training.weight_decay, training.max_grad_norm);
        Ok(Self {
            folder: folder.to_owned(),
            device: device.clone(),
            model,
            optimizer,
            log: Log::create(folder.join(LOG_FILE))?,
            begun: Instant::now(),
            epoch: 0,
            epoch_losses: Vec::new(),
            summary: PretrainSummary::planned(task, folder, n_params),
        })
    }

    /// Trains on every row once, then evaluates and saves; breaks off when the
    /// caller says so.
    fn epoch(
        &mut self,
        task: &Task<'_>,
        epoch: u64,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        self.epoch = epoch;
        self.epoch_losses.clear();
        for rows in task.batches(epoch) {
            if let Some(report) = self.step(task, &rows)?
                && progress(self.progress(&report)).is_break()
            {
                self.summary.interrupted = !self.is_done();
                break;
            }
            if self.is_done() {
                break;
            }
        }
        if !self.summary.interrupted {
            self.evaluate(task)?;
        }
        self.save(task)?;
        let ends = self.summary.interrupted || self.is_done();
        Ok(if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// One step; `None` if chance selected no position to predict.
    fn step(&mut self, task: &Task<'_>, rows: &[usize]) -> Result<Option<StepReport>, Error> {
        let begun = Instant::now();
        let learning_rate = task.schedule.at(self.summary.steps);
        let seed = task.config.training().seed;
        B::seed(&self.device, stream(seed, Purpose::Dropout, 0, self.summary.steps).next_u64());
        self.summary.steps += 1;
        let rows = task.mask(rows, Purpose::Mask, self.epoch)?;
        let n_predicted: usize = rows.iter().map(|row| row.labels.len()).sum();
        if n_predicted == 0 {
            return Ok(None);
        }
        let batches: Vec<_> = task.micro_batches(&rows, &self.device).collect();
        let plan = StepPlan { learning_rate, n_predicted, workers: task.config.training().workers };
        let report = train_step(&mut self.model, &mut self.optimizer, &batches, plan);
        // A finite loss can come with gradients that are not; they are in the weights by now.
        if !(report.loss.is_finite() && report.grad_norm.is_finite()) {
            return Err(Error::Diverged { step: self.summary.steps, loss: report.loss });
        }
        self.record(&report, learning_rate, begun.elapsed().as_secs_f64())?;
        Ok(Some(report))
    }

    fn record(
        &mut self,
        report: &StepReport,
        learning_rate: f64,
        seconds: f64,
    ) -> Result<(), Error> {
        self.epoch_losses.push(report.loss);
        self.summary.n_tokens += report.n_tokens as u64;
        self.summary.first_loss.get_or_insert(report.loss);
        self.log.append(LogRow {
            step: self.summary.steps,
            epoch: self.epoch,
            loss: report.loss,
            learning_rate,
            grad_norm: report.grad_norm,
            tokens_per_second: report.n_tokens as f64 / seconds,
        })
    }

    fn progress(&self, report: &StepReport) -> Progress {
        let PretrainSummary { steps, steps_total, n_tokens, .. } = self.summary;
        let seconds = self.begun.elapsed().as_secs_f64();
        Progress {
            step: steps,
            steps_total,
            epoch: self.epoch,
            loss: report.loss,
            tokens_per_second: n_tokens as f64 / seconds,
            seconds_left: seconds / steps as f64 * (steps_total - steps) as f64,
        }
    }

    fn is_done(&self) -> bool {
        self.summary.steps >= self.summary.steps_total
    }

    /// Evaluates the held-out rows, masked the same way every time.
    fn evaluate(&mut self, task: &Task<'_>) -> Result<(), Error> {
        let rows = task.mask(&task.split.valid, Purpose::HeldOutMask, 0)?;
        let batches = task.micro_batches::<B::InnerBackend>(&rows, &self.device);
        let Some(evaluation) = evaluate(&self.model.valid(), batches) else { return Ok(()) };
        self.summary.evaluation = Some(evaluation);
        append_evaluation(&self.folder, self.summary.steps, self.epoch, &evaluation)
    }

    fn save(&mut self, task: &Task<'_>) -> Result<(), Error> {
        let state = TrainerState {
            format_version: 1,
            produced_by: concat!("gf-train ", env!("CARGO_PKG_VERSION")).to_owned(),
            step: self.summary.steps,
            steps_total: self.summary.steps_total,
            epoch: self.epoch,
            loss: self.epoch_losses.last().copied(),
            evaluation: self.summary.evaluation,
            seed: task.config.training().seed,
            vocabulary: task.vocabulary.content_hash().to_owned(),
        };
        let model = self.model.valid();
        let tokens = task.tokens();
        let (folder, vocabulary) = (&self.folder, task.vocabulary);
        save_checkpoint(folder, &task.encoder, &model, vocabulary, tokens.as_ref(), &state)?;
        Ok(())
    }

    fn finish(self) -> PretrainSummary {
        let n = self.epoch_losses.len();
        PretrainSummary {
            last_epoch_loss: (n > 0).then(|| self.epoch_losses.iter().sum::<f64>() / n as f64),
            seconds: self.begun.elapsed().as_secs_f64(),
            ..self.summary
        }
    }
}

impl PretrainSummary {
    fn planned(task: &Task<'_>, folder: &Path, n_params: usize) -> Self {
        Self {
            model: folder.join(MODEL_FOLDER),
            log: folder.join(LOG_FILE),
            n_params,
            n_train_rows: task.split.train.len(),
            n_held_out_rows: task.split.valid.len(),
            steps: 0,
            steps_total: task.schedule.total_steps,
            n_tokens: 0,
            first_loss: None,
            last_epoch_loss: None,
            evaluation: None,
            seconds: 0.0,
            interrupted: false,
        }
    }
}

/// Makes the run folder, refusing one that holds a run, and notes what is run.
fn create_run_folder(folder: &Path, config: &PretrainConfig) -> Result<(), Error> {
    if [LOG_FILE, CONFIG_FILE, MODEL_FOLDER].iter().any(|name| folder.join(name).exists()) {
        return Err(Error::RunExists { path: folder.to_owned() });
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(CONFIG_FILE);
    let text = toml::to_string(config)
        .map_err(|source| Error::ConfigWrite { path: path.clone(), source: Box::new(source) })?;
    let mut file = AtomicWriteFile::open(&path).map_err(Error::io(&path))?;
    file.write_all(text.as_bytes()).map_err(Error::io(&path))?;
    file.commit().map_err(Error::io(&path))
}
