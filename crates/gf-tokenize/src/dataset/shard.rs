//! One file of a data set being written, and the hash of its bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow2::{
    array::Array,
    chunk::Chunk,
    datatypes::Schema,
    io::ipc::write::{StreamWriter, WriteOptions},
};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{
    error::{Error, Result},
    output::at,
};

/// An Arrow stream on its way to the disk.
pub(super) struct ShardWriter {
    path: PathBuf,
    stream: StreamWriter<Hashing<BufWriter<File>>>,
    n_rows: usize,
}

impl ShardWriter {
    /// Starts a file.
    pub(super) fn create(path: PathBuf, schema: &Schema) -> Result<Self> {
        let file = File::create(&path).map_err(at(&path))?;
        let out = Hashing { inner: BufWriter::new(file), hash: Xxh3Default::new() };
        let mut stream = StreamWriter::new(out, WriteOptions { compression: None });
        stream.start(schema, None).map_err(encode_error(&path))?;
        Ok(Self { path, stream, n_rows: 0 })
    }

    /// Rows written so far.
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Writes a batch.
    pub(super) fn write(&mut self, batch: &Chunk<Box<dyn Array>>) -> Result<()> {
        self.stream.write(batch, None).map_err(encode_error(&self.path))?;
        self.n_rows += batch.len();
        Ok(())
    }

    /// Ends the file; when this returns it is on the disk. Gives the XXH3-64 of its bytes.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.stream.finish().map_err(encode_error(&self.path))?;
        let Hashing { mut inner, hash } = self.stream.into_inner();
        inner.flush().map_err(at(&self.path))?;
        inner.get_ref().sync_data().map_err(at(&self.path))?;
        Ok(hash.digest())
    }
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hash: Xxh3Default,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n_written]);
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Puts the path into an error of arrow2.
pub(super) fn encode_error(path: &Path) -> impl FnOnce(arrow2::error::Error) -> Error {
    move |source| Error::Encode { path: path.into(), source }
}
