//! AnnData files, every encoding from anndata 0.6 (compound obs and var,
//! `h5sparse_format`, `raw.X`) to 0.12 (nullable and categorical groups).
//!
//! The matrix is `X` if it holds raw counts, else `raw/X`, else
//! `layers/counts`, unless a layer is named. The gene ids are the index or
//! the column of var in which most values are Ensembl ids.

use std::path::{Path, PathBuf};

use self::{
    column::Column,
    frame::Frame,
    matrix::{Matrix, Names},
    table::Table,
};
use super::{
    CountSource, SourceBlock, SourceGene, SourceOptions, Storage,
    gene_columns::{GeneColumn, gene_rows},
    tree::Tree,
};
use crate::{
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField},
};

mod table;
mod stored;
mod column;
mod compound;
mod frame;
mod matrix;
mod compressed;
mod buckets;
mod dense;
mod ahead;
mod worker;

/// Most gene rows of a file (the largest annotations have 80,000).
const MAX_GENES: usize = 1 << 20;
/// Most cells of a block, whatever is asked for.
const MAX_BLOCK_CELLS: usize = 1 << 12;
/// What [`SourceOptions::gene_column`] calls the index.
const INDEX: &str = "index";
/// Most bytes of metadata in a block.
const MAX_BLOCK_TEXT: usize = 64 << 20;

/// An open `.h5ad` file.
pub(super) struct H5adSource {
    path: PathBuf,
    genes: Vec<SourceGene>,
    cells: Table,
    columns: Vec<MetadataField>,
    matrix: Matrix,
    next_cell: usize,
}

impl H5adSource {
    pub(super) fn open(tree: Tree, options: &SourceOptions) -> Result<Self> {
        let cells = Table::open(tree, "obs")?;
        let (matrix, genes) = match &options.layer {
            Some(layer) => open_layer(tree, layer, &cells, options)?,
            None => choose(tree, &cells, options)?,
        };
        let columns = cells.columns.iter();
        let columns = columns.map(|(name, stored)| stored.metadata_field(name)).collect();
        let path = tree.path().to_owned();
        Ok(Self { path, genes, cells, columns, matrix, next_cell: 0 })
    }
}

impl CountSource for H5adSource {
    fn path(&self) -> &Path {
        &self.path
    }

    fn layer(&self) -> &str {
        self.matrix.layer()
    }

    fn genes(&self) -> &[SourceGene] {
        &self.genes
    }

    fn n_cells(&self) -> usize {
        self.cells.n_rows
    }

    fn columns(&self) -> &[MetadataField] {
        &self.columns
    }

    fn storage(&self) -> Storage {
        self.matrix.storage()
    }

    fn unread_columns(&self) -> &[String] {
        &self.cells.unread
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        let start = self.next_cell;
        let end = self.n_cells().min(start + max_cells.clamp(1, MAX_BLOCK_CELLS));
        if start == end {
            return Ok(None);
        }
        let end = self.matrix.block_end(start, end)?;
        let names = Names { cells: &self.cells, genes: &self.genes };
        let counts = self.matrix.read(start, end, &names)?;
        let Frame { index: cell_ids, columns } = self.cells.read(start, end - start)?;
        let columns = self.values(columns, end - start)?;
        self.next_cell = end;
        Ok(Some(SourceBlock { cell_ids, counts, columns }))
    }
}

impl H5adSource {
    /// The metadata of a block.
    fn values(&self, columns: Vec<(String, Column)>, n: usize) -> Result<Vec<MetadataColumn>> {
        let mut n_bytes = 0;
        let mut all = Vec::new();
        for ((name, column), field) in columns.into_iter().zip(&self.columns) {
            let values = column.into_metadata(field.kind);
            if let MetadataColumn::Text(texts) = &values {
                n_bytes += texts.iter().flatten().map(String::len).sum::<usize>();
            }
            if n_bytes > MAX_BLOCK_TEXT {
                return Err(Error::Encoding {
                    path: self.path.clone(),
                    object: format!("{}/{name}", self.cells.object),
                    found: format!("{n_bytes} bytes of metadata for {n} cells"),
                    expected: format!("at most {MAX_BLOCK_TEXT}"),
                });
            }
            all.push(values);
        }
        Ok(all)
    }
}

/// A matrix of the file and the table of its genes; old files write `raw.X`.
fn candidates(layer: &str) -> Vec<(String, &'static str)> {
    match layer {
        "X" => vec![("X".to_owned(), "var")],
        "raw/X" | "raw.X" => vec![("raw/X".to_owned(), "raw/var"), ("raw.X".to_owned(), "raw.var")],
        name => {
            let name = name.strip_prefix("layers/").unwrap_or(name);
            vec![(format!("layers/{name}"), "var")]
        }
    }
}

fn find(tree: Tree, layer: &str) -> Option<(String, &'static str)> {
    candidates(layer).into_iter().find(|(object, _)| tree.has(object))
}

fn open_layer(
    tree: Tree,
    layer: &str,
    cells: &Table,
    options: &SourceOptions,
) -> Result<(Matrix, Vec<SourceGene>)> {
    let Some((object, var)) = find(tree, layer) else {
        return Err(missing(tree, layer));
    };
    let table = Frame::read(tree, var, MAX_GENES)?;
    let genes = match &options.gene_column {
        None => genes(&table),
        Some(name) => named_genes(tree, var, &table, name)?,
    };
    let matrix = Matrix::open(tree, &object, cells.n_rows, genes.len())?;
    Ok((matrix, genes))
}

/// The first matrix that holds raw counts as far as its beginning tells.
fn choose(tree: Tree, cells: &Table, options: &SourceOptions) -> Result<(Matrix, Vec<SourceGene>)> {
    let mut refused = None;
    for layer in ["X", "raw/X", "layers/counts"] {
        if find(tree, layer).is_none() {
            continue;
        }
        let (matrix, genes) = open_layer(tree, layer, cells, options)?;
        match matrix.probe(&Names { cells, genes: &genes }) {
            Ok(()) => return Ok((matrix, genes)),
            // The matrix meant for raw counts comes later: its defect is the telling one.
            Err(error @ Error::NotCounts { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| missing(tree, "X, raw/X or layers/counts")))
}

fn missing(tree: Tree, layer: &str) -> Error {
    let mut present: Vec<String> =
        tree.children("layers").iter().map(|l| format!("layers/{l}")).collect();
    present.extend(["X", "raw/X", "raw.X"].into_iter().filter(|m| tree.has(m)).map(str::to_owned));
    let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
    Error::MissingLayer { path: tree.path().to_owned(), layer: layer.to_owned(), present }
}

/// The gene rows a var table describes.
fn genes(var: &Frame) -> Vec<SourceGene> {
    gene_rows(&var.index, &var.columns)
}

/// The gene rows as one column names them, or the index.
fn named_genes(tree: Tree, var: &str, table: &Frame, name: &str) -> Result<Vec<SourceGene>> {
    let gene = |id: String| SourceGene { id, symbol: None };
    if name == INDEX {
        return Ok(table.index.iter().cloned().map(gene).collect());
    }
    let Some((_, column)) = table.columns.iter().find(|(column, _)| column == name) else {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        let found = format!("the columns {}", names.join(", "));
        return Err(tree.encoding(var, found, &format!("a column {name}")));
    };
    Ok((0..table.index.len()).map(|row| gene(column.get(row).unwrap_or_default())).collect())
}

impl GeneColumn for Column {
    fn get(&self, row: usize) -> Option<String> {
        self.get(row)
    }

    fn is_text(&self) -> bool {
        self.is_text()
    }
}
