//! Safetensors files, read one tensor at a time so that no more is in memory.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use half::{bf16, f16};
use safetensors::{
    Dtype, SafeTensorError, View,
    tensor::{Metadata, TensorInfo},
};

use crate::Error;

/// The safetensors crate refuses longer headers, too.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A tensor as it lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredTensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    pub fn f32(values: &[f32], shape: Vec<usize>) -> Self {
        Self { dtype: Dtype::F32, shape, bytes: bytemuck::cast_slice(values).to_vec() }
    }

    pub fn u8(bytes: Vec<u8>) -> Self {
        Self { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }
    }

    fn describe(&self) -> String {
        format!("{:?} {:?}", self.dtype, self.shape)
    }

    /// F32, F16 or BF16 as f32.
    fn to_f32(&self) -> Option<Vec<f32>> {
        let pairs = || self.bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        match self.dtype {
            Dtype::F32 => Some(bytemuck::pod_collect_to_vec(&self.bytes)),
            Dtype::F16 => Some(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
            Dtype::BF16 => Some(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
            _ => None,
        }
    }
}

impl View for &StoredTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A safetensors file of which the header is read.
pub(crate) struct TensorFile {
    pub path: PathBuf,
    file: File,
    metadata: Metadata,
    data_start: u64,
}

impl TensorFile {
    /// Reads the header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let malformed = |source| Error::Safetensors { path: path.to_owned(), source };
        let io = || Error::io(path);
        let mut file = File::open(path).map_err(io())?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io())?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES {
            return Err(malformed(SafeTensorError::HeaderTooLarge));
        }
        let mut header = Vec::new();
        (&mut file).take(length).read_to_end(&mut header).map_err(io())?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| malformed(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        let data_start = size_of::<u64>() as u64 + length;
        let expected = data_start + metadata.data_len() as u64;
        if file.metadata().map_err(io())?.len() != expected {
            return Err(malformed(SafeTensorError::MetadataIncompleteBuffer));
        }
        Ok(Self { path: path.to_owned(), file, metadata, data_start })
    }

    /// Names of all tensors, in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// One tensor as it is.
    pub fn read(&self, name: &str) -> Result<StoredTensor, Error> {
        let Some(TensorInfo { dtype, shape, data_offsets: (start, end) }) =
            self.metadata.info(name)
        else {
            return Err(self.error(name, "missing", "in the file"));
        };
        let mut bytes = vec![0; end - start];
        let position = SeekFrom::Start(self.data_start + *start as u64);
        let mut file = &self.file;
        file.seek(position).map_err(Error::io(&self.path))?;
        file.read_exact(&mut bytes).map_err(Error::io(&self.path))?;
        Ok(StoredTensor { dtype: *dtype, shape: shape.clone(), bytes })
    }

    /// One tensor of finite numbers and this shape.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let stored = self.read(name)?;
        let expected = format!("F32, F16 or BF16 {shape:?}");
        let values = stored.to_f32().filter(|_| stored.shape == shape);
        let values = values.ok_or_else(|| self.error(name, stored.describe(), expected))?;
        match values.iter().find(|x| !x.is_finite()) {
            None => Ok(values),
            Some(x) => Err(self.error(name, format!("{x} in one place"), "finite numbers")),
        }
    }

    /// One tensor of this type and so many elements.
    pub fn bytes(&self, name: &str, dtype: Dtype, n_elements: usize) -> Result<Vec<u8>, Error> {
        let stored = self.read(name)?;
        let fits = stored.dtype == dtype && stored.shape.iter().product::<usize>() == n_elements;
        if fits {
            return Ok(stored.bytes);
        }
        let expected = format!("{dtype:?} of {n_elements} elements");
        Err(self.error(name, stored.describe(), expected))
    }

    pub fn error(
        &self,
        name: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Error {
        Error::Tensor {
            path: self.path.clone(),
            name: name.to_owned(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// Writes tensors beside the target and renames.
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, StoredTensor>) -> Result<(), Error> {
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })?;
    write_file(path, &bytes)
}

/// Writes a JSON beside the target and renames.
pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    write_file(path, format!("{value:#}\n").as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.commit().map_err(Error::io(path))
}
