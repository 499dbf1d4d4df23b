//! Groups and arrays by name, in an HDF5 file or in a zarr folder: all that a
//! reader of AnnData asks of either.

use std::path::Path;

use rust_hdf5::{H5Type, ReadNumeric};

use super::{
    element::Element,
    hdf5::{Data, H5},
    values::Numbers,
    zarr::{Folder, ZarrArray},
};
use crate::error::{Error, Result};

/// A file or folder of groups and arrays.
#[derive(Clone, Copy)]
pub(super) enum Tree<'a> {
    /// An HDF5 file.
    Hdf5(&'a H5),
    /// A zarr folder.
    Zarr(&'a Folder),
}

/// An open array.
pub(super) enum Array {
    /// A data set of an HDF5 file.
    Hdf5(Box<Data>),
    /// An array of a zarr folder.
    Zarr(Box<ZarrArray>),
}

/// The same call on either.
macro_rules! either {
    ($this:expr, $kind:ident, $it:ident => $call:expr) => {
        match $this {
            $kind::Hdf5($it) => $call,
            $kind::Zarr($it) => $call,
        }
    };
}

impl<'a> Tree<'a> {
    pub(super) fn path(self) -> &'a Path {
        either!(self, Tree, tree => tree.path())
    }

    /// Whether there is an array or group of that name.
    pub(super) fn has(self, object: &str) -> bool {
        either!(self, Tree, tree => tree.has(object))
    }

    pub(super) fn is_group(self, object: &str) -> bool {
        either!(self, Tree, tree => tree.is_group(object))
    }

    /// Names inside a group, sorted; none if there is no such group.
    pub(super) fn children(self, group: &str) -> Vec<String> {
        either!(self, Tree, tree => tree.children(group))
    }

    /// A text attribute of a group or array.
    pub(super) fn attribute(self, object: &str, name: &str) -> Option<String> {
        either!(self, Tree, tree => tree.attribute(object, name))
    }

    pub(super) fn array(self, object: &str) -> Result<Array> {
        match self {
            Self::Hdf5(h5) => h5.dataset(object).map(Array::hdf5),
            Self::Zarr(folder) => folder.array(object).map(|array| Array::Zarr(Box::new(array))),
        }
    }

    /// The array once more, to read from in another thread at the same time.
    pub(super) fn twin(self, object: &str) -> Result<Array> {
        match self {
            Self::Hdf5(h5) => h5.twin()?.dataset(object).map(Array::hdf5),
            Self::Zarr(_) => self.array(object),
        }
    }

    pub(super) fn encoding(self, object: &str, found: impl Into<String>, expected: &str) -> Error {
        Error::Encoding {
            path: self.path().to_owned(),
            object: object.to_owned(),
            found: found.into(),
            expected: expected.to_owned(),
        }
    }
}

impl Array {
    fn hdf5(data: Data) -> Self {
        Self::Hdf5(Box::new(data))
    }

    pub(super) fn path(&self) -> &Path {
        either!(self, Array, array => &array.path)
    }

    pub(super) fn object(&self) -> &str {
        either!(self, Array, array => &array.object)
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        either!(self, Array, array => array.shape())
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        either!(self, Array, array => array.len())
    }

    /// The shape of a chunk; `None` if the array has none.
    pub(super) fn chunk_dims(&self) -> Option<Vec<usize>> {
        match self {
            Self::Hdf5(data) => data.chunk_dims(),
            Self::Zarr(array) => Some(array.chunk_dims()),
        }
    }

    /// Bytes of one element.
    pub(super) fn width(&self) -> usize {
        either!(self, Array, array => array.width())
    }

    /// Integers of any width; one that does not fit is an error.
    pub(super) fn integers<T: ReadNumeric + TryFrom<i128>>(
        &self,
        start: usize,
        n: usize,
    ) -> Result<Vec<T>> {
        either!(self, Array, array => array.integers(start, n))
    }

    /// Some elements of a vector, end to end; numbers in the machine's order.
    pub(super) fn stored(&self, start: usize, n: usize) -> Result<Vec<u8>> {
        either!(self, Array, array => array.stored(start, n))
    }

    /// Some strings of a vector of strings.
    pub(super) fn texts(&self, start: usize, n: usize) -> Result<Vec<String>> {
        match self {
            Self::Hdf5(data) => {
                let bytes = data.stored(start, n)?;
                let texts = data.texts(&data.kind, bytes.chunks_exact(data.width().max(1)))?;
                texts.ok_or_else(|| data.encoding("strings"))
            }
            Self::Zarr(array) => array.texts(start, n),
        }
    }
}

impl Numbers for Array {
    fn element(&self) -> Element {
        either!(self, Array, array => array.element())
    }

    fn slice<T: H5Type + bytemuck::Pod>(
        &self,
        starts: &[usize],
        counts: &[usize],
    ) -> Result<Vec<T>> {
        either!(self, Array, array => array.slice(starts, counts))
    }

    fn encoding(&self, expected: &str) -> Error {
        either!(self, Array, array => array.encoding(expected))
    }
}
