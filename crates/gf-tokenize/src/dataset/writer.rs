//! Writes a data set folder row by row, in bounded memory.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow2::{
    array::{
        Array, Int64Array, ListArray, MutableArray, MutableUtf8Array, PrimitiveArray, TryPush,
    },
    chunk::Chunk,
    datatypes::Schema,
    io::ipc::write::{StreamWriter, WriteOptions},
    offset::Offsets,
};
use bytemuck::{cast_slice, cast_slice_mut};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    manifest::{Manifest, write_json},
    schema::{
        DataFile, INFO_FILE, STATE_FILE, State, VOCABULARY_FILE, arrow_schema, check_columns,
        dataset_info,
    },
};
use crate::{
    error::{Error, Result},
    output::{PendingFolder, at},
    sequence::TokenSequence,
    token::TokenId,
    vocab::Vocabulary,
};

/// Rows of an Arrow batch, as `datasets` writes them.
const BATCH_ROWS: usize = 1_000;

/// How to write a data set.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Names of the metadata columns, in order. Default: none.
    pub columns: Vec<String>,
    /// Rows a file holds at most, at least 1. Default: 100,000.
    pub shard_rows: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { columns: Vec::new(), shard_rows: 100_000 }
    }
}

/// A data set folder being written. It gets its name when it is finished; dropped before, it leaves
/// nothing behind. The same rows give the same bytes.
pub struct DatasetWriter {
    folder: PendingFolder,
    schema: Schema,
    options: WriterOptions,
    shard: Option<Shard>,
    n_shards: usize,
    rows: Rows,
    fingerprint: Xxh3Default,
}

struct Shard {
    path: PathBuf,
    stream: StreamWriter<BufWriter<File>>,
    n_rows: usize,
}

impl DatasetWriter {
    /// Starts a folder. A data set of ours that has the name already is replaced at the end.
    ///
    /// # Errors
    /// `out` is something else than a data set of ours; its parent cannot be written; a metadata column is named twice or named
    /// `input_ids`, `cell_id` or `length`.
    pub fn create(out: &Path, options: WriterOptions) -> Result<Self> {
        check_columns(&options.columns)?;
        let folder = PendingFolder::create(out, is_ours)?;
        let schema = arrow_schema(&options.columns);
        let rows = Rows::new(options.columns.len());
        Ok(Self {
            folder,
            schema,
            options,
            shard: None,
            n_shards: 0,
            rows,
            fingerprint: Xxh3Default::new(),
        })
    }

    /// Adds a cell with one value per metadata column.
    ///
    /// # Errors
    /// The number of values is wrong; a shard cannot be written.
    pub fn push(
        &mut self,
        cell_id: &str,
        tokens: &TokenSequence,
        metadata: &[Option<&str>],
    ) -> Result<()> {
        let expected = self.options.columns.len();
        if metadata.len() != expected {
            return Err(Error::RowWidth {
                cell_id: cell_id.into(),
                found: metadata.len(),
                expected,
            });
        }
        let pushed = self.rows.push(cell_id, tokens.tokens(), metadata);
        pushed.map_err(|source| Error::Encode { path: self.folder.path().into(), source })?;
        self.hash_row(cell_id, tokens.tokens(), metadata);
        let in_shard = self.shard.as_ref().map_or(0, |shard| shard.n_rows) + self.rows.len();
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
        if self.n_shards == 0 {
            self.open_shard()?;
        }
        self.close_shard()?;
        let files = self.name_shards()?;
        let folder = self.folder.path();
        let fingerprint = format!("{:016x}", self.fingerprint.digest());
        write_json(&folder.join(STATE_FILE), &State::new(files, fingerprint))?;
        write_json(&folder.join(INFO_FILE), &dataset_info(&self.options.columns))?;
        vocabulary.write_tsv(&folder.join(VOCABULARY_FILE))?;
        let manifest = Manifest::new(vocabulary.content_hash(), medians_hash, max_len);
        write_json(&folder.join(Manifest::FILE), &manifest)?;
        self.folder.persist()
    }

