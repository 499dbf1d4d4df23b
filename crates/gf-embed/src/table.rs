//! Embeddings as a table.

use std::path::Path;

use atomic_write_file::AtomicWriteFile;
use ndarray::Array2;

use crate::Error;

/// One vector per cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Id of the cell in each row.
    pub cell_ids: Vec<String>,
    /// `[n_cells, d_model]`.
    pub values: Array2<f32>,
}

impl Embeddings {
    /// Writes `cell_id,0,1,…`, one line per cell, each number with the digits that
    /// give back the same f32; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = AtomicWriteFile::open(path).map_err(io)?;
        self.write_lines(csv::Writer::from_writer(&*file))
            .map_err(|source| Error::Csv { path: path.to_owned(), source })?;
        file.commit().map_err(io)
    }

    fn write_lines(&self, mut csv: csv::Writer<impl std::io::Write>) -> Result<(), csv::Error> {
        let columns = (0..self.values.ncols()).map(|column| column.to_string());
        csv.write_record(std::iter::once("cell_id".to_owned()).chain(columns))?;
        for (cell_id, values) in self.cell_ids.iter().zip(self.values.rows()) {
            let values = values.iter().map(f32::to_string);
            csv.write_record(std::iter::once(cell_id.clone()).chain(values))?;
        }
        csv.flush()?;
        Ok(())
    }
}
