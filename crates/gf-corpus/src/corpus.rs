//! The corpus on disk: `manifest.json` and shards of sparse counts.
//!
//! A shard is an Arrow IPC file that pyarrow and polars open; a row is a cell:
//! `cell_id` utf8, `source` u32 (place in the ledger's files), `total` u64,
//! `gene` and `count` lists of u32 (indices into the manifest's genes), then one
//! nullable utf8 column per metadata column. A shard's hash is checked before
//! a byte of it is parsed.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use arrow2::{
    array::{Array, ListArray, PrimitiveArray, Utf8Array},
    chunk::Chunk,
    io::ipc::read::{FileReader, read_file_metadata},
    types::NativeType,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    gene::Gene,
    ledger::Ledger,
};

pub(crate) const FORMAT: &str = "gf-corpus";
pub(crate) const VERSION: u32 = 1;
pub(crate) const MANIFEST: &str = "manifest.json";
/// Columns of a shard before those of the metadata.
pub(crate) const FIXED_COLUMNS: [&str; 5] = ["cell_id", "source", "total", "gene", "count"];

/// Some consecutive cells of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellBlock {
    /// One id a cell, unique in the corpus.
    pub cell_ids: Vec<String>,
    /// Which file of the ledger each cell came from.
    pub sources: Vec<u32>,
    /// Counts of all gene rows of the cell, mapped or not: the reference's
    /// `n_counts`.
    pub totals: Vec<u64>,
    /// Cells × the genes of the corpus.
    pub counts: CountMatrix,
    /// One vector per metadata column, one value a cell.
    pub columns: Vec<Vec<Option<String>>>,
}

/// What `manifest.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) produced_by: String,
    pub(crate) content_hash: String,
    pub(crate) n_cells: u64,
    pub(crate) n_entries: u64,
    pub(crate) columns: Vec<String>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) ledger: Ledger,
    pub(crate) genes: Vec<Gene>,
}

/// One shard file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    pub(crate) file: String,
    pub(crate) n_cells: u64,
    pub(crate) xxh3: String,
}

/// An open corpus.
pub struct Corpus {
    folder: PathBuf,
    manifest: Manifest,
}

impl Corpus {
    /// Opens a corpus folder.
    ///
    /// # Errors
    /// [`Error::Corpus`] if the manifest is not one this version reads, or a
    /// shard is missing.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let path = folder.join(MANIFEST);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let manifest: Manifest = serde_json::from_reader(BufReader::new(file))
            .map_err(|e| broken(&path, format!("not a corpus manifest: {e}")))?;
        if (manifest.format.as_str(), manifest.version) != (FORMAT, VERSION) {
            let (format, version) = (&manifest.format, manifest.version);
            let reason = format!(
                "found {format:?} version {version}, expected {FORMAT:?} version {VERSION}"
            );
            return Err(broken(&path, reason));
        }
        for shard in &manifest.shards {
            let path = shard_path(&folder, shard)?;
            std::fs::metadata(&path).map_err(Error::io(&path))?;
        }
        Ok(Self { folder, manifest })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Its genes, in the order they were first seen.
    #[must_use]
    pub fn genes(&self) -> &[Gene] {
        &self.manifest.genes
    }

