//! One trait over every file format: genes, cells, and blocks of rows.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField},
};

mod text;
mod element;
mod hdf5;
mod zarr;
mod tree;
mod texts;
mod values;
mod gene_columns;
mod turned;
mod h5ad;
mod loom;
mod tenx_h5;
mod market;
mod mex;
mod delimited;

use hdf5::H5;
pub(crate) use text::{Lines, open_text};
use tree::Tree;
use zarr::Folder;
pub(crate) use zarr::is_zarr;

/// Farthest a stored value may lie from a whole number and still be a count.
///
/// Tables that went through floating point carry noise of 1e-11 (celltypist's
/// sample); the smallest value of a log-normalised cell lies 1e-2 from zero.
pub const COUNT_TOLERANCE: f64 = 1e-6;

/// How to read a file of counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// The matrix of an `.h5ad` file or AnnData zarr folder: `X`, `raw/X` or the name of a layer.
    /// Without it: `X` if it holds raw counts, else `raw/X`, else the layer
    /// `counts`. Of a `.loom` file: `matrix` (which is read without it) or the
    /// name of a layer; of a 10x HDF5 file: the group of a genome. MEX folders
    /// hold one matrix and take no notice.
    pub layer: Option<String>,
    /// The column of var (`.h5ad`) or row attribute (`.loom`) that names the
    /// genes, and nothing else does; `index` is the index of var. Without it the
    /// column with most Ensembl ids. Other formats take no notice.
    pub gene_column: Option<String>,
}

/// How a file keeps its counts. They are the same counts; but whoever has to
/// repeat another program's arithmetic to the last bit must know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Storage {
    /// Where its zeros are.
    pub layout: Layout,
    /// Whether its numbers have as few bits as numpy computes with in 32-bit
    /// floats: floats of 32 bits, or integers of at most 16.
    pub is_narrow: bool,
}

/// Whether a file keeps zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// No.
    #[default]
    Sparse,
    /// Yes.
    Dense,
    /// Yes, gene by gene, as `.loom` files do.
    Loom,
}

/// A gene row as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGene {
    /// The id column: an Ensembl id, or whatever else stands there.
    pub id: String,
    /// The name column, where there is one.
    pub symbol: Option<String>,
}

/// Rows of a file that are no genes: antibodies, guides, peaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherFeatures {
    /// How many such rows.
    pub rows: u64,
    /// The counts read from them so far.
    pub counts: u64,
}

/// Some consecutive cells of a file, over the file's own gene rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceBlock {
    /// One id a cell.
    pub cell_ids: Vec<String>,
    /// Cells × [`CountSource::genes`].
    pub counts: CountMatrix,
    /// One per [`CountSource::columns`], of its kind, one value a cell.
    pub columns: Vec<MetadataColumn>,
}

/// A file of raw counts, read in blocks of cells.
pub trait CountSource: Send {
    /// The file or folder.
    fn path(&self) -> &Path;

    /// Which matrix of it is read: `matrix.mtx`, `X`, `raw/X`, `layers/NAME`.
    fn layer(&self) -> &str;

    /// Its gene rows, in file order.
    fn genes(&self) -> &[SourceGene];

    /// Its number of cells.
    fn n_cells(&self) -> usize;

    /// Its per-cell metadata columns.
    fn columns(&self) -> &[MetadataField];

    /// Metadata that is left out: columns stored in a way that is not read,
    /// and of a `.loom` file the `row_attrs/NAME` that no gene is named by.
    fn unread_columns(&self) -> &[String] {
        &[]
    }

    /// How it keeps the matrix.
    fn storage(&self) -> Storage {
        Storage::default()
    }

    /// Rows that are no genes, by feature type.
    fn other_features(&self) -> &BTreeMap<String, OtherFeatures> {
        static NONE: BTreeMap<String, OtherFeatures> = BTreeMap::new();
        &NONE
    }

