//! Files that appear whole or not at all: written beside their target, then renamed.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// A folder that appears under its name only when it is complete; dropped before, it leaves nothing.
pub(crate) struct PendingFolder {
    guard: TempDir,
    folder: PathBuf,
    target: PathBuf,
}

impl PendingFolder {
    /// Starts a folder beside `target`, which must not exist.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        if target.exists() {
            return Err(Error::OutputExists { path: target.into() });
        }
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(at(parent))?;
        let guard = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent).map_err(at(parent))?;
        // A folder of its own inside: the temporary one is readable by its owner only.
        let folder = guard.path().join("folder");
        fs::create_dir(&folder).map_err(at(&folder))?;
        Ok(Self { guard, folder, target: target.into() })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder its name.
    pub(crate) fn persist(self) -> Result<()> {
        if self.target.exists() {
            return Err(Error::OutputExists { path: self.target });
        }
        fs::rename(&self.folder, &self.target).map_err(at(&self.target))?;
        let path = self.guard.path().to_owned();
        self.guard.close().map_err(at(&path))
    }
}

/// Writes a file beside `path` and renames it.
pub(crate) fn write_beside(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> io::Result<()>,
) -> Result<()> {
    let mut file = temporary_file(parent_of(path)).map_err(at(path))?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(at(path))?;
    drop(buffered);
    file.persist(path).map_err(|error| at(path)(error.error))?;
    Ok(())
}

fn temporary_file(parent: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // Temporary files are their owner's alone by default; a result is for everyone the umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(parent)
}

/// Puts the path into an I/O error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.into(), source }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