    /// Writes the rows at hand as one batch.
    fn flush(&mut self) -> Result<()> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let n_rows = self.rows.len();
        let chunk = self.rows.take();
        let shard = match &mut self.shard {
            Some(shard) => shard,
            None => self.open_shard()?,
        };
        shard.stream.write(&chunk, None).map_err(encode_error(&shard.path))?;
        shard.n_rows += n_rows;
        if shard.n_rows >= self.options.shard_rows {
            self.close_shard()?;
        }
        Ok(())
    }

    fn open_shard(&mut self) -> Result<&mut Shard> {
        let path = self.unnamed_shard(self.n_shards);
        let file = File::create(&path).map_err(at(&path))?;
        let mut stream =
            StreamWriter::new(BufWriter::new(file), WriteOptions { compression: None });
        stream.start(&self.schema, None).map_err(encode_error(&path))?;
        self.n_shards += 1;
        Ok(self.shard.insert(Shard { path, stream, n_rows: 0 }))
    }

    fn close_shard(&mut self) -> Result<()> {
        let Some(Shard { path, mut stream, .. }) = self.shard.take() else {
            return Ok(());
        };
        stream.finish().map_err(encode_error(&path))?;
        stream.into_inner().flush().map_err(at(&path))
    }

    /// The names of the shards tell their number, which is known only now.
    fn name_shards(&self) -> Result<Vec<DataFile>> {
        let name = |idx| format!("data-{idx:05}-of-{:05}.arrow", self.n_shards);
        let renamed = (0..self.n_shards).map(|idx| {
            let (from, filename) = (self.unnamed_shard(idx), name(idx));
            fs::rename(&from, self.folder.path().join(&filename)).map_err(at(&from))?;
            Ok(DataFile { filename })
        });
        renamed.collect()
    }

    fn unnamed_shard(&self, idx: usize) -> PathBuf {
        self.folder.path().join(format!("shard-{idx:05}.arrow"))
    }

    /// The fingerprint tells data sets apart in the cache of `datasets`.
    fn hash_row(&mut self, cell_id: &str, tokens: &[TokenId], metadata: &[Option<&str>]) {
        self.fingerprint.update(cast_slice(tokens));
        for text in std::iter::once(Some(cell_id)).chain(metadata.iter().copied()) {
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            self.fingerprint.update(&length.to_le_bytes());
            self.fingerprint.update(text.unwrap_or_default().as_bytes());
        }
    }
}

/// Rows waiting to become a batch.
struct Rows {
    tokens: Vec<i32>,
    offsets: Offsets<i32>,
    cell_ids: MutableUtf8Array<i32>,
    metadata: Vec<MutableUtf8Array<i32>>,
    lengths: Vec<i64>,
}

impl Rows {
    fn new(n_columns: usize) -> Self {
        Self {
            tokens: Vec::new(),
            offsets: Offsets::new(),
            cell_ids: MutableUtf8Array::new(),
            metadata: vec![MutableUtf8Array::new(); n_columns],
            lengths: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn push(
        &mut self,
        cell_id: &str,
        tokens: &[TokenId],
        metadata: &[Option<&str>],
    ) -> arrow2::error::Result<()> {
        self.offsets.try_push_usize(tokens.len())?;
        let first = self.tokens.len();
        self.tokens.resize(first + tokens.len(), 0);
        cast_slice_mut::<i32, u32>(&mut self.tokens[first..]).copy_from_slice(cast_slice(tokens));
        self.cell_ids.try_push(Some(cell_id))?;
        for (column, value) in self.metadata.iter_mut().zip(metadata) {
            column.try_push(*value)?;
        }
        self.lengths.push(tokens.len() as i64);
        Ok(())
    }

    fn take(&mut self) -> Chunk<Box<dyn Array>> {
        let rows = std::mem::replace(self, Self::new(self.metadata.len()));
        let tokens = PrimitiveArray::from_vec(rows.tokens).boxed();
        let lists = ListArray::<i32>::default_datatype(tokens.data_type().clone());
        let lists = ListArray::new(lists, rows.offsets.into(), tokens, None);
        let mut columns = vec![lists.boxed()];
        let texts = std::iter::once(rows.cell_ids).chain(rows.metadata);
        columns.extend(texts.map(|mut texts| texts.as_box()));
        columns.push(Int64Array::from_vec(rows.lengths).boxed());
        Chunk::new(columns)
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

fn encode_error(path: &Path) -> impl FnOnce(arrow2::error::Error) -> Error {
    move |source| Error::Encode { path: path.into(), source }
}
