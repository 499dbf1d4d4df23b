//! A shard: up to some ten thousand cells of one study in an Arrow IPC file.
//!
//! A row is a cell: `cell_id` utf8, `total` u64, `gene` and `count` lists of
//! u32 (indices into the study's genes), then the metadata columns, nullable
//! utf8, i64, f64 or bool. pyarrow and polars open it. Its hash is checked before a
//! byte of it is parsed.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
};

use arrow2::{
    array::{Array, BooleanArray, ListArray, PrimitiveArray, Utf8Array},
    chunk::Chunk,
    datatypes::{DataType, Field, Schema},
    io::ipc::{
        read::{FileReader, read_file_metadata},
        write::{FileWriter, WriteOptions},
    },
    offset::OffsetsBuffer,
    types::NativeType,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField, MetadataKind},
};

mod trusted;

/// Columns of a shard before those of the metadata.
const FIXED_COLUMNS: [&str; 4] = ["cell_id", "total", "gene", "count"];

/// Some consecutive cells of one study, over the study's own genes and columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StudyBlock {
    pub(crate) cell_ids: Vec<String>,
    pub(crate) totals: Vec<u64>,
    pub(crate) counts: CountMatrix,
    pub(crate) columns: Vec<MetadataColumn>,
}

impl StudyBlock {
    /// The cells for which `kept` is true.
    pub(crate) fn retain(mut self, kept: &[bool]) -> Self {
        fn pick<T>(values: Vec<T>, kept: &[bool]) -> Vec<T> {
            values.into_iter().zip(kept).filter(|(_, kept)| **kept).map(|(v, _)| v).collect()
        }
        self.columns.iter_mut().for_each(|column| column.retain(kept));
        Self {
            cell_ids: pick(self.cell_ids, kept),
            totals: pick(self.totals, kept),
            counts: self.counts.retain(kept),
            columns: self.columns,
        }
    }
}

/// A finished file: its name, its records and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) file: String,
    pub(crate) n_rows: u64,
    pub(crate) xxh3: String,
}

impl Stored {
    /// The file in its folder; its name may not lead out of it.
    pub(crate) fn path(&self, folder: &Path) -> Result<PathBuf> {
        let plain = Path::new(&self.file).file_name().is_some_and(|n| n == self.file.as_str());
        let named = || broken(folder, format!("{:?} is not the name of a file", self.file));
        plain.then(|| folder.join(&self.file)).ok_or_else(named)
    }

    /// Opens the Arrow file after checking that it is the one that was written.
    pub(crate) fn open(&self, folder: &Path) -> Result<ArrowReader> {
        let path = self.path(folder)?;
        let found = hash_file(&path)?;
        if found != self.xxh3 {
            return Err(broken(&path, format!("found content {found}, expected {}", self.xxh3)));
        }
        let mut file = BufReader::new(File::open(&path).map_err(Error::io(&path))?);
        let metadata = read_file_metadata(&mut file).map_err(|e| broken(&path, e.to_string()))?;
        trusted::check(&path, &mut file, &metadata)?;
        Ok(ArrowReader { path, chunks: FileReader::new(file, metadata, None, None) })
    }
}

/// The record batches of an Arrow file of ours.
pub(crate) struct ArrowReader {
    path: PathBuf,
    chunks: FileReader<BufReader<File>>,
}

impl ArrowReader {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The columns of the next record batch, `n_columns` of them.
    pub(crate) fn next_chunk(&mut self, n_columns: usize) -> Result<Option<Chunk<Box<dyn Array>>>> {
        let Some(chunk) = self.chunks.next() else { return Ok(None) };
        let chunk = chunk.map_err(|e| broken(&self.path, e.to_string()))?;
        let found = chunk.arrays().len();
        if found != n_columns {
            let reason = format!("found {found} columns, expected {n_columns}");
            return Err(broken(&self.path, reason));
        }
        Ok(Some(chunk))
    }

