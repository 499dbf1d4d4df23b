//! A run's model folder: loadable by `transformers` and by every `gf` command.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use gf_model::{EncoderConfig, MaskedLm, checkpoint::save_masked_lm};
use gf_tokenize::{ModelTokens, VOCABULARY_FILE, Vocabulary};
use serde::Serialize;

use crate::{Error, Evaluation};

/// Name of the model folder inside a run folder.
pub const MODEL_FOLDER: &str = "model";
/// Name of the file that says how far the training of a model folder has come.
pub const STATE_FILE: &str = "trainer_state.json";

/// How far training had come when a model folder was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainerState {
    /// Version of this file's layout.
    pub format_version: u32,
    /// Name and version of what wrote it.
    pub produced_by: String,
    /// Steps done.
    pub step: u64,
    /// Steps planned.
    pub steps_total: u64,
    /// Epochs begun.
    pub epoch: u64,
    /// Loss of the last step, in nats.
    pub loss: Option<f64>,
    /// The last evaluation on held-out rows.
    pub evaluation: Option<Evaluation>,
    /// Seed of the run.
    pub seed: u64,
    /// Content hash of the vocabulary.
    pub vocabulary: String,
}

/// Writes `run/model` beside its place and renames it there; an older one is put
/// aside first and removed last, so that at any moment one of the two is complete.
///
/// # Errors
///
/// A file cannot be written.
pub fn save_checkpoint<B: Backend>(
    run: &Path,
    config: &EncoderConfig,
    model: &MaskedLm<B>,
    vocabulary: &Vocabulary,
    tokens: Option<&ModelTokens>,
    state: &TrainerState,
) -> Result<PathBuf, Error> {
    let beside =
        tempfile::Builder::new().prefix(".model-").tempdir_in(run).map_err(Error::io(run))?;
    let folder = beside.path().join("new");
    save_masked_lm(&folder, config, model)?;
    vocabulary.write_tsv(&folder.join(VOCABULARY_FILE))?;
    if let Some(tokens) = tokens {
        tokens.write(&folder)?;
    }
    let path = folder.join(STATE_FILE);
    fs::write(&path, to_json(state)).map_err(Error::io(path))?;
    let target = run.join(MODEL_FOLDER);
    replace(&folder, &target, &beside.path().join("old")).map_err(Error::io(&target))?;
    Ok(target)
}

fn to_json(state: &TrainerState) -> String {
    format!("{:#}\n", serde_json::json!(state))
}

fn replace(new: &Path, target: &Path, old: &Path) -> io::Result<()> {
    let had_old = target.exists();
    if had_old {
        fs::rename(target, old)?;
    }
    fs::rename(new, target).inspect_err(|_| {
        if had_old {
            let _ = fs::rename(old, target);
        }
    })
}
