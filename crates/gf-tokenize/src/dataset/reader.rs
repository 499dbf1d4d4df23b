//! Opens a data set folder without reading its tokens: they stay in the memory-mapped files.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use rayon::prelude::*;
use serde_json::Value;

use super::{
    column::{Column, TokenLists},
    manifest::{Manifest, read_json},
    schema::{
        CELL_ID, DICT_FILE, INFO_FILE, INPUT_IDS, LENGTH, STATE_FILE, SavedState, VOCABULARY_FILE,
        class_names,
    },
    stream::{self, Stream},
};
use crate::{
    error::{ArrowFault, Error, Result},
    output::at,
    vocab::Vocabulary,
};

/// A data set of tokens on disk: ours, or one that Python wrote.
///
/// Token lists may be `list` or `large_list` of int32, which are handed out as they lie in the file,
/// or of int64, which are narrowed and held in memory. The files must not change while it is open.
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

#[derive(Debug)]
struct Batch {
    shard: usize,
    /// Rows of the data set before it.
    first_row: usize,
    tokens: TokenLists,
    cell_ids: Option<Column>,
}

impl Dataset {
    /// Opens a folder: maps the files that its `state.json` lists and checks everything that later
    /// access relies on, so that a corrupt file is an error here and nowhere else.
    ///
    /// # Errors
    /// The folder is no data set, or a dictionary of several; a file is missing, truncated or
    /// corrupt; `input_ids` is missing or no list of integers; `length` disagrees with the tokens;
    /// `vocabulary.tsv` is not the vocabulary the manifest names.
    pub fn open(folder: &Path) -> Result<Self> {
        let shards =
            shard_paths(folder)?.into_iter().map(Shard::open).collect::<Result<Vec<_>>>()?;
        let columns = common_columns(&shards)?;
        let mut batches = Vec::new();
        let mut n_rows = 0;
        for (idx, shard) in shards.iter().enumerate() {
            batches.extend(shard.batches(idx, n_rows)?);
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

    /// The tokens of a cell, special ones included.
    ///
    /// # Panics
    /// If `row` is not below [`Dataset::len`], as slices do.
    pub fn tokens(&self, row: usize) -> &[i32] {
        let (batch, row) = self.batch(row);
        batch.tokens.row(&self.shards[batch.shard].bytes, row)
    }

    /// Number of tokens of a cell.
    ///
    /// # Panics
    /// If `row` is not below [`Dataset::len`], as slices do.
    pub fn length(&self, row: usize) -> usize {
        self.tokens(row).len()
    }

    /// The id of a cell: its value in column `cell_id`, or `row 17` where there is none.
    ///
    /// # Panics
    /// If `row` is not below [`Dataset::len`], as slices do.
    pub fn cell_id(&self, row: usize) -> String {
        let (batch, in_batch) = self.batch(row);
        let bytes = &self.shards[batch.shard].bytes;
        let id = batch.cell_ids.as_ref().and_then(|column| column.text(bytes, in_batch));
        id.unwrap_or_else(|| format!("row {row}"))
    }

    /// Names of all columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// A column as texts, `None` where a value is missing.
    ///
    /// Texts and dictionaries of texts as they are; a `ClassLabel` by name (a number beyond its
    /// names as that number); other numbers in decimal; booleans as `true` and `false`.
    ///
    /// # Errors
    /// There is no such column; it holds lists or another type without a text; it is corrupt.
    pub fn column(&self, name: &str) -> Result<Vec<Option<String>>> {
        let names = class_names(&self.info, name).unwrap_or_default();
        let mut texts = Vec::with_capacity(self.n_rows);
        for shard in &self.shards {
            shard.texts(name, &names, &mut texts)?;
        }
        match self.columns.iter().any(|column| column == name) {
            true => Ok(texts),
            false => Err(Error::NoSuchColumn {
                path: self.folder.clone(),
                column: name.into(),
                available: self.columns.clone(),
            }),
        }
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
    /// The first token outside, with its row and position.
    ///
    /// # Panics
    /// If a row is not below [`Dataset::len`], as slices do.
    pub fn check_tokens(
        &self,
        rows: impl IntoIterator<Item = usize>,
        n_tokens: usize,
    ) -> Result<()> {
        let outside = |token: &i32| usize::try_from(*token).map_or(true, |token| token >= n_tokens);
        for row in rows {
            let tokens = self.tokens(row);
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

    /// The batch of a row, and the row within it.
    fn batch(&self, row: usize) -> (&Batch, usize) {
        assert!(row < self.n_rows, "row {row} of a data set of {}", self.n_rows);
        // Of several batches that start at the row, all but the last are empty.
        let idx = self.batches.partition_point(|batch| batch.first_row <= row) - 1;
        (&self.batches[idx], row - self.batches[idx].first_row)
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(at(&path))?;
        // SAFETY: the map is read only, and every use of its bytes was bounds-checked against it; that
        // nobody changes the file meanwhile is the documented condition of `Dataset`.
        let bytes = unsafe { Mmap::map(&file) }.map_err(at(&path))?;
        let stream = Stream::index(&bytes).map_err(arrow_error(&path))?;
        Ok(Self { path, bytes, stream })
    }

    fn n_rows(&self) -> usize {
        self.stream.batches.iter().map(|batch| batch.n_rows).sum()
    }

    /// The batches of the shard, whose first row is `first_row` in the data set.
    fn batches(&self, shard: usize, first_row: usize) -> Result<Vec<Batch>> {
        let read = |batch: &stream::Batch| {
            let (tokens, cell_ids) = self.read_batch(batch)?;
            Ok(Batch { shard, first_row: first_row + batch.first_row, tokens, cell_ids })
        };
        let batches: Result<Vec<_>, ArrowFault> =
            self.stream.batches.par_iter().map(read).collect();
        batches.map_err(arrow_error(&self.path))
    }

    fn read_batch(
        &self,
        batch: &stream::Batch,
    ) -> Result<(TokenLists, Option<Column>), ArrowFault> {
        let Self { bytes, stream, .. } = self;
        let no_tokens = || ArrowFault::NoColumn { column: INPUT_IDS, available: stream.names() };
        let field = stream.field(INPUT_IDS).ok_or_else(no_tokens)?;
        let tokens = batch.column(bytes, field)?.into_tokens(
            bytes,
            &field.layout,
            INPUT_IDS,
            batch.first_row,
        )?;
        if let Some(field) = stream.field(LENGTH) {
            check_lengths(bytes, &tokens, &batch.column(bytes, field)?, batch)?;
        }
        let cell_ids = stream.field(CELL_ID).map(|field| batch.column(bytes, field)).transpose()?;
        Ok((tokens, cell_ids))
    }

    /// Adds the texts of a column, if the shard has it.
    fn texts(
        &self,
        name: &str,
        class_names: &[String],
        texts: &mut Vec<Option<String>>,
    ) -> Result<()> {
        let Some(field) = self.stream.field(name) else {
            return Ok(());
        };
        if !field.layout.is_textual() {
            let found = field.layout.to_string();
            return Err(Error::NotAText { path: self.path.clone(), column: name.into(), found });
        }
        for batch in &self.stream.batches {
            let column = batch.column(&self.bytes, field).map_err(arrow_error(&self.path))?;
            texts.extend(
                (0..batch.n_rows).map(|row| named_text(&self.bytes, &column, row, class_names)),
            );
        }
        Ok(())
    }
}

fn named_text(bytes: &[u8], column: &Column, row: usize, class_names: &[String]) -> Option<String> {
    let class = column.integer(bytes, row).and_then(|class| usize::try_from(class).ok());
    let name = class.and_then(|class| class_names.get(class)).cloned();
    name.or_else(|| column.text(bytes, row))
}

fn check_lengths(
    bytes: &[u8],
    tokens: &TokenLists,
    lengths: &Column,
    batch: &stream::Batch,
) -> Result<(), ArrowFault> {
    for row in 0..batch.n_rows {
        let expected = tokens.row(bytes, row).len();
        match lengths.integer(bytes, row) {
            Some(found) if found != expected as i128 => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                return Err(ArrowFault::Length { row: batch.first_row + row, found, expected });
            }
            _ => {}
        }
    }
    Ok(())
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
