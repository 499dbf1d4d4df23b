//! Files and folders on a command line become a catalogue.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::{
    catalogue::Catalogue,
    error::{Error, Result},
    source::is_zarr,
    study::Study,
};

/// Deepest folders looked into.
const MAX_DEPTH: usize = 12;
/// Endings of files that a folder is searched for. Tables of text are not among
/// them: beside counts they mostly hold something else.
const ENDINGS: [&str; 3] = ["h5ad", "loom", "h5"];
/// Folder names that say nothing about the sample.
const GENERIC_FOLDERS: [&str; 9] = [
    "filtered_feature_bc_matrix",
    "raw_feature_bc_matrix",
    "filtered_gene_bc_matrices",
    "raw_gene_bc_matrices",
    "outs",
    "hg19",
    "hg38",
    "GRCh37",
    "GRCh38",
];

/// What was found under some paths.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// One study a file, named after the file or its nearest telling folder.
    pub catalogue: Catalogue,
    /// Files that hold no counts as far as their names tell.
    pub skipped: Vec<PathBuf>,
}

impl Found {
    /// Takes files as they are and searches folders, in the order of the names
    /// in them, for MEX folders, `.zarr` folders and `.h5ad`, `.loom` and `.h5`
    /// files.
    ///
    /// A study is called as its file without extension, for a MEX folder as the
    /// nearest folder with a telling name; a name that is taken gets a number.
    ///
    /// # Errors
    /// A path is not there, or a folder holds no counts.
    pub fn under(paths: &[PathBuf]) -> Result<Self> {
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        for path in paths {
            let n_before = files.len();
            search(path, MAX_DEPTH, &mut files, &mut skipped)?;
            if files.len() == n_before {
                return Err(Error::UnknownFormat { path: path.clone() });
            }
        }
        let mut taken = HashSet::new();
        let studies = files.into_iter().map(|path| {
            let id = free_name(&sample_name(&path), &mut taken);
            Study::new(id, path)
        });
        Ok(Self { catalogue: Catalogue { studies: studies.collect() }, skipped })
    }
}

fn search(
    path: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    skipped: &mut Vec<PathBuf>,
) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    let is_named = depth == MAX_DEPTH;
    if !meta.is_dir() {
        let list = if is_named || has_ending(path, &ENDINGS) { files } else { skipped };
        list.push(path.to_owned());
        return Ok(());
    }
    if has_ending(path, &["zarr"]) || is_zarr(path) || is_mex(path)? {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth == 0 {
        skipped.push(path.to_owned());
        return Ok(());
    }
    children(path)?.iter().try_for_each(|child| search(child, depth - 1, files, skipped))
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(Error::io(folder))?;
    paths.sort();
    Ok(paths)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    end.is_some_and(|end| endings.iter().any(|known| known.eq_ignore_ascii_case(end)))
}

fn is_mex(folder: &Path) -> Result<bool> {
    // A folder that lacks one of them is a broken MEX folder, not another thing.
    let is_part = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.as_deref().map(|name| name.strip_suffix(".gz").unwrap_or(name));
        name.is_some_and(|name| name.ends_with("matrix.mtx") || name.ends_with("barcodes.tsv"))
    };
    Ok(children(folder)?.iter().any(is_part))
}

/// The stem of a file, or the nearest telling folder of a MEX folder.
fn sample_name(path: &Path) -> String {
    let names =
        path.ancestors().filter_map(|p| if p == path { p.file_stem() } else { p.file_name() });
    let mut names = names.map(|name| plain(&name.to_string_lossy()));
    let name = names.find(|name| !name.is_empty() && !GENERIC_FOLDERS.contains(&name.as_str()));
    name.unwrap_or_else(|| "cells".to_owned())
}

/// A name of letters, digits, `.`, `_` and `-`, as study ids are.
fn plain(name: &str) -> String {
    const MAX_CHARS: usize = 80;
    let name = name.trim_end_matches(".csv").trim_end_matches(".tsv").trim_end_matches(".txt");
    let name = name.trim_end_matches("matrix.mtx").trim_matches(['.', '_', '-']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.chars().take(MAX_CHARS).map(|c| if is_plain(c) { c } else { '_' }).collect()
}

fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| taken.insert(name.clone())).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_named_after_what_tells_most() {
        let check = |path: &str, expected: &str| {
            assert_eq!(sample_name(Path::new(path)), expected, "{path}");
        };
        check("donor1/outs/filtered_feature_bc_matrix", "donor1");
        check("pbmc3k/filtered_gene_bc_matrices/hg19", "pbmc3k");
        check("cells of a.h5ad", "cells_of_a");
        check("x/table.csv.gz", "table");
        check("x/GSM1_matrix.mtx.gz", "GSM1");
        check("/", "cells");
    }

    #[test]
    fn taken_names_are_numbered() {
        let mut taken = HashSet::new();
        let names: Vec<String> = (0..3).map(|_| free_name("a", &mut taken)).collect();
        assert_eq!(names, ["a", "a-2", "a-3"]);
    }
}
