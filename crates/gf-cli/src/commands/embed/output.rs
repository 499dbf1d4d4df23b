//! The file that embeddings are written to, by its extension.

use std::path::Path;

use gf_corpus::{CountMatrix, H5adWriter, MetadataColumn, MetadataField, MetadataKind};
use gf_embed::{ArrowTable, CsvTable, TableHeader, TableRows};

use crate::failure::Failure;

/// Name of the matrix in obsm.
const OBSM: &str = "X_geneformer";

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// Arrow IPC file, also known as Feather.
    Arrow,
    /// AnnData.
    H5ad,
    /// An object of lists.
    Json,
}

impl Format {
    /// The format of a file's name.
    ///
    /// # Errors
    ///
    /// It has none of the extensions.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("arrow" | "feather") => Ok(Self::Arrow),
            Some("h5ad") => Ok(Self::H5ad),
            Some("json") => Ok(Self::Json),
            _ => Err(Failure::Usage(format!(
                "found the output {}, expected the extension .csv, .arrow, .feather, .h5ad or .json",
                path.display()
            ))),
        }
    }
}

/// A table that grows by rows and appears when it is finished.
pub enum Output {
    /// As CSV.
    Csv(CsvTable),
    /// As Arrow file.
    Arrow(ArrowTable),
    /// As `.h5ad` without genes: the vectors in obsm, the names and labels in obs.
    H5ad(Box<H5adWriter>),
}

impl Output {
    /// Starts a table.
    ///
    /// # Errors
    ///
    /// Nothing can be written at `path`.
    pub fn create(format: Format, path: &Path, header: &TableHeader) -> Result<Self, Failure> {
        Ok(match format {
            Format::Csv | Format::Json => Self::Csv(CsvTable::create(path, header)?),
            Format::Arrow => Self::Arrow(ArrowTable::create(path, header)?),
            Format::H5ad => {
                let columns = header.names.iter().skip(1).chain(&header.labels);
                let columns: Vec<_> =
                    columns.map(|name| MetadataField::new(name, MetadataKind::Text)).collect();
                let mut writer = H5adWriter::create(path, &[], &columns)?;
                writer.add_rows(OBSM, header.width)?;
                Self::H5ad(Box::new(writer))
            }
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn push(&mut self, rows: &TableRows<'_>) -> Result<(), Failure> {
        match self {
            Self::Csv(table) => Ok(table.push(rows)?),
            Self::Arrow(table) => Ok(table.push(rows)?),
            Self::H5ad(writer) => push_h5ad(writer, rows),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Csv(table) => table.finish()?,
            Self::Arrow(table) => table.finish()?,
            Self::H5ad(writer) => drop(writer.finish()?),
        }
        Ok(())
    }
}

fn push_h5ad(writer: &mut H5adWriter, rows: &TableRows<'_>) -> Result<(), Failure> {
    let mut no_counts = CountMatrix::new(0);
    for _ in 0..rows.values.nrows() {
        no_counts.push_row(vec![])?;
    }
    let names = rows.names.iter().skip(1);
    let names = names.map(|names| names.iter().cloned().map(Some).collect());
    let columns: Vec<_> =
        names.chain(rows.labels.iter().cloned()).map(MetadataColumn::Text).collect();
    writer.push_cells(&rows.names[0], &no_counts, &columns)?;
    writer.push_rows(OBSM, &rows.values.iter().copied().collect::<Vec<_>>())?;
    Ok(())
}
