//! An HDF5 file with errors that say which file and which object.

use std::{
    path::{Path, PathBuf},
    sync::{OnceLock, atomic::AtomicU64},
};

use rust_hdf5::{
    DatatypeMessage, H5Dataset, H5File, H5Type, Hdf5Error, ReadNumeric, StorageLayout,
};

use crate::error::{Error, Result};

mod heap;
mod stored;
mod trees;

/// Most bytes that one read may ask for, whatever the file declares.
pub(super) const MAX_READ: usize = 256 << 20;
/// Longest string of a table, in bytes.
pub(super) const MAX_STRING: usize = 1 << 14;
/// How many bytes a data set may declare for each byte of the file. Gzip packs
/// a thousandfold at most; the rest is room for chunks that were never written.
const MAX_RATIO: u64 = 4096;
/// Least bytes of the file that each declared chunk costs: its address.
const MIN_CHUNK_ENTRY: u64 = 8;
/// Largest chunk that is unpacked, in bytes (HDF5 writers choose at most a few MiB).
const MAX_CHUNK: u64 = 128 << 20;
/// gzip, shuffle, fletcher32, szip, nbit, scaleoffset, lzf, blosc, lz4, bitshuffle, zstd.
const READ_FILTERS: [u16; 11] = [1, 2, 3, 4, 5, 6, 32000, 32001, 32004, 32008, 32015];

/// An open HDF5 file and its path.
pub(super) struct H5 {
    file: H5File,
    path: PathBuf,
    /// Bytes of the file.
    len: u64,
}

impl H5 {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let len = std::fs::metadata(path).map_err(Error::io(path))?.len();
        let h5 = Self { file: handle(path)?, path: path.to_owned(), len };
        trees::check(path, h5.file.userblock_size(), len)?;
        Ok(h5)
    }

    /// Another handle of the file, for one handle reads for one thread at a
    /// time. The file was looked through when it was opened first.
    pub(super) fn twin(&self) -> Result<Self> {
        Ok(Self { file: handle(&self.path)?, path: self.path.clone(), len: self.len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a data set or group of that name.
    pub(super) fn has(&self, object: &str) -> bool {
        self.is_group(object)
            || self.inside(object).is_ok_and(|_| self.file.dataset(object).is_ok())
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
            Err(_) => {
                self.inside(object).ok()?;
                self.file.dataset(object).ok()?.attr(name).ok()?.read_string().ok()
            }
        }
    }

    /// Refuses a name that leads to another file.
    fn inside(&self, object: &str) -> Result<()> {
        // A group handle does not cross a link into another file, and says so
        // before it opens anything; a data set's would follow it.
        match self.file.root_group().group(object) {
            Err(Hdf5Error::Unsupported(_)) => {
                Err(self.encoding(object, "a link to another file", "values inside the file"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn dataset(&self, object: &str) -> Result<Data> {
        self.inside(object)?;
        let dataset = self.file.dataset(object).map_err(error(&self.path, object))?;
        let kind = dataset.datatype().map_err(error(&self.path, object))?;
        let data = Data {
            dataset,
            kind,
            path: self.path.clone(),
            object: object.to_owned(),
            file_len: self.len,
            base: self.file.userblock_size(),
            heap_read: AtomicU64::new(0),
            whole: OnceLock::new(),
        };
        data.check_storage()?;
        data.check_size()?;
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

fn handle(path: &Path) -> Result<H5File> {
    // Locks fail on read-only media, and nothing is written here.
    H5File::options().no_locking().open(path).map_err(error(path, "/"))
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
    file_len: u64,
    /// Where addresses count from.
    base: u64,
    /// Bytes read from large heaps so far.
    heap_read: AtomicU64,
    /// All elements, where they cannot be read by windows.
    whole: OnceLock<Vec<u8>>,
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

    /// Refuses more values or chunks than the file can hold.
    fn check_size(&self) -> Result<()> {
        let n_bytes = product(&self.shape()).saturating_mul(u64::from(self.kind.element_size()));
        if n_bytes > self.file_len.saturating_mul(MAX_RATIO) {
            let bytes =
                format!("at most {MAX_RATIO} bytes for each of the file's {}", self.file_len);
            return Err(self.encoding(&bytes));
        }
        let Some(chunk) = self.dataset.chunk_dims() else { return Ok(()) };
        if chunk.len() != self.shape().len() {
            return Err(self.encoding("chunks of as many dimensions"));
        }
        let along = |(&dim, &chunk): (&usize, &usize)| dim.div_ceil(chunk.max(1));
        let n_chunks = product(&self.shape().iter().zip(&chunk).map(along).collect::<Vec<_>>());
        if n_chunks.saturating_mul(MIN_CHUNK_ENTRY) > self.file_len {
            return Err(
                self.encoding(&format!("fewer than {n_chunks} chunks in such a short file"))
            );
        }
        Ok(())
    }

    /// Refuses a read of more than [`MAX_READ`] bytes.
    fn check_read(&self, n: usize) -> Result<()> {
        if n.saturating_mul(self.kind.element_size() as usize) > MAX_READ {
            return Err(
                self.encoding(&format!("at most {MAX_READ} bytes, {n} values were asked for"))
            );
        }
        Ok(())
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.dataset.shape()
    }

    /// Number of elements of a vector.
    pub(super) fn len(&self) -> usize {
        usize::try_from(product(&self.shape())).unwrap_or(usize::MAX)
    }

    pub(super) fn slice<T: H5Type>(&self, starts: &[usize], counts: &[usize]) -> Result<Vec<T>> {
        self.check_read(usize::try_from(product(counts)).unwrap_or(usize::MAX))?;
        self.dataset.read_slice(starts, counts).map_err(error(&self.path, &self.object))
    }

    /// Integers of any width; one that does not fit is an error.
    pub(super) fn integers<T: ReadNumeric>(&self, start: usize, n: usize) -> Result<Vec<T>> {
        self.check_read(n)?;
        let read = self.dataset.read_numeric_slice_as(&[start], &[n]);
        read.map_err(error(&self.path, &self.object))
    }

    /// All elements as bytes, as stored.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        self.check_read(self.len())?;
        self.dataset.read_raw_bytes().map_err(error(&self.path, &self.object))
    }

    /// What the reader refused about this data set.
    fn failed(&self, reason: String) -> Error {
        Error::Hdf5 { path: self.path.clone(), object: self.object.clone(), reason }
    }

    pub(super) fn encoding(&self, expected: &str) -> Error {
        Error::Encoding {
            path: self.path.clone(),
            object: self.object.clone(),
            found: format!("{} of shape {:?}", self.kind, self.shape()),
            expected: expected.to_owned(),
        }
    }
}

fn product(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |n, &dim| n.saturating_mul(dim as u64))
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

impl H5 {
    /// A data set of one dimension.
    pub(super) fn vector(&self, object: &str) -> Result<Data> {
        let data = self.dataset(object)?;
        if data.shape().len() != 1 {
            return Err(data.encoding("a vector"));
        }
        Ok(data)
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
}
