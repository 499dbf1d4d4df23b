//! Chunks of an array as its files have them.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    num::NonZeroU64,
    path::PathBuf,
};

use zarrs::array::{Array, DataType, FillValue};

use super::{
    codecs::{Chain, MAX_OVERHEAD},
    shards::Shards,
};

/// Where the chunks of an array lie and how they are packed.
pub(super) struct Chunks {
    /// The array's folder.
    pub(super) folder: PathBuf,
    /// Names the files and the elements.
    pub(super) array: Array<()>,
    pub(super) shards: Option<Shards>,
    pub(super) codecs: Chain,
    /// Elements along each dimension.
    pub(super) shape: Vec<NonZeroU64>,
    /// Most bytes of a chunk once unpacked.
    pub(super) most: usize,
}

impl Chunks {
    pub(super) fn kind(&self) -> &DataType {
        self.array.data_type()
    }

    pub(super) fn fill(&self) -> &FillValue {
        self.array.fill_value()
    }

    /// The elements of a chunk; `None` if it was not written.
    pub(super) fn read(&self, at: &[u64]) -> Result<Option<Vec<u8>>, String> {
        let bytes = match &self.shards {
            Some(shards) => self.read_shard(shards, at)?,
            None => self.open(at)?.map(|file| self.read_part(&file, None)).transpose()?,
        };
        let elements = (self.kind(), self.fill());
        let decode = |bytes| self.codecs.decode(bytes, &self.shape, elements, self.most);
        let named = |reason| format!("chunk {at:?}: {reason}");
        bytes.map(decode).transpose().map_err(named)
    }

    fn read_shard(&self, shards: &Shards, at: &[u64]) -> Result<Option<Vec<u8>>, String> {
        let along = || at.iter().zip(&shards.n_chunks);
        let shard: Vec<u64> = along().map(|(at, n)| at / n.get()).collect();
        let within: Vec<u64> = along().map(|(at, n)| at % n.get()).collect();
        let Some(file) = self.open(&shard)? else { return Ok(None) };
        let named = |reason| format!("shard {shard:?}: {reason}");
        let part = shards.find(&file, &shard, &within).map_err(named)?;
        part.map(|part| self.read_part(&file, Some(part))).transpose()
    }

    fn open(&self, at: &[u64]) -> Result<Option<File>, String> {
        let path = self.folder.join(self.array.chunk_key(at).as_str());
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("chunk {at:?}: {error}")),
        }
    }

    /// A part of a file, or all of it.
    fn read_part(&self, file: &File, part: Option<(u64, u64)>) -> Result<Vec<u8>, String> {
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        let (start, n) = part.unwrap_or((0, len));
        let most = self.most + MAX_OVERHEAD;
        if n > most as u64 {
            return Err(format!("found a chunk of {n} stored bytes, expected at most {most}"));
        }
        read_at(file, start, n)
    }
}

/// So many bytes of a file; the file is asked for its length before memory is.
pub(super) fn read_at(mut file: &File, start: u64, n: u64) -> Result<Vec<u8>, String> {
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    if start.checked_add(n).is_none_or(|end| end > len) {
        return Err(format!("found {len} bytes in the file, expected {n} from {start} on"));
    }
    let mut bytes = Vec::with_capacity(n as usize);
    file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
    file.take(n).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
