//! The file `.NAME.partial` beside a table, which a run that was broken off leaves behind.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_128;

use crate::Error;

/// Bytes of a hashed key.
pub(crate) const KEY_BYTES: usize = 16;

/// What a file begins with: the hash of a key that says everything its numbers depend on.
pub(crate) fn hash(key: &str) -> [u8; KEY_BYTES] {
    xxh3_128(key.as_bytes()).to_le_bytes()
}

/// Opens the file of the table at `target`, or makes it, and locks it.
///
/// # Errors
///
/// It cannot be written, or another run is writing it.
pub(crate) fn open(target: &Path) -> Result<(PathBuf, File), Error> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let path = target.with_file_name(format!(".{name}.partial"));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok((path, file)),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}
