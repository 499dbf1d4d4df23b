//! Which files make up a MEX folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

const MATRIX: &str = "matrix.mtx";
/// How many names an error quotes.
const QUOTED: usize = 5;

/// The three files; their names share what stands before `matrix.mtx`.
pub(super) struct Parts {
    pub(super) matrix: PathBuf,
    pub(super) barcodes: PathBuf,
    pub(super) features: PathBuf,
}

/// Whether a file is called as the matrix of a MEX folder is.
pub(in crate::source) fn is_matrix(path: &Path) -> bool {
    prefix(path).is_some()
}

/// What stands before `matrix.mtx` in the name of a file.
fn prefix(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".gz").unwrap_or(name).strip_suffix(MATRIX)
}

impl Parts {
    /// From a folder with one matrix, or from the matrix itself.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let matrix = if path.is_dir() { only_matrix(path)? } else { path.to_owned() };
        let folder = matrix.parent().unwrap_or(Path::new(""));
        let prefix = prefix(&matrix).unwrap_or_default();
        let barcodes = find(folder, prefix, &["barcodes.tsv"])?;
        let features = find(folder, prefix, &["features.tsv", "genes.tsv"])?;
        Ok(Self { matrix, barcodes, features })
    }
}

fn only_matrix(folder: &Path) -> Result<PathBuf> {
    let mut matrices = BTreeMap::<String, PathBuf>::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let Some(prefix) = prefix(&path).filter(|_| path.is_file()).map(str::to_owned) else {
            continue;
        };
        // Where it lies there plain and packed, the plain one is read.
        if path.extension().is_some_and(|end| end != "gz") || !matrices.contains_key(&prefix) {
            matrices.insert(prefix, path);
        }
    }
    if matrices.len() > 1 {
        let names = matrices.keys().take(QUOTED).map(|prefix| format!("{prefix}{MATRIX}"));
        let names = names.collect::<Vec<_>>().join(", ");
        let (path, found) = (folder.to_owned(), matrices.len());
        return Err(Error::SeveralMatrices { path, found, names });
    }
    let missing = || Error::MissingFile { path: folder.to_owned(), expected: MATRIX };
    matrices.into_values().next().ok_or_else(missing)
}

/// The first of the named files that is there, plain or `.gz`.
fn find(folder: &Path, prefix: &str, names: &[&'static str]) -> Result<PathBuf> {
    let path = |name: String| folder.join(format!("{prefix}{name}"));
    let paths =
        names.iter().flat_map(|name| [path((*name).to_owned()), path(format!("{name}.gz"))]);
    // Joining an empty prefix would put a slash behind the folder.
    let place = if prefix.is_empty() { folder.to_owned() } else { folder.join(prefix) };
    let missing = || Error::MissingFile { path: place, expected: names[0] };
    paths.into_iter().find(|path| path.is_file()).ok_or_else(missing)
}
