//! Outputs are looked at before the work begins, not after hours of it.

use std::{fs, path::Path};

use atomic_write_file::AtomicWriteFile;

use crate::failure::Failure;

/// Makes sure that a file can be written at `path`; makes missing parents.
///
/// # Errors
///
/// A folder is there, or nothing can be written.
pub fn claim_file(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(failure(path, "found a folder, expected a file or nothing"));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failure(parent, error))?;
    }
    // Dropped without a commit it leaves nothing.
    AtomicWriteFile::open(path).map(drop).map_err(|error| failure(path, error))
}

/// Makes sure that a folder at `path` can hold `files` and holds nothing else.
///
/// # Errors
///
/// Something else is there, or nothing can be written.
pub fn claim_folder(path: &Path, files: &[&str]) -> Result<(), Failure> {
    if !path.exists() {
        return claim_file(path);
    }
    for entry in fs::read_dir(path).map_err(|error| failure(path, error))? {
        let name = entry.map_err(|error| failure(path, error))?.file_name();
        if !files.iter().any(|file| name == *file) {
            let found = format!("found {}, expected an empty or new folder", name.display());
            return Err(failure(path, found));
        }
    }
    files.iter().try_for_each(|file| claim_file(&path.join(file)))
}

fn failure(path: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::Error(format!("{}: {what}", path.display()).into())
}
