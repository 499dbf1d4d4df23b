//! An `.h5ad` file, written as its cells come: what anndata 0.8 and newer (and
//! so scanpy) read, in the encodings of the AnnData specification
//! (<https://anndata.readthedocs.io/en/stable/fileformat-prose.html>).
//!
//! Counts are written as 32-bit integers and not as the 32-bit floats many
//! files have: these are exact to 2²⁴ only, and numpy adds integers up in 64
//! bits. Text columns become categorical columns, and whole numbers and truth
//! values nullable columns if some are missing; that can be told only when every
//! value was seen: until then they wait in a temporary file.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use rust_hdf5::H5File;
use tempfile::TempDir;

use self::{
    node::{Array, DATAFRAME, DICT, Node, Strings},
    spool::Spool,
    target::{claim, persist},
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    gene::Gene,
    metadata::{MetadataColumn, MetadataField, MetadataKind},
};

mod node;
mod spool;
mod target;

/// Most columns of obs: their names are one HDF5 attribute, which holds 64 KiB.
pub const MAX_OBS_COLUMNS: usize = 4000;
/// Stored values per chunk of the sparse matrix.
const CHUNK_VALUES: usize = 1 << 16;
/// Cells per chunk of everything with a value a cell.
const CHUNK_CELLS: usize = 1 << 14;
/// Bytes per chunk of an embedding, about.
const CHUNK_BYTES: usize = 1 << 18;
/// Name of the index of obs and var.
const INDEX: &str = "_index";

/// An `.h5ad` file that grows by blocks of cells and appears under its name
/// when it is finished; dropped before, it leaves nothing.
///
/// Memory does not grow with the cells, but for 16 bytes a chunk of 65,536
/// counts; the categories of text columns take 64 MiB at most, and a column
/// with more of them is written as plain text.
///
/// ```
/// use gf_corpus::{
///     Biotype, CountMatrix, Gene, H5adWriter, MetadataColumn, MetadataField, MetadataKind,
/// };
///
/// let id = "ENSG00000136574".parse()?;
/// let genes = [Gene { id, symbol: "GATA4".into(), biotype: Biotype::ProteinCoding }];
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("cells.h5ad");
///
/// let organ = MetadataField::new("organ", MetadataKind::Text);
/// let mut writer = H5adWriter::create(&path, &genes, &[organ])?;
/// writer.add_rows("X_geneformer", 2)?;
/// let mut counts = CountMatrix::new(1);
/// counts.push_row(vec![(0, 7)])?;
/// let organs = MetadataColumn::Text(vec![Some("heart".into())]);
/// writer.push_cells(&["cell 1"], &counts, &[organs])?;
/// writer.push_rows("X_geneformer", &[0.5, -0.5])?;
/// assert_eq!(writer.finish()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct H5adWriter {
    path: PathBuf,
    matrix: Matrix,
    ids: Strings,
    columns: Vec<Column>,
    spool: Spool,
    embeddings: Vec<Embedding>,
    obs: Node,
    obsm: Node,
    n_cells: u64,
    /// More than `n_cells` after a push that failed half-way.
    n_begun: u64,
    file: H5File,
    /// Last, so that it outlives the open files in it.
    folder: TempDir,
}

/// The parts of `X`.
struct Matrix {
    group: Node,
    data: Array,
    indices: Array,
    indptr: Array,
    n_genes: usize,
    n_entries: i64,
}

/// A column of obs. Where its values go: numbers that can be NaN into the file,
/// all others to the spool.
struct Column {
    field: MetadataField,
    floats: Option<Array>,
}

/// One matrix of obsm.
struct Embedding {
    name: String,
    width: usize,
    rows: Array,
    n_rows: u64,
}

impl H5adWriter {
    /// Starts a file with these genes (var: id, `gene_symbol`, `biotype`) and
    /// columns of obs. What `path` names stays as it is until [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Setting`] for a column's name that is empty, has a slash or
    /// occurs twice, and for more than [`MAX_OBS_COLUMNS`]; [`Error::Io`] and
    /// [`Error::Hdf5`] if nothing can be written beside `path`.
    pub fn create(path: &Path, genes: &[Gene], columns: &[MetadataField]) -> Result<Self> {
        check_columns(columns)?;
        let (folder, file, root) = claim(path)?;
        root.encode("anndata", "0.1.0")?;
        write_genes(&root, genes)?;
        for empty in ["layers", "obsp", "uns", "varm", "varp"] {
            root.group(empty, DICT)?;
        }
        let obs = root.group("obs", DATAFRAME)?;
        obs.attribute("_index", INDEX)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        obs.names("column-order", &names)?;
        Ok(Self {
            path: path.to_owned(),
            matrix: Matrix::create(&root, genes.len())?,
            ids: obs.strings(INDEX, CHUNK_CELLS)?,
            columns: columns
                .iter()
                .map(|column| Column::create(&obs, column))
                .collect::<Result<_>>()?,
            spool: Spool::create(folder.path(), columns)?,
            embeddings: Vec::new(),
            obsm: root.group("obsm", DICT)?,
            obs,
            n_cells: 0,
            n_begun: 0,
            file,
            folder,
        })
    }

