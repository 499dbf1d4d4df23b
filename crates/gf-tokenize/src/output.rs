//! Files that appear whole or not at all: written beside their target, then renamed.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;

use crate::error::{Error, Result};

/// The folder being written, inside the partial one.
const NEW: &str = "new";
/// What had the name before, on its way out.
const OLD: &str = "old";
const LOCK: &str = "lock";

/// A folder that appears under its name only when it is complete. Until then it is `.NAME.partial`
/// beside it, locked against a second run. Dropped, it leaves nothing unless it was told to stay.
pub(crate) struct PendingFolder {
    partial: PathBuf,
    folder: PathBuf,
    target: PathBuf,
    replaceable: fn(&Path) -> bool,
    stays: bool,
    /// Locked as long as it is open.
    _lock: File,
}

impl PendingFolder {
    /// Takes the partial folder of `target`, which must not exist or be `replaceable`. What an
    /// earlier run left in it is still there.
    pub(crate) fn claim(target: &Path, replaceable: fn(&Path) -> bool) -> Result<Self> {
        check_target(target, replaceable)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let partial = parent_of(target).join(format!(".{name}.partial"));
        fs::create_dir_all(&partial).map_err(at(&partial))?;
        let lock = lock(&partial)?;
        let old = partial.join(OLD);
        if old.exists() && !target.exists() {
            fs::rename(&old, target).map_err(at(&old))?;
        }
        let folder = partial.join(NEW);
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        Ok(Self { partial, folder, target: target.into(), replaceable, stays: false, _lock: lock })
    }

    /// Where the files go.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Where notes go that are not part of the folder.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Removes what an earlier run left.
    pub(crate) fn empty(&mut self) -> Result<()> {
        self.stays = false;
        fs::remove_dir_all(&self.folder).map_err(at(&self.folder))?;
        fs::create_dir(&self.folder).map_err(at(&self.folder))
    }

    /// From now on what is there is worth keeping.
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }

    /// Gives the folder its name; what had it before goes with the partial folder.
    pub(crate) fn persist(mut self) -> Result<()> {
        check_target(&self.target, self.replaceable)?;
        let old = self.partial.join(OLD);
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
        // Dropping takes the partial folder away, with the old one and the notes.
        self.stays = false;
        Ok(())
    }
}

impl Drop for PendingFolder {
    fn drop(&mut self) {
        // A kill between two renames has left the only copy of the old folder here.
        let holds_old = self.partial.join(OLD).exists() && !self.target.exists();
        if !self.stays && !holds_old {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

fn lock(partial: &Path) -> Result<File> {
    let path = partial.join(LOCK);
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: partial.into() }),
        Err(TryLockError::Error(source)) => Err(at(&path)(source)),
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
