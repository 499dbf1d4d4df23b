//! An HDF5 file with errors that say which file and which object.

use std::path::{Path, PathBuf};

use rust_hdf5::{
    DatatypeMessage, H5Dataset, H5File, H5Type, Hdf5Error, ReadNumeric, StorageLayout,
};

use crate::error::{Error, Result};

/// Largest chunk that is unpacked, in bytes (HDF5 writers choose at most a few MiB).
const MAX_CHUNK: u64 = 128 << 20;
/// gzip, shuffle, fletcher32, szip, nbit, scaleoffset, lzf, blosc, lz4, bitshuffle, zstd.
const READ_FILTERS: [u16; 11] = [1, 2, 3, 4, 5, 6, 32000, 32001, 32004, 32008, 32015];

/// An open HDF5 file and its path.
pub(super) struct H5 {
    file: H5File,
    path: PathBuf,
}

impl H5 {
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Locks fail on read-only media, and nothing is written here.
        let file = H5File::options().no_locking().open(path).map_err(error(path, "/"))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a data set or group of that name.
    pub(super) fn has(&self, object: &str) -> bool {
        self.is_group(object) || self.file.dataset(object).is_ok()
    }

    pub(super) fn is_group(&self, object: &str) -> bool {
        self.file.root_group().group(object).is_ok()
    }

    /// Names inside a group, sorted; none if there is no such group.
    pub(super) fn children(&self, group: &str) -> Vec<String> {
        let names = self.file.root_group().group(group).and_then(|group| group.link_names());
        names.unwrap_or_default()
    }

    /// A text attribute of a group or data set.
    pub(super) fn attribute(&self, object: &str, name: &str) -> Option<String> {
        match self.file.root_group().group(object) {
            Ok(group) => group.attr_string(name).ok(),
            Err(_) => self.file.dataset(object).ok()?.attr(name).ok()?.read_string().ok(),
        }
    }

    pub(super) fn dataset(&self, object: &str) -> Result<Data> {
        let dataset = self.file.dataset(object).map_err(error(&self.path, object))?;
        let kind = dataset.datatype().map_err(error(&self.path, object))?;
        let data = Data { dataset, kind, path: self.path.clone(), object: object.to_owned() };
        data.check_storage()?;
        Ok(data)
    }

    pub(super) fn encoding(&self, object: &str, found: impl Into<String>, expected: &str) -> Error {
        Error::Encoding {
            path: self.path.clone(),
            object: object.to_owned(),
            found: found.into(),
            expected: expected.to_owned(),
        }
    }
}

/// An open data set and where it came from.
pub(super) struct Data {
    dataset: H5Dataset,
    /// Its element type.
    pub(super) kind: DatatypeMessage,
    /// The file.
    pub(super) path: PathBuf,
    /// Its name in the file.
    pub(super) object: String,
}

impl Data {
    /// Refuses what would read other files, need a missing filter, or unpack
    /// a chunk beyond [`MAX_CHUNK`].
    fn check_storage(&self) -> Result<()> {
        let failed = || error(&self.path, &self.object);
        for filter in self.dataset.filters().map_err(failed())? {
            if !READ_FILTERS.contains(&filter.id) {
                let (path, object) = (self.path.clone(), self.object.clone());
                return Err(Error::Filter { path, object, filter: filter_name(filter.id) });
            }
        }
        let is_virtual = self.dataset.storage_layout().map_err(failed())? == StorageLayout::Virtual;
        if is_virtual || !self.dataset.external_files().map_err(failed())?.is_empty() {
            return Err(self.encoding("values inside the file"));
        }
        let Some(dims) = self.dataset.chunk_dims() else { return Ok(()) };
        let start = u64::from(self.kind.element_size());
        let n_bytes = dims.iter().fold(start, |n, &dim| n.saturating_mul(dim as u64));
        if n_bytes == 0 || n_bytes > MAX_CHUNK {
            return Err(self.encoding(&format!("chunks of 1 to {MAX_CHUNK} bytes")));
        }
        Ok(())
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.dataset.shape()
    }

    /// Number of elements of a vector.
    pub(super) fn len(&self) -> usize {
        self.shape().into_iter().fold(1, usize::saturating_mul)
    }

