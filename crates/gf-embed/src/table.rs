//! Embeddings as a table: names, then the numbers, then labels. Read from CSV here;
//! written row by row by [`CsvTable`] and [`ArrowTable`](crate::ArrowTable).

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use crate::{CsvTable, Error};

/// One vector per cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Id of the cell in each row.
    pub cell_ids: Vec<String>,
    /// `[n_cells, d_model]`.
    pub values: Array2<f32>,
}

impl Embeddings {
    /// Writes `cell_id,0,1,…`, one line per cell; see [`CsvTable`].
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let header = TableHeader::new(["cell_id"], self.values.ncols());
        let mut table = CsvTable::create(path, &header)?;
        table.push(&TableRows {
            names: vec![self.cell_ids.clone()],
            values: self.values.view(),
            labels: vec![],
        })?;
        table.finish()
    }
}

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHeader {
    /// Columns before the numbers, which say what a row is.
    pub names: Vec<String>,
    /// Columns of numbers, called `0`, `1`, ….
    pub width: usize,
    /// Columns after the numbers.
    pub labels: Vec<String>,
}

impl TableHeader {
    /// A table without labels.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, width: usize) -> Self {
        let names = names.into_iter().map(str::to_owned).collect();
        Self { names, width, labels: vec![] }
    }
}

/// Some rows of a table, column by column.
#[derive(Debug, Clone)]
pub struct TableRows<'a> {
    /// The columns before the numbers.
    pub names: Vec<Vec<String>>,
    /// `[n_rows, width]`.
    pub values: ArrayView2<'a, f32>,
    /// The columns after the numbers; `None` is missing.
    pub labels: Vec<Vec<Option<String>>>,
}

impl TableRows<'_> {
    /// Refuses rows that are not of a table with this header.
    pub(crate) fn check(&self, path: &Path, header: &TableHeader) -> Result<(), Error> {
        let lengths = self.names.iter().map(Vec::len).chain(self.labels.iter().map(Vec::len));
        let (n_rows, width) = self.values.dim();
        let found = [self.names.len(), width, self.labels.len()];
        let expected = [header.names.len(), header.width, header.labels.len()];
        match found == expected && lengths.into_iter().all(|length| length == n_rows) {
            true => Ok(()),
            false => Err(Error::TableShape { path: path.to_owned(), found, expected }),
        }
    }
}

/// A table in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    path: std::path::PathBuf,
    texts: Vec<(String, Vec<String>)>,
    /// `[n_rows, width]`, all finite.
    pub values: Array2<f32>,
}

impl Table {
    /// Reads a CSV of [`CsvTable`], or of the reference's EmbExtractor: the numbers are
    /// the columns `0`, `1`, …; every other column is text.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no such table, or a number is none.
    pub fn read_csv(path: &Path) -> Result<Self, Error> {
        let csv_error = |source| Error::Csv { path: path.to_owned(), source };
        let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
        let header = reader.headers().map_err(csv_error)?.clone();
        let numbers =
            number_columns(&header).ok_or_else(|| Error::NoNumbers { path: path.to_owned() })?;
        let is_text = |column: &usize| !numbers.contains(column);
        let text_columns: Vec<usize> = (0..header.len()).filter(is_text).collect();
        let mut texts: Vec<_> =
            text_columns.iter().map(|&column| (header[column].to_owned(), Vec::new())).collect();
        let mut values = Vec::new();
        let mut n_rows = 0;
        for record in reader.records() {
            let record = record.map_err(csv_error)?;
            n_rows += 1;
            for column in numbers.clone() {
                let number = record[column].parse().ok().filter(|x: &f32| x.is_finite());
                values.push(number.ok_or_else(|| Error::Number {
                    path: path.to_owned(),
                    row: n_rows,
                    column: header[column].to_owned(),
                    found: record[column].to_owned(),
                })?);
            }
            for (&column, (_, texts)) in text_columns.iter().zip(&mut texts) {
                texts.push(record[column].to_owned());
            }
        }
        let values = Array2::from_shape_vec((n_rows, numbers.len()), values);
        let values = values.map_err(|_| Error::NoNumbers { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), texts, values })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The columns of text with their names, in order; what is missing is empty.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.texts.iter().map(|(name, texts)| (name.as_str(), texts.as_slice()))
    }

    /// A column of text.
    ///
    /// # Errors
    ///
    /// There is no such column.
    pub fn text(&self, name: &str) -> Result<&[String], Error> {
        let found = self.texts().find(|(column, _)| *column == name);
        found.map(|(_, texts)| texts).ok_or_else(|| Error::NoSuchColumn {
            path: self.path.clone(),
            column: name.to_owned(),
            available: self.texts.iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// Where the columns `0`, `1`, … are.
fn number_columns(header: &csv::StringRecord) -> Option<std::ops::Range<usize>> {
    let start = header.iter().position(|name| name == "0")?;
    let run = header.iter().skip(start).enumerate();
    let width = run.take_while(|(i, name)| **name == i.to_string()).count();
    Some(start..start + width)
}