    /// The next cells, at most `max_cells` of them; `None` after the last.
    ///
    /// # Errors
    /// Names the file and the first place where it breaks its format, above
    /// all [`Error::NotCounts`].
    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>>;
}

/// Opens a 10x MEX folder (v2 or v3 layout, gzip or plain) or the
/// `…matrix.mtx` of one; an AnnData zarr folder (format 2 or 3); an `.h5ad` or
/// `.loom` file; an `.h5` or `.hdf5` file,
/// which is known by its content: 10x HDF5, or one of the two others under a
/// wrong name; or a table of text (`.csv`, `.tsv`, `.txt`), which may be gzip.
///
/// # Errors
/// [`Error::UnknownFormat`] or [`Error::UnknownHdf5`] for anything else, or
/// what is wrong with the file.
pub fn open_source(path: &Path, options: &SourceOptions) -> Result<Box<dyn CountSource>> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    if meta.is_dir() {
        if is_zarr(path) {
            let folder = Folder::open(path)?;
            return Ok(Box::new(h5ad::H5adSource::open(Tree::Zarr(&folder), options)?));
        }
        return Ok(Box::new(mex::MexSource::open(path)?));
    }
    let end = path.extension().unwrap_or_default().to_ascii_lowercase();
    match end.to_str() {
        Some("h5ad") => {
            Ok(Box::new(h5ad::H5adSource::open(Tree::Hdf5(&H5::open(path)?), options)?))
        }
        Some("loom") => Ok(Box::new(loom::LoomSource::open(&H5::open(path)?, options)?)),
        Some("h5" | "hdf5") => open_hdf5(&H5::open(path)?, options),
        _ if mex::is_matrix(path) => Ok(Box::new(mex::MexSource::open(path)?)),
        _ if delimited::is_table(path) => Ok(Box::new(delimited::DelimitedSource::open(path)?)),
        _ => Err(Error::UnknownFormat { path: path.to_owned() }),
    }
}

/// Opens an HDF5 file by what lies in it.
fn open_hdf5(h5: &H5, options: &SourceOptions) -> Result<Box<dyn CountSource>> {
    let has = |names: [&str; 2]| names.iter().all(|name| h5.has(name));
    if tenx_h5::is_tenx(h5) {
        return Ok(Box::new(tenx_h5::TenxSource::open(h5, options)?));
    }
    if has(["obs", "var"]) {
        return Ok(Box::new(h5ad::H5adSource::open(Tree::Hdf5(h5), options)?));
    }
    if has(["matrix", "row_attrs"]) {
        return Ok(Box::new(loom::LoomSource::open(h5, options)?));
    }
    let present = h5.top();
    let present = if present.is_empty() { "nothing".to_owned() } else { present.join(", ") };
    Err(Error::UnknownHdf5 { path: h5.path().to_owned(), present })
}

/// The count a stored number stands for, if it stands for one.
pub(crate) fn raw_count(value: f64) -> Option<u32> {
    // Nearly every value is whole, and this tells faster than rounding does.
    let count = value as u32;
    if f64::from(count) == value {
        return Some(count);
    }
    let rounded = value.round();
    let whole = (value - rounded).abs() <= COUNT_TOLERANCE;
    (whole && (0.0..=f64::from(u32::MAX)).contains(&rounded)).then_some(rounded as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_counts_are_whole_and_fit() {
        let check = |value: f64, expected| assert_eq!(raw_count(value), expected, "{value}");
        check(0.0, Some(0));
        check(-0.0, Some(0));
        check(0.999_999_999_999_999, Some(1));
        check(32.000_000_000_000_1, Some(32));
        check(4_294_967_295.0, Some(u32::MAX));
        check(4_294_967_296.0, None);
        check(0.5, None);
        check(1.000_01, None);
        check(-1.0, None);
        check(f64::NAN, None);
        check(f64::INFINITY, None);
    }
}
