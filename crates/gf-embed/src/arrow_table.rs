//! A table written as Arrow IPC file (Feather V2): what `pandas.read_feather`,
//! `polars.read_ipc` and `pyarrow.feather.read_table` read.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow2::{
    array::{Array, FixedSizeListArray, PrimitiveArray, Utf8Array},
    chunk::Chunk,
    datatypes::{DataType, Field, Schema},
    io::ipc::write::{FileWriter, WriteOptions},
};
use atomic_write_file::AtomicWriteFile;

use crate::{Error, TableHeader, TableRows};

/// Name of the column of vectors.
const EMBEDDING: &str = "embedding";

/// An Arrow file that grows by rows and appears whole or not at all: the names as
/// columns of text, the numbers as one column `embedding` of lists of `width` floats,
/// the labels as columns of text with nulls. One batch for each push.
pub struct ArrowTable {
    path: PathBuf,
    header: TableHeader,
    arrow: FileWriter<BufWriter<AtomicWriteFile>>,
}

impl ArrowTable {
    /// Starts a table.
    ///
    /// # Errors
    ///
    /// Nothing can be written at `path`.
    pub fn create(path: &Path, header: &TableHeader) -> Result<Self, Error> {
        let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
        let options = WriteOptions { compression: None };
        let mut arrow = FileWriter::new(BufWriter::new(file), schema(header), None, options);
        arrow.start().map_err(Error::arrow(path))?;
        Ok(Self { path: path.to_owned(), header: header.clone(), arrow })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// They have other columns, or cannot be written.
    pub fn push(&mut self, rows: &TableRows<'_>) -> Result<(), Error> {
        rows.check(&self.path, &self.header)?;
        let names = rows.names.iter().map(|names| text(names.iter().map(Some)));
        let numbers = PrimitiveArray::from_vec(rows.values.iter().copied().collect::<Vec<f32>>());
        let vectors =
            FixedSizeListArray::try_new(vectors(self.header.width), numbers.boxed(), None);
        let vectors = vectors.map_err(Error::arrow(&self.path))?.boxed();
        let labels = rows.labels.iter().map(|labels| text(labels.iter().map(Option::as_ref)));
        let columns = names.chain([vectors]).chain(labels).collect();
        let chunk = Chunk::try_new(columns).map_err(Error::arrow(&self.path))?;
        self.arrow.write(&chunk, None).map_err(Error::arrow(&self.path))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        let path = self.path;
        self.arrow.finish().map_err(Error::arrow(&path))?;
        let mut buffer = self.arrow.into_inner();
        buffer.flush().map_err(Error::io(&path))?;
        let file = buffer.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.commit().map_err(Error::io(&path))
    }
}

fn text<'a>(texts: impl Iterator<Item = Option<&'a String>>) -> Box<dyn Array> {
    texts.collect::<Utf8Array<i32>>().boxed()
}

fn vectors(width: usize) -> DataType {
    DataType::FixedSizeList(Box::new(Field::new("item", DataType::Float32, false)), width)
}

fn schema(header: &TableHeader) -> Schema {
    let text = |nullable| move |name: &String| Field::new(name, DataType::Utf8, nullable);
    let names = header.names.iter().map(text(false));
    let vectors = Field::new(EMBEDDING, vectors(header.width), false);
    let fields = names.chain([vectors]).chain(header.labels.iter().map(text(true)));
    Schema::from(fields.collect::<Vec<_>>())
}
