//! The corpus folder: one folder a study, complete in itself, and a manifest
//! that names them.
//!
//! ```text
//! manifest.json                what the corpus consists of; replaced at the end of an ingest
//! genes-HASH.tsv               gene lists, shared by the studies that have the same rows
//! duplicates-HASH.arrow        cells that are copies of earlier ones
//! NAME-KEY/study.json          one study: columns, shards, ledger
//! NAME-KEY/shard-00000.arrow   its cells
//! NAME-KEY/profiles.arrow      what finds its copies
//! ```
//!
//! `KEY` is a hash of the file's path, size and time and of how it was read: a
//! study that is there is not read again. A study appears by one rename, the
//! corpus by the rename of its manifest; what no manifest names is swept away
//! by the next ingest.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufReader, Write},
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::TempDir;

use crate::{
    error::{Error, Result},
    gene::Gene,
    gene_list,
    ledger::{FileLedger, Ledger},
    metadata::MetadataField,
    profile::{Profile, ProfileWriter},
    shard::{ArrowWriter, Stored, StudyBlock, broken, schema},
    study::Study,
};

pub(crate) const FORMAT: &str = "gf-corpus";
pub(crate) const VERSION: u32 = 4;
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const PRODUCED_BY: &str =
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
const STUDY: &str = "study.json";
const LOCK: &str = ".lock";
/// Folders of studies that are being written.
const SCRATCH: &str = ".writing-";
/// Cells after which a shard is full.
const SHARD_CELLS: u64 = 32_768;
/// Digits of a key in a folder's name.
const KEY_DIGITS: usize = 12;

/// What `manifest.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) produced_by: String,
    pub(crate) content_hash: String,
    /// Cells of the corpus, copies not counted.
    pub(crate) n_cells: u64,
    pub(crate) studies: Vec<StudyEntry>,
    /// The copies, if they are to be left out.
    pub(crate) duplicates: Option<Stored>,
    pub(crate) ledger: Ledger,
}

/// A study of a corpus: the catalogue's row and the folder of its cells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StudyEntry {
    pub(crate) folder: String,
    /// The hash of its `study.json`.
    pub(crate) xxh3: String,
    pub(crate) study: Study,
}

/// What `study.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StudyManifest {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) produced_by: String,
    pub(crate) key: String,
    pub(crate) genes: String,
    pub(crate) columns: Vec<MetadataField>,
    pub(crate) n_cells: u64,
    pub(crate) n_entries: u64,
    pub(crate) shards: Vec<Stored>,
    pub(crate) profiles: Stored,
    pub(crate) ledger: FileLedger,
}

impl StudyManifest {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(STUDY);
        let manifest: Self = read_json(&path)?;
        check_version(&path, &manifest.format, manifest.version)?;
        Ok(manifest)
    }
}

/// Refuses manifests of other formats and versions.
pub(crate) fn check_version(path: &Path, format: &str, version: u32) -> Result<()> {
    if (format, version) == (FORMAT, VERSION) {
        return Ok(());
    }
    let found = format!("found {format:?} version {version}");
    Err(broken(path, format!("{found}, expected {FORMAT:?} version {VERSION}")))
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = File::open(path).map_err(Error::io(path))?;
    serde_json::from_reader(BufReader::new(file))
        .map_err(|e| broken(path, format!("not a manifest of a corpus: {e}")))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| broken(path, e.to_string()))?;
    let mut file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    file.write_all(&text).map_err(Error::io(path))?;
    file.commit().map_err(Error::io(path))
}

/// A corpus folder that this process alone writes to.
pub(crate) struct Store {
    folder: PathBuf,
    /// Whether this process made the folder.
    is_new: bool,
    /// Held until the store goes.
    _lock: File,
}

impl Store {
    /// Takes a folder: a new or empty one, a corpus, or an interrupted ingest.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let is_new = !folder.exists();
        if !is_new && !is_ours(folder) {
            return Err(Error::NotACorpus { path: folder.to_owned() });
        }
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(Error::io(&path))?;
        lock.try_lock().map_err(|_| Error::Busy { path: folder.to_owned() })?;
        let store = Self { folder: folder.to_owned(), is_new, _lock: lock };
        store.sweep(|name| !name.starts_with(SCRATCH))?;
        Ok(store)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The manifest of the corpus that is there, if one is.
    fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.folder.join(MANIFEST);
        if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
    }

    /// Finished studies by their key.
    pub(crate) fn studies(&self) -> Result<HashMap<String, String>> {
        let mut studies = HashMap::new();
        for name in names(&self.folder)? {
            if let Ok(study) = StudyManifest::read(&self.folder.join(&name)) {
                studies.insert(study.key, name);
            }
        }
        Ok(studies)
    }

    /// The studies of the corpus that is there.
    pub(crate) fn entries(&self) -> Result<Vec<StudyEntry>> {
        Ok(self.manifest()?.map_or_else(Vec::new, |manifest| manifest.studies))
    }

    /// A folder for what is not finished; it goes with the value.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        scratch(&self.folder)
    }

    pub(crate) fn create_study(
        &self,
        genes: &[Gene],
        columns: &[MetadataField],
    ) -> Result<StudyWriter> {
        let genes = gene_list::write(&self.folder, genes)?;
        StudyWriter::create(&self.folder, genes, columns)
    }

    /// Puts the manifest in its place and removes what it does not name.
    pub(crate) fn commit(&self, manifest: &Manifest, gene_lists: &[String]) -> Result<()> {
        write_json(&self.folder.join(MANIFEST), manifest)?;
        let duplicates = manifest.duplicates.as_ref().map(|stored| stored.file.as_str());
        self.sweep(|name| {
            name == MANIFEST
                || name == LOCK
                || Some(name) == duplicates
                || gene_lists.iter().any(|list| list == name)
                || manifest.studies.iter().any(|entry| entry.folder == name)
        })
    }

    /// Removes what is ours and not to be kept.
    fn sweep(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        for name in names(&self.folder)?.into_iter().filter(|name| !keep(name)) {
            let path = self.folder.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Error::io(&path))?;
        }
        Ok(())
    }
}