    /// Number of cells.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.manifest.n_cells as usize
    }

    /// Number of stored counts.
    #[must_use]
    pub fn n_entries(&self) -> u64 {
        self.manifest.n_entries
    }

    /// Names of the metadata columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.manifest.columns
    }

    /// The account of the ingest that made it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.manifest.ledger
    }

    /// A hash of genes, cells, counts and metadata (not of where they lay).
    #[must_use]
    pub fn content_hash(&self) -> &str {
        &self.manifest.content_hash
    }

    /// All cells in order, in blocks of some hundreds; after an error, nothing.
    pub fn blocks(&self) -> impl Iterator<Item = Result<CellBlock>> + Send + '_ {
        Blocks { corpus: self, next_shard: 0, open: None, failed: false }
    }

    fn open_shard(&self, shard: &Shard) -> Result<(PathBuf, FileReader<BufReader<File>>)> {
        let path = shard_path(&self.folder, shard)?;
        let found = hash_file(&path)?;
        if found != shard.xxh3 {
            let reason = format!("found content {found}, expected {}", shard.xxh3);
            return Err(broken(&path, reason));
        }
        let mut file = BufReader::new(File::open(&path).map_err(Error::io(&path))?);
        let metadata = read_file_metadata(&mut file).map_err(|e| broken(&path, e.to_string()))?;
        Ok((path, FileReader::new(file, metadata, None, None)))
    }

    fn block(&self, path: &Path, chunk: &Chunk<Box<dyn Array>>) -> Result<CellBlock> {
        let arrays = chunk.arrays();
        let n_fixed = FIXED_COLUMNS.len();
        let expected = n_fixed + self.columns().len();
        if arrays.len() != expected {
            return Err(broken(
                path,
                format!("found {} columns, expected {expected}", arrays.len()),
            ));
        }
        let cell_ids: Option<Vec<String>> = texts(path, arrays[0].as_ref())?.into_iter().collect();
        let cell_ids =
            cell_ids.ok_or_else(|| broken(path, "found a cell without id".to_owned()))?;
        let (indptr, indices) = lists(path, arrays[3].as_ref())?;
        let (count_indptr, values) = lists(path, arrays[4].as_ref())?;
        if indptr != count_indptr {
            return Err(broken(path, "found genes and counts of different lengths".to_owned()));
        }
        let columns = arrays[n_fixed..]
            .iter()
            .map(|array| texts(path, array.as_ref()))
            .collect::<Result<_>>()?;
        let counts = CountMatrix::from_parts(indptr, indices, values, self.genes().len())
            .map_err(|e| broken(path, e.to_string()))?;
        let totals: Vec<u64> = numbers(path, arrays[2].as_ref())?;
        check_totals(path, &totals, &counts)?;
        Ok(CellBlock {
            cell_ids,
            sources: numbers(path, arrays[1].as_ref())?,
            totals,
            counts,
            columns,
        })
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

/// The state of [`Corpus::blocks`].
struct Blocks<'a> {
    corpus: &'a Corpus,
    next_shard: usize,
    open: Option<(PathBuf, FileReader<BufReader<File>>)>,
    failed: bool,
}

impl Blocks<'_> {
    fn advance(&mut self) -> Result<Option<CellBlock>> {
        loop {
            if let Some((path, reader)) = &mut self.open {
                match reader.next() {
                    Some(Ok(chunk)) => return self.corpus.block(path, &chunk).map(Some),
                    Some(Err(error)) => return Err(broken(path, error.to_string())),
                    None => self.open = None,
                }
            }
            let Some(shard) = self.corpus.manifest.shards.get(self.next_shard) else {
                return Ok(None);
            };
            self.next_shard += 1;
            self.open = Some(self.corpus.open_shard(shard)?);
        }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<CellBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// Whether a folder is a corpus that may be replaced.
pub(crate) fn is_corpus(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let is_ours =
        |name: &str| name == MANIFEST || (name.starts_with("shard-") && name.ends_with(".arrow"));
    let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let all_ours = names.all(|name| name.is_ok_and(|name| name.to_str().is_some_and(is_ours)));
    all_ours && Corpus::open(folder).is_ok()
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

fn shard_path(folder: &Path, shard: &Shard) -> Result<PathBuf> {
    let plain = Path::new(&shard.file).file_name().is_some_and(|name| name == shard.file.as_str());
    let path = folder.join(MANIFEST);
    let named = || broken(&path, format!("{:?} is not the name of a shard", shard.file));
    plain.then(|| folder.join(&shard.file)).ok_or_else(named)
}

fn broken(path: &Path, reason: String) -> Error {
    Error::Corpus { path: path.to_owned(), reason }
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

fn numbers<T: NativeType>(path: &Path, array: &dyn Array) -> Result<Vec<T>> {
    Ok(downcast::<PrimitiveArray<T>>(path, array)?.values().to_vec())
}

fn lists(path: &Path, array: &dyn Array) -> Result<(Vec<usize>, Vec<u32>)> {
    let lists = downcast::<ListArray<i32>>(path, array)?;
    let offsets = lists.offsets().iter().map(|&offset| offset as usize).collect();
    Ok((offsets, numbers(path, lists.values().as_ref())?))
}