    /// Number of cells so far.
    #[must_use]
    pub fn n_cells(&self) -> u64 {
        self.n_cells
    }

    /// Adds cells: their ids, their counts over the genes of the file, and for
    /// each column of obs, in the order they were declared, a value a cell.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Setting`], before anything is written, if
    /// the parts do not belong together; [`Error::Counts`] for a count above
    /// 2³¹ − 1; [`Error::Io`] or [`Error::Hdf5`] if it cannot be written.
    pub fn push_cells<S: AsRef<str>>(
        &mut self,
        cell_ids: &[S],
        counts: &CountMatrix,
        columns: &[MetadataColumn],
    ) -> Result<()> {
        self.check_cells(cell_ids.len(), counts, columns)?;
        self.n_begun += cell_ids.len() as u64;
        self.matrix.push(counts)?;
        let cell_ids: Vec<&str> = cell_ids.iter().map(AsRef::as_ref).collect();
        self.ids.append(&cell_ids)?;
        for (column, values) in self.columns.iter().zip(columns) {
            if let (Some(array), MetadataColumn::Floats(values)) = (&column.floats, values) {
                let values = values.iter().map(|value| value.unwrap_or(f64::NAN));
                array.append(&values.collect::<Vec<_>>())?;
            }
        }
        self.spool.push(cell_ids.len(), columns)?;
        self.n_cells += cell_ids.len() as u64;
        Ok(())
    }

    /// Declares a matrix of obsm, such as an embedding: `width` numbers a cell.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0 and for a name that is empty, has a
    /// slash or is taken; [`Error::Hdf5`] if it cannot be written.
    pub fn add_rows(&mut self, name: &str, width: usize) -> Result<()> {
        let is_taken = self.embeddings.iter().any(|rows| rows.name == name);
        if width == 0 || is_taken || !is_name(name) {
            return Err(Error::Setting {
                name: "obsm",
                found: format!("{name:?} of width {width}"),
                expected: "a width above 0 and a new name without slashes".to_owned(),
            });
        }
        let per_chunk = (CHUNK_BYTES / size_of::<f32>() / width).clamp(1, CHUNK_CELLS);
        let rows = self.obsm.rows(name, width, per_chunk)?;
        self.embeddings.push(Embedding { name: name.to_owned(), width, rows, n_rows: 0 });
        Ok(())
    }

    /// Adds rows to a matrix of obsm, one after the other; they may run ahead
    /// of the cells or behind.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that was not declared; [`Error::Length`]
    /// unless the values are whole rows; [`Error::Hdf5`] if they cannot be written.
    pub fn push_rows(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let Some(rows) = self.embeddings.iter_mut().find(|rows| rows.name == name) else {
            let expected = "the name of a declared matrix".to_owned();
            return Err(Error::Setting { name: "obsm", found: format!("{name:?}"), expected });
        };
        let whole = values.len() / rows.width * rows.width;
        agree(&self.path, format!("values of obsm/{name}"), values.len() as u64, whole as u64)?;
        if whole > 0 {
            rows.rows.append(values)?;
            rows.n_rows += (whole / rows.width) as u64;
        }
        Ok(())
    }

    /// Writes what had to wait and gives the file its name; what had it before
    /// is replaced. Returns the number of cells.
    ///
    /// # Errors
    /// [`Error::Length`] if a matrix of obsm has not a row for each cell, or if
    /// cells were not written whole because a call before failed;
    /// [`Error::Io`] or [`Error::Hdf5`] if the file cannot be written.
    pub fn finish(self) -> Result<u64> {
        for rows in &self.embeddings {
            agree(&self.path, format!("rows of obsm/{}", rows.name), rows.n_rows, self.n_cells)?;
        }
        agree(&self.path, "cells written whole".to_owned(), self.n_cells, self.n_begun)?;
        self.matrix.finish(self.n_cells)?;
        self.spool.write(&self.obs)?;
        persist(self.file, &self.folder, &self.path)?;
        Ok(self.n_cells)
    }

