//! Opens a data set folder without reading its tokens: they stay in the memory-mapped files.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use gf_corpus::MetadataKind;
use memmap2::Mmap;
use serde_json::Value;

use super::{
    column::{Column, not_tokens},
    manifest::{Manifest, read_json},
    metadata::DatasetColumn,
    schema::{
        CELL_ID, DICT_FILE, INFO_FILE, INPUT_IDS, LENGTH, STATE_FILE, SavedState, VOCABULARY_FILE,
        class_names,
    },
    stream::{Field, Stream},
    tokens::TokenLists,
};
use crate::{
    error::{ArrowFault, Error, Result},
    output::at,
    vocab::Vocabulary,
};

/// A data set of tokens on disk: ours, or one that Python wrote.
///
/// Token lists may be of fixed or any length and of whole numbers of any width: int32 is handed out
/// as it lies in the file, others are converted when they are asked for. Opening reads the headers of
/// the batches, not the rows; a batch is checked when it is first read, so that a corrupt one is an
/// error then. The files must not change while it is open.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    shards: Vec<Shard>,
    batches: Vec<Batch>,
    n_rows: usize,
    columns: Vec<String>,
    info: Value,
    manifest: Option<Manifest>,
    vocabulary: Option<Vocabulary>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Mmap,
    stream: Stream,
}

/// Some rows of a shard, and what of them has been read and found sound.
#[derive(Debug)]
struct Batch {
    shard: usize,
    /// Its number in the shard.
    in_shard: usize,
    /// Rows of the data set before it.
    first_row: usize,
    lists: OnceLock<TokenLists>,
    ids: OnceLock<()>,
    cell_ids: OnceLock<Column>,
}

impl Dataset {
    /// Opens a folder: maps the files that its `state.json` lists and finds their batches.
    ///
    /// # Errors
    /// The folder is no data set, or a dictionary of several; a file is missing, truncated or no
    /// Arrow stream; `input_ids` is missing or no list of whole numbers; `vocabulary.tsv` is not the
    /// vocabulary the manifest names.
    pub fn open(folder: &Path) -> Result<Self> {
        let shards =
            shard_paths(folder)?.into_iter().map(Shard::open).collect::<Result<Vec<_>>>()?;
        let columns = common_columns(&shards)?;
        let mut batches = Vec::new();
        let mut n_rows = 0;
        for (idx, shard) in shards.iter().enumerate() {
            batches.extend(shard.batches(idx, n_rows));
            n_rows += shard.n_rows();
        }
        let info = read_json(&folder.join(INFO_FILE))?.unwrap_or_default();
        let manifest = Manifest::read(folder)?;
        let vocabulary = read_vocabulary(folder, manifest.as_ref())?;
        Ok(Self {
            folder: folder.into(),
            shards,
            batches,
            n_rows,
            columns,
            info,
            manifest,
            vocabulary,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// The tokens of a cell, special ones included, each from 0 to 2³¹ − 1.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn tokens(&self, row: usize) -> Result<Cow<'_, [i32]>> {
        let (batch, in_batch) = self.batch(row)?;
        let (shard, lists) = (&self.shards[batch.shard], self.lists(batch)?);
        checked(&batch.ids, || {
            let first_row = shard.stream.batches[batch.in_shard].first_row;
            lists.check_ids(&shard.bytes, first_row).map_err(arrow_error(&shard.path))
        })?;
        Ok(lists.row(&shard.bytes, in_batch))
    }

    /// Number of tokens of a cell. This does not read the tokens.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn length(&self, row: usize) -> Result<usize> {
        let (batch, in_batch) = self.batch(row)?;
        Ok(self.lists(batch)?.len(&self.shards[batch.shard].bytes, in_batch))
    }

    /// The id of a cell: its value in column `cell_id`, or `row 17` where there is none.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn cell_id(&self, row: usize) -> Result<String> {
        let (batch, in_batch) = self.batch(row)?;
        let shard = &self.shards[batch.shard];
        let id = match shard.stream.field(CELL_ID) {
            Some(field) => checked(&batch.cell_ids, || shard.column(batch, field))?
                .value(&shard.bytes, in_batch)
                .text(),
            None => None,
        };
        Ok(id.unwrap_or_else(|| format!("row {row}")))
    }

