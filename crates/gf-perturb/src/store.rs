//! Results on disk: an Arrow IPC stream, one record batch per cell.
//!
//! While a run goes on the stream is called `.NAME.partial` and beside it lies
//! `.NAME.journal`: the stream's length in bytes after each whole cell, one a line. A
//! cell is in the journal only when it is on the disk. A run that was killed goes on
//! after the last cell of the journal, and gives the same bytes as one that was not.
//! The first message of the stream is the schema; its metadata say everything the
//! numbers depend on, so results of other settings are not continued but refused.
//!
//! Columns: `row` (u64), `cell_id`, `perturbed` (list of tokens), `affected` (token, null
//! where the numbers are of the cell), `cosine`, and `shift_to_STATE` for each state
//! (null for genes).

mod columns;
mod read;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use arrow2::{
    array::Array,
    chunk::Chunk,
    datatypes::Schema,
    io::ipc::write::{StreamWriter, WriteOptions},
};

pub use self::read::{ShardReader, merge};
use crate::{CellShifts, Error};

/// How an Arrow IPC stream ends: a marker and a message of no bytes.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What a file of results is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardKey {
    /// Everything the numbers depend on.
    pub settings: String,
    /// Names of the states, in the order of [`Effect::shifts`](crate::Effect::shifts).
    pub states: Vec<String>,
    /// Which shard of how many this is, 1-based; `(1, 1)` is all.
    pub shard: (usize, usize),
    /// Cells of the shard.
    pub n_cells: usize,
}

/// A file of results that grows by whole cells.
pub struct ShardWriter {
    path: PathBuf,
    partial: PathBuf,
    journal_path: PathBuf,
    stream: File,
    journal: File,
    schema: Schema,
    n_states: usize,
    /// Bytes of the schema's message.
    n_start: usize,
    n_done: usize,
    n_bytes: u64,
}

impl ShardWriter {
    /// Opens the results at `path` to go on, or starts them.
    ///
    /// # Errors
    ///
    /// They cannot be written, another run is writing them, or they are of another key.
    pub fn open(path: &Path, key: &ShardKey) -> Result<Self, Error> {
        let (partial, journal_path) = (beside(path, "partial"), beside(path, "journal"));
        let schema = columns::schema(key);
        let first = encode(&schema, None).map_err(Error::arrow(path))?;
        let stream = open(&partial)?;
        match stream.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: partial }),
            Err(TryLockError::Error(source)) => return Err(Error::Io { path: partial, source }),
        }
        let journal = open(&journal_path)?;
        let n_states = key.states.len();
        let (n_start, n_done, n_bytes) = (first.len(), 0, first.len() as u64);
        let path = path.to_owned();
        let mut writer = Self {
            path,
            partial,
            journal_path,
            stream,
            journal,
            schema,
            n_states,
            n_start,
            n_done,
            n_bytes,
        };
        writer.recover(&first)?;
        Ok(writer)
    }

    /// Cells that are there already.
    pub fn n_done(&self) -> usize {
        self.n_done
    }

    /// Adds a cell; when this returns a kill does not lose it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn push(&mut self, cell: &CellShifts) -> Result<(), Error> {
        let chunk = columns::chunk(cell, self.n_states).map_err(Error::arrow(&self.path))?;
        let bytes = encode(&self.schema, Some(&chunk)).map_err(Error::arrow(&self.path))?;
        let bytes = &bytes[self.n_start..];
        let written = self.stream.write_all(bytes).and_then(|()| self.stream.sync_data());
        written.map_err(Error::io(&self.partial))?;
        self.n_bytes += bytes.len() as u64;
        let line = format!("{}\n", self.n_bytes);
        let noted = self.journal.write_all(line.as_bytes()).and_then(|()| self.journal.sync_data());
        noted.map_err(Error::io(&self.journal_path))?;
        self.n_done += 1;
        Ok(())
    }

    /// Ends the stream and gives it its name.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        let ended = self.stream.write_all(&END_OF_STREAM).and_then(|()| self.stream.sync_all());
        ended.map_err(Error::io(&self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(Error::io(&self.path))?;
        fs::remove_file(&self.journal_path).map_err(Error::io(&self.journal_path))
    }

    /// Keeps the whole cells of an earlier run and cuts off what follows them.
    fn recover(&mut self, schema: &[u8]) -> Result<(), Error> {
        let mut found = vec![0; schema.len()];
        let n_bytes = self.stream.metadata().map_err(Error::io(&self.partial))?.len();
        let has_schema = self.stream.read_exact(&mut found).is_ok();
        let mut ends = Vec::new();
        if has_schema && found == schema {
            let mut lines = String::new();
            self.journal.read_to_string(&mut lines).map_err(Error::io(&self.journal_path))?;
            ends = whole_cells(&lines, n_bytes);
        } else if has_schema {
            return Err(Error::OtherRun { path: self.partial.clone() });
        } else {
            let started = self.stream.rewind().and_then(|()| self.stream.write_all(schema));
            started.map_err(Error::io(&self.partial))?;
        }
        self.n_done = ends.len();
        self.n_bytes = ends.last().copied().unwrap_or(schema.len() as u64);
        let lines: String = ends.iter().map(|end| format!("{end}\n")).collect();
        cut(&mut self.stream, self.n_bytes).map_err(Error::io(&self.partial))?;
        cut(&mut self.journal, 0)
            .and_then(|()| self.journal.write_all(lines.as_bytes()))
            .and_then(|()| self.journal.sync_data())
            .map_err(Error::io(&self.journal_path))
    }
}

/// `.NAME.end` beside a file.
fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{end}"))
}

fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io(path))
}

fn cut(file: &mut File, n_bytes: u64) -> std::io::Result<()> {
    file.set_len(n_bytes)?;
    file.seek(SeekFrom::Start(n_bytes)).map(drop)
}

/// The ends of cells in the journal's whole lines that the stream reaches.
fn whole_cells(lines: &str, n_bytes: u64) -> Vec<u64> {
    let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let ends = whole.lines().map_while(|line| line.parse().ok());
    ends.take_while(|&end: &u64| end <= n_bytes).collect()
}

/// The bytes of a stream with at most one batch, and without its end.
fn encode(
    schema: &Schema,
    chunk: Option<&Chunk<Box<dyn Array>>>,
) -> Result<Vec<u8>, arrow2::error::Error> {
    let mut writer = StreamWriter::new(Vec::new(), WriteOptions { compression: None });
    writer.start(schema, None)?;
    chunk.map_or(Ok(()), |chunk| writer.write(chunk, None))?;
    Ok(writer.into_inner())
}