    fn check_cells(
        &self,
        n: usize,
        counts: &CountMatrix,
        columns: &[MetadataColumn],
    ) -> Result<()> {
        let same = |what: String, found: usize, expected: usize| {
            agree(&self.path, what, found as u64, expected as u64)
        };
        same("cells of the counts".to_owned(), counts.n_cells(), n)?;
        same("genes of the counts".to_owned(), counts.n_genes(), self.matrix.n_genes)?;
        same("columns of obs".to_owned(), columns.len(), self.columns.len())?;
        for (column, values) in self.columns.iter().zip(columns) {
            same(format!("values of obs/{}", column.field.name), values.len(), n)?;
            column.check(values)?;
        }
        Ok(())
    }
}

impl Matrix {
    fn create(root: &Node, n_genes: usize) -> Result<Self> {
        let group = root.group("X", ("csr_matrix", "0.1.0"))?;
        let indptr = group.array::<i64>("indptr", CHUNK_CELLS)?;
        indptr.append(&[0i64])?;
        Ok(Self {
            data: group.array::<i32>("data", CHUNK_VALUES)?,
            indices: group.array::<i32>("indices", CHUNK_VALUES)?,
            indptr,
            group,
            n_genes,
            n_entries: 0,
        })
    }

    fn push(&mut self, counts: &CountMatrix) -> Result<()> {
        let mut values = Vec::with_capacity(counts.n_entries());
        for (at, &count) in counts.values().iter().enumerate() {
            values.push(i32::try_from(count).map_err(|_| too_large(counts, at))?);
        }
        // A gene's place is below the length of a list in memory: far below 2³¹.
        let indices: Vec<i32> = counts.indices().iter().map(|&gene| gene as i32).collect();
        let ends: Vec<i64> =
            counts.indptr()[1..].iter().map(|&end| self.n_entries + end as i64).collect();
        self.data.append(&values)?;
        self.indices.append(&indices)?;
        self.indptr.append(&ends)?;
        self.n_entries += counts.n_entries() as i64;
        Ok(())
    }

    fn finish(&self, n_cells: u64) -> Result<()> {
        self.group.numbers("shape", &[n_cells as i64, self.n_genes as i64])
    }
}

fn too_large(counts: &CountMatrix, at: usize) -> Error {
    let cell = counts.indptr().partition_point(|&end| end <= at) - 1;
    let (gene, count) = (counts.indices()[at], counts.values()[at]);
    let reason = format!("gene {gene}: found a count of {count}, expected at most {}", i32::MAX);
    Error::Counts { cell, reason }
}

impl Column {
    fn create(obs: &Node, field: &MetadataField) -> Result<Self> {
        let is_float = field.kind == MetadataKind::Float;
        let floats = is_float.then(|| obs.array::<f64>(&field.name, CHUNK_CELLS)).transpose()?;
        Ok(Self { field: field.clone(), floats })
    }

    fn check(&self, values: &MetadataColumn) -> Result<()> {
        let MetadataField { name, kind, .. } = &self.field;
        if values.kind() == *kind {
            return Ok(());
        }
        let found = format!("{:?} for {name:?}", values.kind());
        Err(Error::Setting { name: "obs column", found, expected: format!("{kind:?}") })
    }
}

fn write_genes(root: &Node, genes: &[Gene]) -> Result<()> {
    let var = root.group("var", DATAFRAME)?;
    var.attribute("_index", INDEX)?;
    var.names("column-order", &["gene_symbol", "biotype"])?;
    let ids: Vec<String> = genes.iter().map(|gene| gene.id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    var.strings(INDEX, CHUNK_CELLS)?.append(&ids)?;
    let symbols: Vec<&str> = genes.iter().map(|gene| gene.symbol.as_str()).collect();
    var.strings("gene_symbol", CHUNK_CELLS)?.append(&symbols)?;
    let biotypes: Vec<&str> = genes.iter().map(|gene| gene.biotype.name()).collect();
    var.strings("biotype", CHUNK_CELLS)?.append(&biotypes)
}

fn check_columns(columns: &[MetadataField]) -> Result<()> {
    let wrong = |found: String, expected: String| {
        Err(Error::Setting { name: "obs column", found, expected })
    };
    if columns.len() > MAX_OBS_COLUMNS {
        return wrong(format!("{} columns", columns.len()), format!("at most {MAX_OBS_COLUMNS}"));
    }
    let mut seen = HashSet::new();
    for name in columns.iter().map(|column| column.name.as_str()) {
        if !is_name(name) || !seen.insert(name) {
            let expected = format!("distinct names without slashes, none of them {INDEX:?}");
            return wrong(format!("{name:?}"), expected);
        }
    }
    Ok(())
}

/// Whether HDF5 can have it as the name of one object, beside the index.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | INDEX) && !name.contains(['/', '\0'])
}

fn agree(path: &Path, what: String, found: u64, expected: u64) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Length { path: path.to_owned(), what, found, expected }),
    }
}
