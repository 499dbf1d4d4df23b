//! `progress.json`: what of a data set is finished, so that a run that was killed goes on.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3Default;

use super::manifest::{read_json, write_json};
use crate::{
    error::{Error, Result},
    output::at,
};

/// A longer journal is none of ours: a report and a line for each of a million shards take less.
const MAX_JOURNAL_BYTES: u64 = 1 << 28;

const BUFFER_BYTES: usize = 1 << 20;

/// What is finished of a data set that is being written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Journal {
    /// What the data set is made of; another key is another data set.
    pub(super) key: String,
    pub(super) shards: Vec<FinishedShard>,
    /// What the caller had to say when the last shard was finished.
    pub(super) state: Value,
}

/// A complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FinishedShard {
    pub(super) rows: usize,
    /// XXH3-64 of its bytes.
    pub(super) xxh3: u64,
}

impl Journal {
    const FILE: &str = "progress.json";

    /// The journal of a partial folder if it has the key and every shard it lists is as it says;
    /// anything else is no reason to fail, but to start anew.
    pub(super) fn read(partial: &Path, folder: &Path, key: &str) -> Result<Option<Self>> {
        let path = partial.join(Self::FILE);
        let is_ours = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_JOURNAL_BYTES);
        let journal = match is_ours.then(|| read_json::<Self>(&path)) {
            Some(Ok(Some(journal))) if journal.key == key => journal,
            Some(Err(error @ Error::Io { .. })) => return Err(error),
            _ => return Ok(None),
        };
        unname_shards(folder)?;
        for (idx, shard) in journal.shards.iter().enumerate() {
            if hash_file(&unnamed_shard(folder, idx)).ok() != Some(shard.xxh3) {
                return Ok(None);
            }
        }
        Ok(Some(journal))
    }

    /// Replaces the journal of a partial folder.
    pub(super) fn write(&self, partial: &Path) -> Result<()> {
        write_json(&partial.join(Self::FILE), self)
    }
}

/// A shard before the number of all is known.
pub(super) fn unnamed_shard(folder: &Path, idx: usize) -> PathBuf {
    folder.join(format!("shard-{idx:05}.arrow"))
}

/// Takes back the names that a run gave just before it was killed.
fn unname_shards(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let idx = name.strip_prefix("data-").and_then(|rest| rest.split_once("-of-"));
        if let Some(idx) = idx.and_then(|(idx, _)| idx.parse().ok()) {
            fs::rename(&path, unnamed_shard(folder, idx)).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest()),
            n => hash.update(&buffer[..n]),
        }
    }
}
