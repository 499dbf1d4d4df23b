//! Reading results, and joining shards.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow2::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};
use atomic_write_file::AtomicWriteFile;

use super::{END_OF_STREAM, ShardKey, columns, encode};
use crate::{Effect, Error};

/// A finished file of results, cell by cell.
pub struct ShardReader {
    path: PathBuf,
    key: ShardKey,
    stream: StreamReader<BufReader<File>>,
    n_read: usize,
}

impl ShardReader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// It cannot be read or holds something else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        let metadata = read_stream_metadata(&mut file).map_err(Error::arrow(path))?;
        let key = columns::key(&metadata.schema);
        let key = key.ok_or_else(|| Error::NoResults { path: path.to_owned() })?;
        let stream = StreamReader::new(file, metadata, None);
        Ok(Self { path: path.to_owned(), key, stream, n_read: 0 })
    }

    /// What the file is of.
    pub fn key(&self) -> &ShardKey {
        &self.key
    }

    /// The next batch as it stands in the file.
    fn next_chunk(
        &mut self,
    ) -> Option<Result<arrow2::chunk::Chunk<Box<dyn arrow2::array::Array>>, Error>> {
        let (found, expected) = (self.n_read, self.key.n_cells);
        let broken_off = || Error::BrokenOff { path: self.path.clone(), found, expected };
        match self.stream.next() {
            None if found == expected => None,
            None | Some(Ok(StreamState::Waiting)) => Some(Err(broken_off())),
            Some(Err(source)) => Some(Err(Error::Arrow { path: self.path.clone(), source })),
            Some(Ok(StreamState::Some(chunk))) => {
                self.n_read += 1;
                Some(Ok(chunk))
            }
        }
    }
}

impl Iterator for ShardReader {
    type Item = Result<Vec<Effect>, Error>;

    /// The effects in the next cell.
    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next_chunk()?;
        let no_results = || Error::NoResults { path: self.path.clone() };
        Some(chunk.and_then(|chunk| columns::effects(&chunk).ok_or_else(no_results)))
    }
}

/// Joins all shards of a run, given in any order, into the file that one run over all
/// cells would have written, and gives its key.
///
/// # Errors
///
/// A shard is missing, there twice, not finished or of another run; the file cannot be
/// written.
pub fn merge(shards: &[PathBuf], out: &Path) -> Result<ShardKey, Error> {
    let mut readers: Vec<ShardReader> =
        shards.iter().map(|path| ShardReader::open(path)).collect::<Result<_, _>>()?;
    readers.sort_by_key(|reader| reader.key.shard);
    check_shards(&readers)?;
    let n_cells = readers.iter().map(|reader| reader.key.n_cells).sum();
    let Some(first) = readers.first() else { return Err(Error::NoShards) };
    let key = ShardKey { shard: (1, 1), n_cells, ..first.key.clone() };
    let schema = columns::schema(&key);
    let start = encode(&schema, None).map_err(Error::arrow(out))?;
    let file = AtomicWriteFile::open(out).map_err(Error::io(out))?;
    let mut buffer = BufWriter::new(&*file);
    buffer.write_all(&start).map_err(Error::io(out))?;
    for reader in &mut readers {
        while let Some(chunk) = reader.next_chunk() {
            let bytes = encode(&schema, Some(&chunk?)).map_err(Error::arrow(out))?;
            buffer.write_all(&bytes[start.len()..]).map_err(Error::io(out))?;
        }
    }
    buffer.write_all(&END_OF_STREAM).and_then(|()| buffer.flush()).map_err(Error::io(out))?;
    drop(buffer);
    file.commit().map_err(Error::io(out))?;
    Ok(key)
}

/// Shards 1 to n of n, with the same settings and states.
fn check_shards(readers: &[ShardReader]) -> Result<(), Error> {
    for (i, reader) in readers.iter().enumerate() {
        let (first, key) = (&readers[0].key, &reader.key);
        if key.settings != first.settings || key.states != first.states {
            return Err(Error::OtherRun { path: reader.path.clone() });
        }
        let expected = (i + 1, readers.len());
        if key.shard != expected {
            return Err(Error::Shard { path: reader.path.clone(), found: key.shard, expected });
        }
    }
    Ok(())
}
