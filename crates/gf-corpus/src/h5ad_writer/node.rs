//! Groups and growing data sets of an `.h5ad`, each with the two attributes
//! that tell anndata how it is encoded.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rust_hdf5::{FilterPipeline, H5Dataset, H5File, H5Group, H5Type, Hdf5Error, VarLenUnicode};

use super::target::failed;
use crate::error::{Error, Result};

/// Name and version of an encoding.
pub(super) type Encoding = (&'static str, &'static str);

pub(super) const DICT: Encoding = ("dict", "0.1.0");
pub(super) const DATAFRAME: Encoding = ("dataframe", "0.2.0");
const ARRAY: Encoding = ("array", "0.2.0");
const STRING_ARRAY: Encoding = ("string-array", "0.2.0");
/// The fastest of gzip's levels: the shuffle before it makes counts small already.
const GZIP_LEVEL: u32 = 1;
/// Bytes of a reference to a string.
const STRING_REFERENCE: u32 = 16;
/// Bytes of a heap of strings, of those HDF5 itself makes the largest.
const HEAP_BYTES: usize = 1 << 16;
/// Bytes of a heap that each string takes besides its own, rounded up to 8.
const HEAP_OBJECT: usize = 16;

/// A group of the file.
pub(super) struct Node {
    group: Arc<H5Group>,
    place: Place,
}

/// A name inside a file, for errors.
#[derive(Clone)]
struct Place {
    path: PathBuf,
    object: String,
}

impl Place {
    fn inside(&self, name: &str) -> Self {
        let object = match self.object.as_str() {
            "/" => name.to_owned(),
            parent => format!("{parent}/{name}"),
        };
        Self { path: self.path.clone(), object }
    }

    fn error(&self) -> impl Fn(Hdf5Error) -> Error {
        move |error| failed(&self.path, &self.object, &error)
    }
}

impl Node {
    pub(super) fn root(file: &H5File, path: &Path) -> Self {
        let place = Place { path: path.to_owned(), object: "/".to_owned() };
        Self { group: Arc::new(file.root_group()), place }
    }

    pub(super) fn group(&self, name: &str, (kind, version): Encoding) -> Result<Self> {
        let place = self.place.inside(name);
        let group = self.group.create_group(name).map_err(place.error())?;
        let node = Self { group: Arc::new(group), place };
        node.encode(kind, version)?;
        Ok(node)
    }

    pub(super) fn encode(&self, kind: &str, version: &str) -> Result<()> {
        self.attribute("encoding-type", kind)?;
        self.attribute("encoding-version", version)
    }

    pub(super) fn attribute(&self, name: &str, value: &str) -> Result<()> {
        self.group.set_attr_string(name, value).map_err(self.place.error())
    }

    pub(super) fn names(&self, name: &str, values: &[&str]) -> Result<()> {
        self.group.set_attr_string_array(name, values).map_err(self.place.error())
    }

    pub(super) fn numbers<T: H5Type>(&self, name: &str, values: &[T]) -> Result<()> {
        self.group.set_attr_array_numeric(name, values).map_err(self.place.error())
    }

    pub(super) fn flag(&self, name: &str, value: bool) -> Result<()> {
        let value = rust_hdf5::HBool::from(value);
        self.group.set_attr_numeric(name, &value).map_err(self.place.error())
    }

    /// A vector without values yet.
    pub(super) fn array<T: H5Type>(&self, name: &str, per_chunk: usize) -> Result<Array> {
        self.data_set::<T>(name, &[0], &[per_chunk], &[None])
    }

    /// A matrix of `width` columns without rows yet.
    pub(super) fn rows(&self, name: &str, width: usize, per_chunk: usize) -> Result<Array> {
        self.data_set::<f32>(name, &[0, width], &[per_chunk, width], &[None, Some(width)])
    }

    fn data_set<T: H5Type>(
        &self,
        name: &str,
        shape: &[usize],
        chunk: &[usize],
        most: &[Option<usize>],
    ) -> Result<Array> {
        let place = self.place.inside(name);
        let plan = self.group.new_dataset::<T>().shape(shape).chunk(chunk).max_shape(most);
        let data = plan.shuffle_deflate(GZIP_LEVEL).create(name).map_err(place.error())?;
        encode(&data, ARRAY).map_err(place.error())?;
        Ok(Array { data, place })
    }

    /// A vector of strings without values yet.
    pub(super) fn strings(&self, name: &str, per_chunk: usize) -> Result<Strings> {
        let place = self.place.inside(name);
        let filters = FilterPipeline::shuffle_deflate(STRING_REFERENCE, GZIP_LEVEL);
        let data = self.group.create_appendable_vlen_dataset(name, per_chunk, Some(filters));
        data.and_then(|data| encode(&data, STRING_ARRAY)).map_err(place.error())?;
        Ok(Strings { group: Arc::clone(&self.group), name: name.to_owned(), place })
    }
}

fn encode(data: &H5Dataset, (kind, version): Encoding) -> Result<(), Hdf5Error> {
    let set = |name: &str, value: &str| {
        data.new_attr::<VarLenUnicode>().shape(()).create(name)?.write_string(value)
    };
    set("encoding-type", kind)?;
    set("encoding-version", version)
}

/// A data set of numbers that grows.
pub(super) struct Array {
    data: H5Dataset,
    place: Place,
}

impl Array {
    pub(super) fn append<T: H5Type>(&self, values: &[T]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.data.append(values).map_err(self.place.error())
    }
}

/// How many of the first strings fit into one heap, at least one: every call of
/// rust-hdf5 makes a heap of all it is given, which is read whole for each of them.
fn fit_in_heap(values: &[&str]) -> usize {
    // The head of the heap, and of the free space at its end.
    let mut free = HEAP_BYTES - 2 * HEAP_OBJECT;
    let fits = |text: &&&str| {
        let size = HEAP_OBJECT + text.len().next_multiple_of(8);
        free = free.saturating_sub(size);
        free > 0
    };
    values.iter().take_while(fits).count().max(1)
}

/// A data set of strings that grows.
pub(super) struct Strings {
    group: Arc<H5Group>,
    name: String,
    place: Place,
}

impl Strings {
    pub(super) fn append(&self, values: &[&str]) -> Result<()> {
        // HDF5's own readers end a string at the first zero byte.
        if let Some(text) = values.iter().find(|text| text.contains('\0')) {
            return Err(Error::Encoding {
                path: self.place.path.clone(),
                object: self.place.object.clone(),
                found: format!("{text:?}"),
                expected: "text without zero bytes".to_owned(),
            });
        }
        let mut rest = values;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(fit_in_heap(rest));
            self.group.append_vlen_strings(&self.name, piece).map_err(self.place.error())?;
            rest = behind;
        }
        Ok(())
    }
}
