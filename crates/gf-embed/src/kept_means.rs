//! Means of genes on their way into a table: a file `.NAME.partial` beside the table, from
//! which a run that was broken off goes on.
//!
//! It holds the hash of a key that says everything the means depend on; how many cells are
//! in them (u64); of each gene its token (u32), how often it was added (u64) and its sums
//! (f64); the XXH3-64 of all this; all little-endian. The sums come back bit for bit, so
//! that a run in pieces gives the means of one in whole.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use gf_tokenize::TokenId;
use ndarray::Array1;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, GeneMeans, partial};

/// Means with a place on disk. It stays when they are dropped after they were
/// [kept](Self::keep), for the next run with the same key; [`remove`](Self::remove) it when
/// the table is written.
pub struct KeptMeans {
    /// The means so far.
    pub means: GeneMeans,
    /// Cells that are in them.
    pub n_cells: usize,
    path: PathBuf,
    key: [u8; partial::KEY_BYTES],
    /// Locked as long as it is open.
    file: File,
    is_kept: bool,
}

impl KeptMeans {
    /// The means that an earlier run kept for the table at `target`, if its key was the same
    /// and its file is whole; else none yet. `width` is that of the embeddings.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or another run is writing it.
    pub fn open(target: &Path, key: &str, width: usize) -> Result<Self, Error> {
        let (path, mut file) = partial::open(target)?;
        let key = partial::hash(key);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io(&path))?;
        let found = parse(&bytes, key, width);
        let is_kept = found.is_some();
        let (n_cells, means) = found.unwrap_or_default();
        Ok(Self { means, n_cells, path, key, file, is_kept })
    }

    /// Puts the means on disk in place of those before, if there are any; when this returns a
    /// kill does not lose them.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn keep(&mut self) -> Result<(), Error> {
        if self.n_cells > 0 {
            self.file = self.replace().map_err(Error::io(&self.path))?;
            self.is_kept = true;
        }
        Ok(())
    }

    /// Removes the file.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(mut self) -> Result<(), Error> {
        self.is_kept = false;
        fs::remove_file(&self.path).map_err(Error::io(&self.path))
    }

    /// Writes a new file, locks it and gives it the name.
    fn replace(&self) -> io::Result<File> {
        let mut file = AtomicWriteFile::open(&self.path)?;
        let locked = file.as_file().try_clone()?;
        locked.try_lock()?;
        file.write_all(&self.bytes())?;
        file.commit()?;
        Ok(locked)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.key.to_vec();
        bytes.extend((self.n_cells as u64).to_le_bytes());
        for (token, (n, sum)) in self.means.sums() {
            bytes.extend(token.0.to_le_bytes());
            bytes.extend(n.to_le_bytes());
            bytes.extend(sum.iter().flat_map(|x| x.to_le_bytes()));
        }
        let hash = xxh3_64(&bytes);
        bytes.extend(hash.to_le_bytes());
        bytes
    }
}

impl Drop for KeptMeans {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How many cells were added to which means; nothing if the file is not whole or of
/// another key.
fn parse(bytes: &[u8], key: [u8; partial::KEY_BYTES], width: usize) -> Option<(usize, GeneMeans)> {
    let (whole, hash) = bytes.split_last_chunk()?;
    let (found, rest) = whole.split_first_chunk()?;
    let (n_cells, rest) = rest.split_first_chunk()?;
    let genes = rest.chunks_exact(size_of::<u32>() + size_of::<u64>() + width * size_of::<f64>());
    let is_whole = xxh3_64(whole) == u64::from_le_bytes(*hash) && genes.remainder().is_empty();
    if *found != key || !is_whole {
        return None;
    }
    let sums = genes.map(gene).collect::<Option<_>>()?;
    Some((u64::from_le_bytes(*n_cells) as usize, GeneMeans::from_sums(sums)))
}

fn gene(bytes: &[u8]) -> Option<(TokenId, (u64, Array1<f64>))> {
    let (token, bytes) = bytes.split_first_chunk()?;
    let (n, sum) = bytes.split_first_chunk()?;
    let sum = sum.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect();
    Some((TokenId(u32::from_le_bytes(*token)), (u64::from_le_bytes(*n), sum)))
}
