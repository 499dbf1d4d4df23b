//! The file as it is written: in a temporary folder beside its target.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rust_hdf5::H5File;
use tempfile::TempDir;

use super::node::Node;
use crate::error::{Error, Result};

/// The file in the temporary folder.
fn inside(folder: &TempDir) -> PathBuf {
    folder.path().join("new.h5ad")
}

/// Starts a file that is to be `path`: the folder it lies in, and its root.
pub(super) fn claim(path: &Path) -> Result<(TempDir, H5File, Node)> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent);
    let folder = folder.map_err(Error::io(parent))?;
    // Nobody else knows the name, and locks fail on some network file systems.
    let file = H5File::options().no_locking().create(inside(&folder));
    let file = file.map_err(|error| failed(path, "/", &error))?;
    let root = Node::root(&file, path);
    Ok((folder, file, root))
}

/// Closes the file and gives it its name.
pub(super) fn persist(file: H5File, folder: &TempDir, path: &Path) -> Result<()> {
    file.close().map_err(|error| failed(path, "/", &error))?;
    let new = inside(folder);
    if let Ok(old) = fs::metadata(path) {
        fs::set_permissions(&new, old.permissions()).map_err(Error::io(path))?;
    }
    fs::rename(&new, path).map_err(Error::io(path))
}

pub(super) fn failed(path: &Path, object: &str, error: &rust_hdf5::Hdf5Error) -> Error {
    Error::Hdf5 { path: path.to_owned(), object: object.to_owned(), reason: error.to_string() }
}