    /// The next cells of a shard.
    pub(crate) fn next_block(
        &mut self,
        n_genes: usize,
        fields: &[MetadataField],
    ) -> Result<Option<StudyBlock>> {
        let n_fixed = FIXED_COLUMNS.len();
        let Some(chunk) = self.next_chunk(n_fixed + fields.len())? else { return Ok(None) };
        let (arrays, path) = (chunk.arrays(), &self.path);
        let ids: Option<Vec<String>> = texts(path, arrays[0].as_ref())?.into_iter().collect();
        let cell_ids = ids.ok_or_else(|| broken(path, "found a cell without id".to_owned()))?;
        let (indptr, indices) = lists(path, arrays[2].as_ref())?;
        let (count_indptr, values) = lists(path, arrays[3].as_ref())?;
        if indptr != count_indptr {
            return Err(broken(path, "found genes and counts of different lengths".to_owned()));
        }
        let columns = arrays[n_fixed..].iter().zip(fields);
        let columns = columns.map(|(array, field)| metadata(path, array.as_ref(), field.kind));
        let columns = columns.collect::<Result<_>>()?;
        let counts = CountMatrix::from_parts(indptr, indices, values, n_genes)
            .map_err(|e| broken(path, e.to_string()))?;
        let totals: Vec<u64> = numbers(path, arrays[1].as_ref())?;
        check_totals(path, &totals, &counts)?;
        Ok(Some(StudyBlock { cell_ids, totals, counts, columns }))
    }
}

/// A cell's total covers at least the counts that found a gene.
fn check_totals(path: &Path, totals: &[u64], counts: &CountMatrix) -> Result<()> {
    let sums = counts.rows().map(|(_, counts)| counts.iter().map(|&n| u64::from(n)).sum::<u64>());
    match totals.iter().zip(sums).find(|&(&total, sum)| total < sum.max(1)) {
        None => Ok(()),
        Some((total, sum)) => {
            Err(broken(path, format!("found a cell of total {total}, expected at least {sum}")))
        }
    }
}

/// An Arrow file being written into a folder.
pub(crate) struct ArrowWriter {
    path: PathBuf,
    n_rows: u64,
    writer: FileWriter<BufWriter<File>>,
}

impl ArrowWriter {
    pub(crate) fn create(path: PathBuf, schema: Schema) -> Result<Self> {
        let file = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        let options = WriteOptions { compression: None };
        let writer = FileWriter::try_new(file, schema, None, options);
        let writer = writer.map_err(arrow_error(&path))?;
        Ok(Self { path, n_rows: 0, writer })
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    pub(crate) fn write(&mut self, arrays: Vec<Box<dyn Array>>) -> Result<()> {
        let chunk = Chunk::try_new(arrays).map_err(arrow_error(&self.path))?;
        self.writer.write(&chunk, None).map_err(arrow_error(&self.path))?;
        self.n_rows += chunk.len() as u64;
        Ok(())
    }

    /// Adds cells to a shard.
    pub(crate) fn write_block(&mut self, block: &StudyBlock) -> Result<()> {
        let arrays = block_arrays(block).map_err(arrow_error(&self.path))?;
        self.write(arrays)
    }

    /// Ends the file and forces it to the disk.
    pub(crate) fn finish(mut self) -> Result<Stored> {
        self.writer.finish().map_err(arrow_error(&self.path))?;
        let file = self.writer.into_inner().into_inner().map_err(|e| e.into_error());
        file.and_then(|file| file.sync_all()).map_err(Error::io(&self.path))?;
        let file = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let xxh3 = hash_file(&self.path)?;
        Ok(Stored { file: file.unwrap_or_default(), n_rows: self.n_rows, xxh3 })
    }
}

/// The columns of a shard with these metadata columns.
pub(crate) fn schema(columns: &[MetadataField]) -> Schema {
    let list = || DataType::List(Box::new(item()));
    let types = [DataType::Utf8, DataType::UInt64, list(), list()];
    let fixed = FIXED_COLUMNS.into_iter().zip(types);
    let mut fields: Vec<Field> = fixed.map(|(name, kind)| Field::new(name, kind, false)).collect();
    fields.extend(columns.iter().map(|MetadataField { name, kind, .. }| {
        let taken = FIXED_COLUMNS.contains(&name.as_str());
        let name = if taken { format!("obs.{name}") } else { name.clone() };
        Field::new(name, data_type(*kind), true)
    }));
    Schema::from(fields)
}

fn data_type(kind: MetadataKind) -> DataType {
    match kind {
        MetadataKind::Text => DataType::Utf8,
        MetadataKind::Integer => DataType::Int64,
        MetadataKind::Float => DataType::Float64,
        MetadataKind::Boolean => DataType::Boolean,
    }
}

fn item() -> Field {
    Field::new("item", DataType::UInt32, false)
}

fn block_arrays(block: &StudyBlock) -> arrow2::error::Result<Vec<Box<dyn Array>>> {
    let list = |values: &[u32]| {
        let offsets: Vec<i32> = block.counts.indptr().iter().map(|&offset| offset as i32).collect();
        let values = PrimitiveArray::from_slice(values).boxed();
        let offsets = OffsetsBuffer::try_from(offsets)?;
        ListArray::<i32>::try_new(DataType::List(Box::new(item())), offsets, values, None)
    };
    let mut arrays = vec![
        Utf8Array::<i32>::from_slice(&block.cell_ids).boxed(),
        PrimitiveArray::from_slice(&block.totals).boxed(),
        list(block.counts.indices())?.boxed(),
        list(block.counts.values())?.boxed(),
    ];
    arrays.extend(block.columns.iter().map(|column| match column {
        MetadataColumn::Text(values) => Utf8Array::<i32>::from(values).boxed(),
        MetadataColumn::Integers(values) => PrimitiveArray::from(values).boxed(),
        MetadataColumn::Floats(values) => PrimitiveArray::from(values).boxed(),
        MetadataColumn::Booleans(values) => BooleanArray::from(values).boxed(),
    }));
    Ok(arrays)
}

/// Hash of a file's bytes, as 16 hexadecimal digits.
pub(crate) fn hash_file(path: &Path) -> Result<String> {
    let mut hasher = Xxh3::new();
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(Error::io(path))? {
            0 => return Ok(format!("{:016x}", hasher.digest())),
            n_bytes => hasher.update(&buffer[..n_bytes]),
        }
    }
}

