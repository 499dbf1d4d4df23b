//! Writes a corpus folder beside its target and moves it there when whole.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use arrow2::{
    array::{Array, ListArray, PrimitiveArray, Utf8Array},
    chunk::Chunk,
    datatypes::{DataType, Field, Schema},
    io::ipc::write::{FileWriter, WriteOptions},
    offset::OffsetsBuffer,
};
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    corpus::{CellBlock, FIXED_COLUMNS, FORMAT, MANIFEST, Manifest, Shard, VERSION, hash_file},
    error::{Error, Result},
    gene::Gene,
    ingest::check_target,
    ledger::Ledger,
};

/// Cells after which a shard is full.
const SHARD_CELLS: u64 = 32_768;

/// A corpus being written.
pub(crate) struct CorpusWriter {
    target: PathBuf,
    /// Removed with all it holds unless the corpus is finished.
    scratch: TempDir,
    genes: Vec<Gene>,
    columns: Vec<String>,
    schema: Schema,
    shards: Vec<Shard>,
    open: Option<(PathBuf, u64, FileWriter<BufWriter<File>>)>,
    n_cells: u64,
    n_entries: u64,
}

impl CorpusWriter {
    pub(crate) fn create(target: &Path, genes: Vec<Gene>, columns: Vec<String>) -> Result<Self> {
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let builder = tempfile::Builder::new().prefix(".gf-corpus-").tempdir_in(parent);
        let scratch = builder.map_err(Error::io(parent))?;
        let folder = scratch.path().join("corpus");
        fs::create_dir(&folder).map_err(Error::io(folder))?;
        let schema = schema(&columns);
        Ok(Self {
            target: target.to_owned(),
            scratch,
            genes,
            columns,
            schema,
            shards: Vec::new(),
            open: None,
            n_cells: 0,
            n_entries: 0,
        })
    }

    /// Adds cells; an empty block adds nothing.
    pub(crate) fn write(&mut self, block: &CellBlock) -> Result<()> {
        let n_cells = block.cell_ids.len() as u64;
        if n_cells == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(self.start_shard()?);
        }
        let chunk = chunk(block);
        if let Some((path, cells, writer)) = &mut self.open {
            let chunk = chunk.map_err(arrow_error(path))?;
            writer.write(&chunk, None).map_err(arrow_error(path))?;
            *cells += n_cells;
            self.n_cells += n_cells;
            self.n_entries += block.counts.n_entries() as u64;
        }
        if self.open.as_ref().is_some_and(|(_, cells, _)| *cells >= SHARD_CELLS) {
            self.end_shard()?;
        }
        Ok(())
    }

    /// Writes the manifest and puts the corpus where it belongs.
    pub(crate) fn finish(mut self, ledger: Ledger) -> Result<()> {
        self.end_shard()?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            produced_by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            content_hash: self.content_hash(),
            n_cells: self.n_cells,
            n_entries: self.n_entries,
            columns: self.columns,
            shards: self.shards,
            ledger,
            genes: self.genes,
        };
        let folder = self.scratch.path().join("corpus");
        let path = folder.join(MANIFEST);
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, &manifest)
            .map_err(std::io::Error::from)
            .and_then(|()| file.flush())
            .map_err(Error::io(&path))?;
        check_target(&self.target)?;
        // An empty folder or an older corpus: it leaves with the scratch folder.
        let old = self.scratch.path().join("old");
        let had_old = self.target.exists();
        if had_old {
            fs::rename(&self.target, &old).map_err(Error::io(&self.target))?;
        }
        fs::rename(&folder, &self.target).map_err(|source| {
            if had_old {
                let _ = fs::rename(&old, &self.target);
            }
            Error::io(&self.target)(source)
        })
    }

    fn start_shard(&self) -> Result<(PathBuf, u64, FileWriter<BufWriter<File>>)> {
        let name = format!("shard-{:05}.arrow", self.shards.len());
        let path = self.scratch.path().join("corpus").join(name);
        let file = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        let options = WriteOptions { compression: None };
        let writer = FileWriter::try_new(file, self.schema.clone(), None, options);
        let writer = writer.map_err(arrow_error(&path))?;
        Ok((path, 0, writer))
    }

    fn end_shard(&mut self) -> Result<()> {
        let Some((path, n_cells, mut writer)) = self.open.take() else {
            return Ok(());
        };
        writer.finish().map_err(arrow_error(&path))?;
        let file = writer.into_inner().into_inner().map_err(|e| e.into_error());
        file.and_then(|file| file.sync_all()).map_err(Error::io(&path))?;
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let xxh3 = hash_file(&path)?;
        self.shards.push(Shard { file: file.unwrap_or_default(), n_cells, xxh3 });
        Ok(())
    }

    fn content_hash(&self) -> String {
        let mut hasher = Xxh3::new();
        for gene in &self.genes {
            hasher.update(gene.id.to_string().as_bytes());
        }
        for text in self.columns.iter().chain(self.shards.iter().map(|shard| &shard.xxh3)) {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        }
        format!("{:032x}", hasher.digest128())
    }
}

fn schema(columns: &[String]) -> Schema {
    let list = || DataType::List(Box::new(item()));
    let types = [DataType::Utf8, DataType::UInt32, DataType::UInt64, list(), list()];
    let fixed = FIXED_COLUMNS.into_iter().zip(types);
    let mut fields: Vec<Field> = fixed.map(|(name, kind)| Field::new(name, kind, false)).collect();
    fields.extend(columns.iter().map(|name| {
        let taken = FIXED_COLUMNS.contains(&name.as_str());
        let name = if taken { format!("obs.{name}") } else { name.clone() };
        Field::new(name, DataType::Utf8, true)
    }));
    Schema::from(fields)
}

fn item() -> Field {
    Field::new("item", DataType::UInt32, false)
}

fn chunk(block: &CellBlock) -> arrow2::error::Result<Chunk<Box<dyn Array>>> {
    let list = |values: &[u32]| {
        let offsets: Vec<i32> = block.counts.indptr().iter().map(|&offset| offset as i32).collect();
        let values = PrimitiveArray::from_slice(values).boxed();
        let offsets = OffsetsBuffer::try_from(offsets)?;
        ListArray::<i32>::try_new(DataType::List(Box::new(item())), offsets, values, None)
    };
    let mut arrays = vec![
        Utf8Array::<i32>::from_slice(&block.cell_ids).boxed(),
        PrimitiveArray::from_slice(&block.sources).boxed(),
        PrimitiveArray::from_slice(&block.totals).boxed(),
        list(block.counts.indices())?.boxed(),
        list(block.counts.values())?.boxed(),
    ];
    arrays.extend(block.columns.iter().map(|column| Utf8Array::<i32>::from(column).boxed()));
    Chunk::try_new(arrays)
}

fn arrow_error(path: &Path) -> impl FnOnce(arrow2::error::Error) -> Error {
    let path = path.to_owned();
    move |error| match error {
        arrow2::error::Error::Io(source) => Error::Io { path, source },
        other => Error::Corpus { path, reason: other.to_string() },
    }
}
