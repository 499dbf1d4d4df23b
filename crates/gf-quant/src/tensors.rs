//! Tensors of gf-model's store, checked one by one, and files of tensors written.

use std::{borrow::Cow, collections::BTreeMap, io::Write, path::Path};

use atomic_write_file::AtomicWriteFile;
use gf_model::checkpoint::TensorStore;
use safetensors::{Dtype, View, tensor::TensorView};

use crate::Error;

/// What is asked of a store; nothing of a tensor stays in memory but what is returned.
pub(crate) trait Checked {
    /// A tensor where it lies.
    fn view(&self, name: &str) -> Result<TensorView<'_>, Error>;
    /// Finite numbers of this shape.
    fn finite(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;
    /// The bytes of so many elements of this type.
    fn bytes(&self, name: &str, dtype: Dtype, n_elements: usize) -> Result<Vec<u8>, Error>;
    /// [`Error::Tensor`].
    fn error(&self, name: &str, found: impl Into<String>, expected: impl Into<String>) -> Error;
}

impl Checked for TensorStore {
    fn view(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.get(name).ok_or_else(|| self.error(name, "missing", "in the file"))
    }

    fn finite(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let view = self.view(name)?;
        let expected = || format!("F64, F32, F16 or BF16 {shape:?}");
        let values = self.floats(name).filter(|_| view.shape() == shape);
        let values = values.ok_or_else(|| self.error(name, describe(&view), expected()))?;
        match values.iter().find(|x| !x.is_finite()) {
            None => Ok(values),
            Some(x) => Err(self.error(name, format!("{x} in one place"), "finite numbers")),
        }
    }

    fn bytes(&self, name: &str, dtype: Dtype, n_elements: usize) -> Result<Vec<u8>, Error> {
        let view = self.view(name)?;
        let fits = view.dtype() == dtype && view.shape().iter().product::<usize>() == n_elements;
        if !fits {
            let expected = format!("{dtype:?} of {n_elements} elements");
            return Err(self.error(name, describe(&view), expected));
        }
        let bytes = view.data().to_vec();
        self.release(name);
        Ok(bytes)
    }

    fn error(&self, name: &str, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::Tensor {
            path: self.path().to_owned(),
            name: name.to_owned(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

fn describe(view: &TensorView<'_>) -> String {
    format!("{:?} {:?}", view.dtype(), view.shape())
}

/// A tensor to write, in memory or where it lies in another file.
pub(crate) struct StoredTensor<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Cow<'a, [u8]>,
}

impl StoredTensor<'_> {
    pub fn f32(values: &[f32], shape: Vec<usize>) -> Self {
        let bytes = bytemuck::cast_slice(values).to_vec();
        Self { dtype: Dtype::F32, shape, bytes: bytes.into() }
    }

    pub fn u8(bytes: Vec<u8>) -> Self {
        Self { dtype: Dtype::U8, shape: vec![bytes.len()], bytes: bytes.into() }
    }
}

impl<'a> From<TensorView<'a>> for StoredTensor<'a> {
    fn from(view: TensorView<'a>) -> Self {
        let (dtype, shape) = (view.dtype(), view.shape().to_vec());
        Self { dtype, shape, bytes: Cow::Borrowed(view.data()) }
    }
}

impl View for &StoredTensor<'_> {
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

/// Writes tensors beside the target and renames.
pub(crate) fn write(
    path: &Path,
    tensors: &BTreeMap<String, StoredTensor<'_>>,
) -> Result<(), Error> {
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
