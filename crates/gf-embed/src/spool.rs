//! Vectors on their way into a table: a file `.NAME.partial` beside the table, from
//! which a run that was broken off goes on.
//!
//! It begins with the hash of a key that says everything the vectors depend on; then
//! come blocks: how many rows (u64), the numbers (f32), the XXH3-64 of the numbers; all
//! little-endian. What a kill left half-written does not pass its hash and is cut off.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use ndarray::Array2;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Error,
    partial::{self, KEY_BYTES},
};

/// Blocks of vectors on disk. It stays when it is dropped with blocks in it, for
/// the next run with the same key; [`remove`](Self::remove) it when the table is written.
pub struct Spool {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    width: usize,
    n_blocks: usize,
    n_rows: usize,
}

impl Spool {
    /// Opens the spool of the table at `target`. Of what an earlier run left, the blocks
    /// that are whole are kept if its key was the same; else it starts empty.
    ///
    /// # Errors
    ///
    /// It cannot be written, or another run is writing it.
    pub fn open(target: &Path, key: &str, width: usize) -> Result<Self, Error> {
        let (path, file) = partial::open(target)?;
        let mut spool = Self { path, file, width, n_blocks: 0, n_rows: 0 };
        spool.recover(&partial::hash(key))?;
        Ok(spool)
    }

    /// Blocks there are.
    pub fn n_blocks(&self) -> usize {
        self.n_blocks
    }

    /// Rows there are.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Adds a block; when this returns a kill does not lose it.
    ///
    /// # Errors
    ///
    /// It cannot be written, or is of another width.
    ///
    /// # Shapes
    ///
    /// - `values` `[n_rows, width]`
    pub fn push(&mut self, values: &Array2<f32>) -> Result<(), Error> {
        if values.ncols() != self.width {
            let (found, expected) = (values.ncols(), self.width);
            return Err(Error::SpoolWidth { path: self.path.clone(), found, expected });
        }
        let numbers: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut block = (values.nrows() as u64).to_le_bytes().to_vec();
        block.extend_from_slice(&numbers);
        block.extend_from_slice(&xxh3_64(&numbers).to_le_bytes());
        let written = self.file.write_all(&block).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(&self.path))?;
        self.n_blocks += 1;
        self.n_rows += values.nrows();
        Ok(())
    }

    /// The blocks in order.
    ///
    /// # Errors
    ///
    /// They cannot be read; of each block, that it changed since.
    pub fn blocks(&self) -> Result<impl Iterator<Item = Result<Array2<f32>, Error>>, Error> {
        let mut file = self.at_first_block()?;
        let read = move |_| match read_block(&mut file, self.width) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(Error::SpoolChanged { path: self.path.clone() }),
            Err(source) => Err(Error::Io { path: self.path.clone(), source }),
        };
        Ok((0..self.n_blocks).map(read))
    }

    /// Removes the file.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(mut self) -> Result<(), Error> {
        self.n_blocks = 0;
        fs::remove_file(&self.path).map_err(Error::io(&self.path))
    }

    /// Counts the whole blocks of a file with this key and cuts off what follows.
    fn recover(&mut self, key: &[u8; KEY_BYTES]) -> Result<(), Error> {
        let mut found = [0; KEY_BYTES];
        let has_key = self.file.read_exact(&mut found).is_ok() && found == *key;
        let mut end = KEY_BYTES as u64;
        if has_key {
            let mut file = self.at_first_block()?;
            let path = self.path.clone();
            while let Some(block) = read_block(&mut file, self.width).map_err(Error::io(&path))? {
                self.n_blocks += 1;
                self.n_rows += block.nrows();
                end += (2 * size_of::<u64>() + block.len() * size_of::<f32>()) as u64;
            }
        } else {
            let start = self.file.rewind().and_then(|()| self.file.write_all(key));
            start.map_err(Error::io(&self.path))?;
        }
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map(drop).map_err(Error::io(&self.path))
    }

    /// The file once more, from the first block to its end as it is now.
    fn at_first_block(&self) -> Result<std::io::Take<BufReader<File>>, Error> {
        let open = || {
            let mut file = File::open(&self.path)?;
            let n_bytes = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(KEY_BYTES as u64))?;
            Ok(BufReader::new(file).take(n_bytes.saturating_sub(KEY_BYTES as u64)))
        };
        open().map_err(Error::io(&self.path))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.n_blocks == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The next block; nothing at the end, and where a block is not whole.
fn read_block(
    file: &mut std::io::Take<BufReader<File>>,
    width: usize,
) -> std::io::Result<Option<Array2<f32>>> {
    let Some(n_rows) = read_u64(file)? else { return Ok(None) };
    let n_bytes = n_rows.checked_mul((width * size_of::<f32>()) as u64);
    let Some(n_bytes) = n_bytes.filter(|&n| n <= file.limit()) else { return Ok(None) };
    let mut numbers = vec![0; n_bytes as usize];
    file.read_exact(&mut numbers)?;
    if read_u64(file)? != Some(xxh3_64(&numbers)) {
        return Ok(None);
    }
    let numbers = numbers.chunks_exact(size_of::<f32>());
    let numbers = numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Array2::from_shape_vec((n_rows as usize, width), numbers).ok())
}

fn read_u64(file: &mut std::io::Take<BufReader<File>>) -> std::io::Result<Option<u64>> {
    let mut bytes = [0; size_of::<u64>()];
    if file.limit() < bytes.len() as u64 {
        return Ok(None);
    }
    file.read_exact(&mut bytes)?;
    Ok(Some(u64::from_le_bytes(bytes)))
}