impl Drop for Store {
    /// An ingest that finished no study leaves no folder behind.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(LOCK));
        let is_useful = |name: &String| name == MANIFEST || self.folder.join(name).is_dir();
        if !names(&self.folder).is_ok_and(|names| names.iter().any(is_useful)) {
            let _ = self.sweep(|_| false);
            if self.is_new {
                let _ = fs::remove_dir(&self.folder);
            }
        }
    }
}

fn scratch(folder: &Path) -> Result<TempDir> {
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(folder);
    scratch.map_err(Error::io(folder))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<Result<Vec<_>, _>>().map_err(Error::io(folder))?;
    names.sort();
    Ok(names)
}

/// Whether a folder holds nothing but what an ingest writes.
fn is_ours(folder: &Path) -> bool {
    let ours = |name: &String| match name.as_str() {
        MANIFEST => read_json::<Manifest>(&folder.join(MANIFEST))
            .is_ok_and(|m| check_version(folder, &m.format, m.version).is_ok()),
        LOCK => true,
        name if name.starts_with(SCRATCH) || gene_list::is_list(name) => true,
        name if name.starts_with("duplicates-") && name.ends_with(".arrow") => true,
        name => folder.join(name).join(STUDY).is_file(),
    };
    names(folder).is_ok_and(|names| names.iter().all(ours))
}

/// A study being written.
pub(crate) struct StudyWriter {
    corpus: PathBuf,
    /// Removed with all it holds unless the study is finished.
    scratch: TempDir,
    genes: String,
    columns: Vec<MetadataField>,
    shards: Vec<Stored>,
    open: Option<ArrowWriter>,
    profiles: ProfileWriter,
    n_cells: u64,
    n_entries: u64,
}

impl StudyWriter {
    fn create(corpus: &Path, genes: String, columns: &[MetadataField]) -> Result<Self> {
        let scratch = scratch(corpus)?;
        let folder = scratch.path().join("study");
        fs::create_dir(&folder).map_err(Error::io(&folder))?;
        Ok(Self {
            corpus: corpus.to_owned(),
            scratch,
            genes,
            columns: columns.to_vec(),
            shards: Vec::new(),
            open: None,
            profiles: ProfileWriter::create(&folder)?,
            n_cells: 0,
            n_entries: 0,
        })
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("study")
    }

    /// Adds cells; an empty block adds nothing.
    pub(crate) fn write(&mut self, block: &StudyBlock, profiles: &[Profile]) -> Result<()> {
        if block.cell_ids.is_empty() {
            return Ok(());
        }
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => self.start_shard()?,
        };
        shard.write_block(block)?;
        self.profiles.write(profiles)?;
        self.n_cells += block.cell_ids.len() as u64;
        self.n_entries += block.counts.n_entries() as u64;
        if shard.n_rows() >= SHARD_CELLS {
            self.shards.push(shard.finish()?);
        } else {
            self.open = Some(shard);
        }
        Ok(())
    }

    fn start_shard(&self) -> Result<ArrowWriter> {
        let name = format!("shard-{:05}.arrow", self.shards.len());
        ArrowWriter::create(self.folder().join(name), schema(&self.columns))
    }

    /// Puts the study among those of the corpus; returns its folder's name.
    pub(crate) fn finish(mut self, name: &str, key: String, ledger: FileLedger) -> Result<String> {
        if let Some(shard) = self.open.take() {
            self.shards.push(shard.finish()?);
        }
        let folder = self.folder();
        let final_name = format!("{name}-{}", &key[..KEY_DIGITS.min(key.len())]);
        let manifest = StudyManifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            produced_by: PRODUCED_BY.to_owned(),
            key,
            genes: self.genes,
            columns: self.columns,
            n_cells: self.n_cells,
            n_entries: self.n_entries,
            shards: self.shards,
            profiles: self.profiles.finish()?,
            ledger,
        };
        write_json(&folder.join(STUDY), &manifest)?;
        let target = self.corpus.join(&final_name);
        if target.exists() {
            fs::remove_dir_all(&target).map_err(Error::io(&target))?;
        }
        fs::rename(&folder, &target).map_err(Error::io(&target))?;
        Ok(final_name)
    }
}

/// The hash of a study's `study.json`, which names all else by hash.
pub(crate) fn study_hash(folder: &Path) -> Result<String> {
    crate::shard::hash_file(&folder.join(STUDY))
}