    /// Names of all columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Columns that cannot be read, with their Arrow types: lists and what else has no value of
    /// metadata. `input_ids` is none of them.
    pub fn unread_columns(&self) -> Vec<(&str, String)> {
        let fields = self.shards.first().map_or(&[][..], |shard| &shard.stream.fields);
        let unread =
            fields.iter().filter(|field| field.name != INPUT_IDS && field.layout.kind().is_none());
        unread.map(|field| (field.name.as_str(), field.layout.to_string())).collect()
    }

    /// A column of metadata. No value is read yet.
    ///
    /// # Errors
    /// There is no such column; it holds lists or another type that is not read.
    pub fn column(&self, name: &str) -> Result<DatasetColumn<'_>> {
        let (path, column) = (self.folder.clone(), name.to_owned());
        if !self.columns.iter().any(|column| column == name) {
            return Err(Error::NoSuchColumn { path, column, available: self.columns.clone() });
        }
        let class_names = class_names(&self.info, name);
        let mut kind = class_names.as_ref().map(|_| MetadataKind::Text);
        for shard in &self.shards {
            let Some(field) = shard.stream.field(name) else { continue };
            let found = || field.layout.to_string();
            let own = field.layout.kind().ok_or_else(|| Error::UnreadColumn {
                path: shard.path.clone(),
                column: name.into(),
                found: found(),
            })?;
            kind = Some(kind.map_or(own, |kind| kind.common(own)));
        }
        let kind = kind.unwrap_or(MetadataKind::Text);
        Ok(DatasetColumn::new(self, column, kind, class_names.unwrap_or_default()))
    }

    /// The vocabulary beside the data, if the folder has one. Folders made by Python have none.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_ref()
    }

    /// What the data set was made with, if the folder says so. Folders made by Python do not.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Checks that every token of these rows is an entry of a table of `n_tokens`. This reads the tokens;
    /// call it before handing them to a model, which takes them on trust.
    ///
    /// # Errors
    /// The first token outside, with its row and position; a row cannot be read.
    pub fn check_tokens(
        &self,
        rows: impl IntoIterator<Item = usize>,
        n_tokens: usize,
    ) -> Result<()> {
        let outside = |token: &i32| usize::try_from(*token).map_or(true, |token| token >= n_tokens);
        for row in rows {
            let tokens = self.tokens(row)?;
            if let Some(position) = tokens.iter().position(outside) {
                let found = tokens[position].into();
                return Err(Error::TokenRange {
                    path: self.folder.clone(),
                    row,
                    position,
                    found,
                    n_tokens,
                });
            }
        }
        Ok(())
    }

    /// Number of batches of rows in the files.
    pub(super) fn n_batches(&self) -> usize {
        self.batches.len()
    }

    /// Where a row is: the number of its batch, and the row within it.
    pub(super) fn locate(&self, row: usize) -> Result<(usize, usize)> {
        if row >= self.n_rows {
            let path = self.folder.clone();
            return Err(Error::NoSuchRow { path, row, n_rows: self.n_rows });
        }
        // Of several batches that start at the row, all but the last are empty.
        let idx = self.batches.partition_point(|batch| batch.first_row <= row) - 1;
        Ok((idx, row - self.batches[idx].first_row))
    }

    /// A column of a batch, checked, with the bytes its places are in; nothing if the shard lacks it.
    pub(super) fn read_column(&self, batch: usize, name: &str) -> Result<Option<Column>> {
        let batch = &self.batches[batch];
        let shard = &self.shards[batch.shard];
        shard.stream.field(name).map(|field| shard.column(batch, field)).transpose()
    }

    /// The file a batch lies in.
    pub(super) fn bytes(&self, batch: usize) -> &[u8] {
        &self.shards[self.batches[batch].shard].bytes
    }

    fn batch(&self, row: usize) -> Result<(&Batch, usize)> {
        let (idx, in_batch) = self.locate(row)?;
        Ok((&self.batches[idx], in_batch))
    }

    fn lists<'b>(&self, batch: &'b Batch) -> Result<&'b TokenLists> {
        let shard = &self.shards[batch.shard];
        checked(&batch.lists, || shard.lists(batch).map_err(arrow_error(&shard.path)))
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(at(&path))?;
        // SAFETY: the map is read only, and every use of its bytes is bounds-checked against it; that
        // nobody changes the file meanwhile is the documented condition of `Dataset`.
        let bytes = unsafe { Mmap::map(&file) }.map_err(at(&path))?;
        let stream = Stream::index(&file, bytes.len()).map_err(arrow_error(&path))?;
        check_schema(&stream).map_err(arrow_error(&path))?;
        Ok(Self { path, bytes, stream })
    }

    fn n_rows(&self) -> usize {
        self.stream.batches.iter().map(|batch| batch.n_rows).sum()
    }

    /// The batches of the shard, whose first row is `first_row` in the data set.
    fn batches(&self, shard: usize, first_row: usize) -> impl Iterator<Item = Batch> {
        self.stream.batches.iter().enumerate().map(move |(in_shard, batch)| Batch {
            shard,
            in_shard,
            first_row: first_row + batch.first_row,
            lists: OnceLock::new(),
            ids: OnceLock::new(),
            cell_ids: OnceLock::new(),
        })
    }

    fn column(&self, batch: &Batch, field: &Field) -> Result<Column> {
        let column = self.stream.column(&self.bytes, &self.stream.batches[batch.in_shard], field);
        column.map_err(arrow_error(&self.path))
    }

    fn lists(&self, batch: &Batch) -> Result<TokenLists, ArrowFault> {
        let Self { bytes, stream, .. } = self;
        let batch = &stream.batches[batch.in_shard];
        let field = tokens_field(stream)?;
        let column = stream.column(bytes, batch, field)?;
        let lists = column.into_tokens(&field.layout, INPUT_IDS, batch.first_row)?;
        if let Some(field) = stream.field(LENGTH) {
            let lengths = stream.column(bytes, batch, field)?;
            lists.check_lengths(bytes, &lengths, batch.first_row)?;
        }
        Ok(lists)
    }
}

