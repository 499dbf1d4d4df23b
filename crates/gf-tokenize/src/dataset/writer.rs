//! Writes a data set folder row by row, in bounded memory.

use std::{fs, path::Path};

use arrow2::datatypes::Schema;
use gf_corpus::{MetadataKind, MetadataValue};
use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    journal::{FinishedShard, Journal, unnamed_shard},
    manifest::{Manifest, write_json},
    rows::{Row, Rows, check},
    schema::{
        DataFile, INFO_FILE, STATE_FILE, State, VOCABULARY_FILE, arrow_schema, check_columns,
        dataset_info,
    },
    shard::{ShardWriter, encode_error},
};
use crate::{
    error::{Error, Result},
    output::{PendingFolder, at},
    sequence::TokenSequence,
    vocab::Vocabulary,
};

/// Rows of an Arrow batch, as `datasets` writes them.
const BATCH_ROWS: usize = 1_000;

/// How to write a data set.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Names of the metadata columns and what they hold, in order. Default: none.
    pub columns: Vec<(String, MetadataKind)>,
    /// Whether each row has a list `counts` beside its tokens, as the reference's `keep_counts`.
    /// Default: no.
    pub counts: bool,
    /// Rows a file holds at most, at least 1. Default: 100,000.
    pub shard_rows: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { columns: Vec::new(), counts: false, shard_rows: 100_000 }
    }
}

/// A data set folder being written, beside its place as `.NAME.partial`. It gets its name when it is
/// finished; dropped before, it leaves nothing behind, or the shards that
/// [`checkpoint`](DatasetWriter::checkpoint) has noted, with which [`resume`](DatasetWriter::resume)
/// goes on. The same rows give the same bytes.
pub struct DatasetWriter {
    folder: PendingFolder,
    schema: Schema,
    options: WriterOptions,
    rows: Rows,
    shard: Option<ShardWriter>,
    journal: Journal,
    /// How many of the journal's shards it has on disk.
    n_noted: usize,
}

impl DatasetWriter {
    /// Starts a folder. A data set of ours that has the name already is replaced at the end.
    ///
    /// # Errors
    /// `out` is something else than a data set of ours, or being written by another run; its parent cannot be
    /// written; a metadata column is named twice or named
    /// `input_ids`, `cell_id`, `counts` or `length`.
    pub fn create(out: &Path, options: WriterOptions) -> Result<Self> {
        check_columns(&options.columns)?;
        let mut folder = PendingFolder::claim(out, is_ours)?;
        folder.empty()?;
        Ok(Self::starting(folder, options, Journal::default()))
    }

