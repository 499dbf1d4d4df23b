//! A table written as CSV.

use std::{
    io::BufWriter,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;

use crate::{Error, TableHeader, TableRows};

/// A CSV that grows by rows and appears whole or not at all. Each number has the digits
/// that give back the same f32; a missing label is empty.
pub struct CsvTable {
    path: PathBuf,
    header: TableHeader,
    csv: csv::Writer<BufWriter<AtomicWriteFile>>,
}

impl CsvTable {
    /// Starts a table.
    ///
    /// # Errors
    ///
    /// Nothing can be written at `path`.
    pub fn create(path: &Path, header: &TableHeader) -> Result<Self, Error> {
        let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
        let csv = csv::Writer::from_writer(BufWriter::new(file));
        let mut table = Self { path: path.to_owned(), header: header.clone(), csv };
        let numbers = (0..header.width).map(|column| column.to_string());
        let names = header.names.iter().cloned().chain(numbers);
        table.write(names.chain(header.labels.iter().cloned()))?;
        Ok(table)
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// They have other columns, or cannot be written.
    pub fn push(&mut self, rows: &TableRows<'_>) -> Result<(), Error> {
        rows.check(&self.path, &self.header)?;
        for (i, values) in rows.values.rows().into_iter().enumerate() {
            let names = rows.names.iter().map(|names| names[i].clone());
            let labels = rows.labels.iter().map(|labels| labels[i].clone().unwrap_or_default());
            self.write(names.chain(values.iter().map(f32::to_string)).chain(labels))?;
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(self) -> Result<(), Error> {
        let path = self.path;
        let buffer = self.csv.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        let file = buffer.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.commit().map_err(Error::io(&path))
    }

    fn write(&mut self, fields: impl Iterator<Item = String>) -> Result<(), Error> {
        let path = &self.path;
        self.csv.write_record(fields).map_err(|source| Error::Csv { path: path.clone(), source })
    }
}