/// What a slot holds, read and checked first if nobody has yet.
pub(super) fn checked<T>(slot: &OnceLock<T>, read: impl FnOnce() -> Result<T>) -> Result<&T> {
    match slot.get() {
        Some(sound) => Ok(sound),
        None => {
            let sound = read()?;
            Ok(slot.get_or_init(|| sound))
        }
    }
}

fn tokens_field(stream: &Stream) -> Result<&Field, ArrowFault> {
    let no_tokens = || ArrowFault::NoColumn { column: INPUT_IDS, available: stream.names() };
    stream.field(INPUT_IDS).ok_or_else(no_tokens)
}

fn check_schema(stream: &Stream) -> Result<(), ArrowFault> {
    let field = tokens_field(stream)?;
    match field.layout.is_tokens() {
        true => Ok(()),
        false => Err(not_tokens(INPUT_IDS, &field.layout)),
    }
}

/// The files of the folder in order, as `state.json` lists them. Other `.arrow` files may lie beside
/// them: `datasets` keeps its caches there.
fn shard_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = folder.join(STATE_FILE);
    let Some(state) = read_json::<SavedState>(&path)? else {
        return Err(no_state(folder)?);
    };
    if state.index_files.is_some_and(|files| !files.is_empty()) {
        return Err(Error::IndexFiles { path });
    }
    let join = |name: String| match Path::new(&name).file_name() == Some(OsStr::new(&name)) {
        true => Ok(folder.join(name)),
        false => Err(Error::DataFileName { path: path.clone(), found: name }),
    };
    state.data_files.into_iter().map(|file| join(file.filename)).collect()
}

fn no_state(folder: &Path) -> Result<Error> {
    let splits = read_json::<Value>(&folder.join(DICT_FILE))?;
    let splits = splits.and_then(|dict| serde_json::from_value(dict.get("splits")?.clone()).ok());
    let path = folder.to_owned();
    Ok(match splits {
        Some(splits) => Error::DatasetDict { path, splits },
        None => Error::NotADataset { path },
    })
}

fn common_columns(shards: &[Shard]) -> Result<Vec<String>> {
    let expected = shards.first().map(|shard| shard.stream.names()).unwrap_or_default();
    match shards.iter().find(|shard| shard.stream.names() != expected) {
        None => Ok(expected),
        Some(shard) => Err(Error::ShardColumns {
            path: shard.path.clone(),
            found: shard.stream.names(),
            expected,
        }),
    }
}

fn read_vocabulary(folder: &Path, manifest: Option<&Manifest>) -> Result<Option<Vocabulary>> {
    let path = folder.join(VOCABULARY_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let vocabulary = Vocabulary::read_tsv(&path)?;
    let found = vocabulary.content_hash();
    match manifest.map(|manifest| &manifest.vocabulary_hash) {
        Some(expected) if found != expected => {
            Err(Error::VocabularyHash { path, found: found.into(), expected: expected.clone() })
        }
        _ => Ok(Some(vocabulary)),
    }
}

fn arrow_error(path: &Path) -> impl Fn(ArrowFault) -> Error {
    move |fault| Error::Arrow { path: path.into(), fault }
}