    pub(super) fn slice<T: H5Type>(&self, starts: &[usize], counts: &[usize]) -> Result<Vec<T>> {
        self.dataset.read_slice(starts, counts).map_err(error(&self.path, &self.object))
    }

    /// Integers of any width; one that does not fit is an error.
    pub(super) fn integers<T: ReadNumeric>(&self, start: usize, n: usize) -> Result<Vec<T>> {
        let read = self.dataset.read_numeric_slice_as(&[start], &[n]);
        read.map_err(error(&self.path, &self.object))
    }

    pub(super) fn strings(&self) -> Result<Vec<String>> {
        self.dataset.read_strings_lossy().map_err(error(&self.path, &self.object))
    }

    /// All elements as bytes, as stored.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        self.dataset.read_raw_bytes().map_err(error(&self.path, &self.object))
    }

    /// The one element of a scalar, or of a vector of one.
    pub(super) fn encoding(&self, expected: &str) -> Error {
        Error::Encoding {
            path: self.path.clone(),
            object: self.object.clone(),
            found: format!("{} of shape {:?}", self.kind, self.shape()),
            expected: expected.to_owned(),
        }
    }
}

fn filter_name(id: u16) -> String {
    let name = match id {
        307 => "bzip2",
        32013 => "zfp",
        32026 => "blosc2",
        _ => return id.to_string(),
    };
    format!("{id} ({name})")
}

fn error(path: &Path, object: &str) -> impl FnOnce(Hdf5Error) -> Error {
    let (path, object) = (path.to_owned(), object.to_owned());
    move |reason| Error::Hdf5 { path, object, reason: reason.to_string() }
}

/// Largest chunk that is read: one is unpacked whole, and its size is the
/// file's claim. HDF5 writers keep to about 1 MiB.
const MAX_CHUNK_BYTES: usize = 1 << 26;
/// A chunk takes at least this in its file: an address, and some data.
const CHUNK_ENTRY: u64 = 16;
/// Chunks that are allowed besides, for the list of them is held in memory.
const FREE_CHUNKS: u64 = 1 << 16;

impl H5 {
    /// A vector whose chunks are of a bearable size.
    pub(super) fn vector(&self, object: &str) -> Result<Data> {
        let data = self.dataset(object)?;
        if data.shape().len() != 1 {
            return Err(data.encoding("a vector"));
        }
        data.bounded()
    }

    /// Bytes before the HDF5 part of the file, from where addresses count.
    pub(super) fn userblock(&self) -> u64 {
        self.file.userblock_size()
    }

    /// Names at the top of the file, sorted.
    pub(super) fn top(&self) -> Vec<String> {
        self.file.root_group().link_names().unwrap_or_default()
    }

    /// An error unless two lengths are equal.
    pub(super) fn agree(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        let (found, expected) = (found as u64, expected as u64);
        Err(Error::Length { path: self.path.clone(), what: what.to_owned(), found, expected })
    }
}

impl Data {
    /// The shape of a chunk; `None` if the data set has none.
    pub(super) fn chunk_dims(&self) -> Option<Vec<usize>> {
        self.dataset.chunk_dims()
    }

    /// Itself, unless reading any window of it could take unbounded memory.
    pub(super) fn bounded(self) -> Result<Self> {
        let width = self.kind.element_size() as usize;
        let dims = self.chunk_dims().unwrap_or_default();
        let bytes = dims.iter().try_fold(width, |bytes, &dim| bytes.checked_mul(dim));
        if bytes.is_none_or(|bytes| bytes > MAX_CHUNK_BYTES) {
            return Err(self.encoding(&format!("chunks of at most {MAX_CHUNK_BYTES} bytes")));
        }
        let counts = self.shape().into_iter().zip(dims).map(|(n, chunk)| n.div_ceil(chunk.max(1)));
        let n_chunks = counts.fold(1, usize::saturating_mul) as u64;
        let file = std::fs::metadata(&self.path).map_err(Error::io(&self.path))?;
        if n_chunks > FREE_CHUNKS + file.len() / CHUNK_ENTRY {
            return Err(self.encoding("no more chunks than the file has room for"));
        }
        let layout = self.dataset.storage_layout().map_err(error(&self.path, &self.object))?;
        if layout == StorageLayout::Virtual {
            return Err(self.encoding("data in this file, not a virtual data set"));
        }
        Ok(self)
    }
}