    /// Starts a folder, or goes on with one that was begun with the same `key` and broken off: after
    /// its last finished shard, with the state that was given to [`checkpoint`](Self::checkpoint)
    /// then. The key has to say everything that decides the rows: input, encoder, options. Rows that
    /// follow give the same bytes as without the break.
    ///
    /// Anything else that was begun under the name is thrown away, also one whose shards are not as
    /// they were written.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn resume<S: DeserializeOwned>(
        out: &Path,
        options: WriterOptions,
        key: &str,
    ) -> Result<(Self, Option<S>)> {
        check_columns(&options.columns)?;
        let mut folder = PendingFolder::claim(out, is_ours)?;
        let found = Journal::read(folder.partial(), folder.path(), key)?;
        let found = found.and_then(|journal| {
            let state = serde_json::from_value(journal.state.clone()).ok()?;
            Some((journal, state))
        });
        let Some((journal, state)) = found else {
            folder.empty()?;
            let journal = Journal { key: key.to_owned(), ..Journal::default() };
            return Ok((Self::starting(folder, options, journal), None));
        };
        folder.stay();
        Ok((Self::starting(folder, options, journal), Some(state)))
    }

    fn starting(folder: PendingFolder, options: WriterOptions, journal: Journal) -> Self {
        let (schema, rows) = (arrow_schema(&options), Rows::new(&options));
        let n_noted = journal.shards.len();
        Self { folder, schema, options, rows, shard: None, journal, n_noted }
    }

    /// Notes that the shards finished so far are worth keeping, and what the caller has to know to
    /// go on after the row pushed last. Does nothing unless that row finished a shard.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn checkpoint(&mut self, state: &impl Serialize) -> Result<()> {
        if self.journal.shards.len() == self.n_noted {
            return Ok(());
        }
        let json = |source| Error::Json { path: self.folder.partial().into(), source };
        self.journal.state = serde_json::to_value(state).map_err(json)?;
        self.journal.write(self.folder.partial())?;
        self.n_noted = self.journal.shards.len();
        self.folder.stay();
        Ok(())
    }

    /// Where the folder lies until it is finished, and the rows in it that a break would leave.
    pub fn partial(&self) -> (&Path, usize) {
        let noted = &self.journal.shards[..self.n_noted];
        (self.folder.partial(), noted.iter().map(|shard| shard.rows).sum())
    }

    /// Adds a cell with one value per metadata column.
    ///
    /// # Errors
    /// The number of values is wrong, or one is of another kind than its column; the data set keeps
    /// counts ([`push_counted`](Self::push_counted)); a shard cannot be written.
    pub fn push(
        &mut self,
        cell_id: &str,
        tokens: &TokenSequence,
        metadata: &[MetadataValue<'_>],
    ) -> Result<()> {
        self.push_counted(cell_id, tokens, &[], metadata)
    }

    /// Adds a cell with the counts behind its tokens
    /// ([`RankEncoder::normalised`](crate::RankEncoder::normalised)), in CP10k.
    ///
    /// # Errors
    /// As [`push`](Self::push), but for the counts: they are not one per token, or the data set keeps
    /// none.
    pub fn push_counted(
        &mut self,
        cell_id: &str,
        tokens: &TokenSequence,
        counts: &[f64],
        metadata: &[MetadataValue<'_>],
    ) -> Result<()> {
        let row = Row { cell_id, tokens: tokens.tokens(), counts, metadata };
        check(&row, &self.options)?;
        self.rows.push(&row).map_err(encode_error(self.folder.path()))?;
        let in_shard = self.shard.as_ref().map_or(0, ShardWriter::n_rows) + self.rows.len();
        if self.rows.len() == BATCH_ROWS || in_shard >= self.options.shard_rows {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left, the JSON files and the vocabulary, and gives the folder its name.
    ///
    /// `medians_hash` and `max_len` are those of the encoder that made the tokens.
    ///
    /// # Errors
    /// Something cannot be written; something else took the name in the meantime.
    pub fn finish(
        mut self,
        vocabulary: &Vocabulary,
        medians_hash: &str,
        max_len: usize,
    ) -> Result<()> {
        self.flush()?;
        if self.journal.shards.is_empty() && self.shard.is_none() {
            self.open_shard()?;
        }
        self.close_shard()?;
        let manifest = Manifest::new(vocabulary.content_hash(), medians_hash, max_len);
        let state = State::new(self.name_shards()?, self.fingerprint(&manifest));
        let folder = self.folder.path();
        write_json(&folder.join(STATE_FILE), &state)?;
        write_json(&folder.join(INFO_FILE), &dataset_info(&self.options))?;
        vocabulary.write_tsv(&folder.join(VOCABULARY_FILE))?;
        write_json(&folder.join(Manifest::FILE), &manifest)?;
        self.folder.persist()
    }

    /// Writes the rows at hand as one batch.
    fn flush(&mut self) -> Result<()> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let empty = self.rows.alike(&self.options);
        let rows = std::mem::replace(&mut self.rows, empty);
        let shard = match &mut self.shard {
            Some(shard) => shard,
            None => self.open_shard()?,
        };
        shard.write(&rows.into_chunk())?;
        if shard.n_rows() >= self.options.shard_rows {
            self.close_shard()?;
        }
        Ok(())
    }

    fn open_shard(&mut self) -> Result<&mut ShardWriter> {
        let path = unnamed_shard(self.folder.path(), self.journal.shards.len());
        Ok(self.shard.insert(ShardWriter::create(path, &self.schema)?))
    }

    fn close_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.shard.take() {
            let rows = shard.n_rows();
            self.journal.shards.push(FinishedShard { rows, xxh3: shard.finish()? });
        }
        Ok(())
    }

    /// The names of the shards tell their number, which is known only now.
    fn name_shards(&self) -> Result<Vec<DataFile>> {
        let n_shards = self.journal.shards.len();
        let renamed = (0..n_shards).map(|idx| {
            let from = unnamed_shard(self.folder.path(), idx);
            let filename = format!("data-{idx:05}-of-{n_shards:05}.arrow");
            fs::rename(&from, self.folder.path().join(&filename)).map_err(at(&from))?;
            Ok(DataFile { filename })
        });
        renamed.collect()
    }

    /// Tells data sets apart in the cache of `datasets`: a hash of all bytes and what they mean.
    fn fingerprint(&self, manifest: &Manifest) -> String {
        let mut hash = Xxh3Default::new();
        for shard in &self.journal.shards {
            hash.update(&shard.xxh3.to_le_bytes());
        }
        hash.update(manifest.vocabulary_hash.as_bytes());
        hash.update(manifest.medians_hash.as_bytes());
        format!("{:016x}", hash.digest())
    }
}

/// Whether a folder holds a data set of ours and nothing else.
fn is_ours(folder: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder) else { return false };
    let is_known =
        |name: &str| name.ends_with(".arrow") || name.ends_with(".json") || name.ends_with(".tsv");
    let all_known = entries
        .all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_known)));
    all_known && matches!(Manifest::read(folder), Ok(Some(_)))
}
