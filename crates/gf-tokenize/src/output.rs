//! Files that appear whole or not at all: written beside their target, then renamed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use tempfile::TempDir;

use crate::error::{Error, Result};

/// A folder that appears under its name only when it is complete; dropped before, it leaves nothing.
pub(crate) struct PendingFolder {
    guard: TempDir,
    folder: PathBuf,
    target: PathBuf,
    replaceable: fn(&Path) -> bool,
}

impl PendingFolder {
    /// Starts a folder beside `target`, which must not exist or be `replaceable`.
    pub(crate) fn create(target: &Path, replaceable: fn(&Path) -> bool) -> Result<Self> {
        check_target(target, replaceable)?;
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(at(parent))?;
        let guard =
            tempfile::Builder::new().prefix(".partial-").tempdir_in(parent).map_err(at(parent))?;
        // A folder of its own inside: the temporary one is readable by its owner only.
        let folder = guard.path().join("new");
        fs::create_dir(&folder).map_err(at(&folder))?;
        Ok(Self { guard, folder, target: target.into(), replaceable })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder its name; what had it before goes with the temporary folder.
    pub(crate) fn persist(self) -> Result<()> {
        check_target(&self.target, self.replaceable)?;
        let old = self.guard.path().join("old");
        let had_old = self.target.exists();
        if had_old {
            fs::rename(&self.target, &old).map_err(at(&self.target))?;
        }
        fs::rename(&self.folder, &self.target).map_err(|source| {
            if had_old {
                let _ = fs::rename(&old, &self.target);
            }
            at(&self.target)(source)
        })?;
        let path = self.guard.path().to_owned();
        self.guard.close().map_err(at(&path))
    }
}

fn check_target(target: &Path, replaceable: fn(&Path) -> bool) -> Result<()> {
    match target.exists() && !replaceable(target) {
        true => Err(Error::OutputExists { path: target.into() }),
        false => Ok(()),
    }
}

/// Writes a file beside `path` and renames it.
pub(crate) fn write_beside(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let file = AtomicWriteFile::open(path).map_err(at(path))?;
    let mut buffered = BufWriter::new(&*file);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(at(path))?;
    drop(buffered);
    file.commit().map_err(at(path))
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