pub(crate) fn broken(path: &Path, reason: String) -> Error {
    Error::Corpus { path: path.to_owned(), reason }
}

fn arrow_error(path: &Path) -> impl FnOnce(arrow2::error::Error) -> Error {
    let path = path.to_owned();
    move |error| match error {
        arrow2::error::Error::Io(source) => Error::Io { path, source },
        other => Error::Corpus { path, reason: other.to_string() },
    }
}

fn downcast<'a, A: 'static>(path: &Path, array: &'a dyn Array) -> Result<&'a A> {
    let found = array.data_type();
    let typed = array.as_any().downcast_ref();
    typed.ok_or_else(|| broken(path, format!("found a column of {found:?}, expected another type")))
}

fn texts(path: &Path, array: &dyn Array) -> Result<Vec<Option<String>>> {
    let texts = downcast::<Utf8Array<i32>>(path, array)?;
    Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
}

fn metadata(path: &Path, array: &dyn Array, kind: MetadataKind) -> Result<MetadataColumn> {
    Ok(match kind {
        MetadataKind::Text => MetadataColumn::Text(texts(path, array)?),
        MetadataKind::Integer => MetadataColumn::Integers(perhaps(path, array)?),
        MetadataKind::Float => MetadataColumn::Floats(perhaps(path, array)?),
        MetadataKind::Boolean => {
            let values = downcast::<BooleanArray>(path, array)?;
            MetadataColumn::Booleans(values.iter().collect())
        }
    })
}

/// Numbers, of which some may be missing.
fn perhaps<T: NativeType>(path: &Path, array: &dyn Array) -> Result<Vec<Option<T>>> {
    let numbers = downcast::<PrimitiveArray<T>>(path, array)?;
    Ok(numbers.iter().map(Option::<&T>::copied).collect())
}

pub(crate) fn numbers<T: NativeType>(path: &Path, array: &dyn Array) -> Result<Vec<T>> {
    Ok(downcast::<PrimitiveArray<T>>(path, array)?.values().to_vec())
}

fn lists(path: &Path, array: &dyn Array) -> Result<(Vec<usize>, Vec<u32>)> {
    let lists = downcast::<ListArray<i32>>(path, array)?;
    let offsets = lists.offsets().iter().map(|&offset| offset as usize).collect();
    Ok((offsets, numbers(path, lists.values().as_ref())?))
}
