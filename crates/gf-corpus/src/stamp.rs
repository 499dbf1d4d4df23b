//! Whether a file is still the one that was read.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use xxhash_rust::xxh3::Xxh3;

use crate::{
    error::{Error, Result},
    ingest::IngestOptions,
    store::VERSION,
    study::Study,
};

/// Deepest folders looked into: an AnnData zarr has four levels.
const MAX_DEPTH: usize = 12;

/// A hash of a study's file (path, size and time of each part) and of all that
/// decides what is read from it.
pub(crate) fn key(study: &Study, options: &IngestOptions) -> Result<String> {
    let mut hasher = Xxh3::new();
    let read_as = (VERSION, &study.id, &study.layer, study.expected_cells, &options.source);
    let judged_by = (options.genes.hash(), options.collapse, &options.qc, &options.droplets);
    hasher.update(format!("{read_as:?}{judged_by:?}").as_bytes());
    let path = std::path::absolute(&study.path).map_err(Error::io(&study.path))?;
    let mut parts = Vec::new();
    collect(&path, MAX_DEPTH, &mut parts)?;
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, meta) in parts {
        let time = meta.modified().map_err(Error::io(&path))?;
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        hasher.update(format!("{}\0{}\0{time:?}\0", path.display(), meta.len()).as_bytes());
    }
    Ok(format!("{:032x}", hasher.digest128()))
}

fn collect(path: &Path, depth: usize, parts: &mut Vec<(PathBuf, Metadata)>) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    if !meta.is_dir() {
        parts.push((path.to_owned(), meta));
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        collect(&entry.map_err(Error::io(path))?.path(), depth - 1, parts)?;
    }
    Ok(())
}
