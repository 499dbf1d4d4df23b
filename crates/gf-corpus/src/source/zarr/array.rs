//! An open array, read by boxes and windows.

use std::{num::NonZeroU64, path::PathBuf, sync::Arc};

use rayon::prelude::*;
use rust_hdf5::H5Type;
use zarrs::{
    array::{Array, ArrayMetadata},
    metadata_ext::{
        chunk_grid::regular::RegularChunkGridConfiguration,
        codec::sharding::{ShardingCodecConfiguration, ShardingCodecConfigurationV1},
    },
    plugin::ExtensionName,
};

use super::{
    Folder,
    chunks::Chunks,
    codecs::{Chain, KNOWN},
    held::{Chunk, Held},
    shards::Shards,
};
use crate::{
    error::{Error, Result},
    source::{
        element::{Element, Order, integer},
        hdf5::{MAX_READ, MAX_STRING},
        values::Numbers,
    },
};

/// How many bytes an array may declare for each byte of the folder: as an HDF5
/// file, of which see there.
const MAX_RATIO: u64 = 4096;
/// Least bytes of the folder for each declared chunk.
const MIN_CHUNK_BYTES: u64 = 8;
/// Largest chunk that is unpacked, in bytes (writers choose at most 64 MiB).
const MAX_CHUNK: u64 = 128 << 20;
/// Bytes of the length that stands before a string, and before all.
const LENGTH: usize = 4;

/// An open array of one or two dimensions.
pub(in super::super) struct ZarrArray {
    /// The zarr folder.
    pub(in super::super) path: PathBuf,
    /// Its name in the folder.
    pub(in super::super) object: String,
    shape: Vec<usize>,
    element: Element,
    width: usize,
    chunks: Chunks,
    held: Arc<Held>,
}

impl ZarrArray {
    pub(super) fn open(folder: &Folder, object: &str) -> Result<Self> {
        let failed = |reason: String| folder.failed(object, reason);
        let refused = |found: String, expected: &str| folder.encoding(object, found, expected);
        let metadata = folder.metadata(object)?;
        let array = Array::new_with_metadata(Arc::new(()), "/", metadata.clone());
        let array = array.map_err(|reason| failed(reason.to_string()))?;
        let outer = chunk_shape(&metadata).ok_or_else(|| failed("no regular chunks".to_owned()))?;
        let (shards, codecs, shape) = match sharding(&metadata) {
            Some(config) => {
                let shards = Shards::new(&outer, &config)
                    .map_err(|expected| refused("another shard".to_owned(), &expected))?;
                let inner = zarrs::array::CodecChain::from_metadata(&config.codecs);
                let inner = Arc::new(inner.map_err(|reason| failed(reason.to_string()))?);
                (Some(shards), inner, config.chunk_shape)
            }
            None => (None, array.codecs(), outer),
        };
        let codecs = Chain::new(&codecs).map_err(|name| refused(format!("codec {name}"), KNOWN))?;
        let element = element(&array, &codecs);
        let width = array.data_type().fixed_size().unwrap_or(LENGTH);
        let of_chunk = product(shape.iter().map(|dim| dim.get())).saturating_mul(width as u64);
        let is_read = (1..=2).contains(&array.shape().len()) && shape.len() == array.shape().len();
        if !is_read || width == 0 || !(1..=MAX_CHUNK).contains(&of_chunk) {
            let found = format!("shape {:?} in chunks {shape:?}", array.shape());
            let expected = format!("one or two dimensions in chunks of at most {MAX_CHUNK} bytes");
            return Err(refused(found, &expected));
        }
        let most = if codecs.holds_texts() { MAX_CHUNK as usize } else { of_chunk as usize };
        let place = folder.place(object)?;
        let dims = array.shape().iter().map(|&dim| usize::try_from(dim).unwrap_or(usize::MAX));
        let opened = Self {
            path: folder.path.clone(),
            object: object.to_owned(),
            shape: dims.collect(),
            element,
            width,
            chunks: Chunks { folder: place, array, shards, codecs, shape, most },
            held: folder.held.clone(),
        };
        opened.check_size(folder.len)?;
        Ok(opened)
    }

    /// Refuses more values or chunks than the folder can hold.
    fn check_size(&self, len: u64) -> Result<()> {
        let dims = || self.shape.iter().map(|&dim| dim as u64);
        if product(dims()).saturating_mul(self.width as u64) > len.saturating_mul(MAX_RATIO) {
            let expected = format!("at most {MAX_RATIO} bytes for each of the folder's {len}");
            return Err(self.encoding(&expected));
        }
        let along = dims().zip(&self.chunks.shape).map(|(dim, chunk)| dim.div_ceil(chunk.get()));
        let n_chunks = product(along);
        if n_chunks.saturating_mul(MIN_CHUNK_BYTES) > len {
            let expected = format!("fewer than {n_chunks} chunks in such a small folder");
            return Err(self.encoding(&expected));
        }
        Ok(())
    }

    pub(in super::super) fn shape(&self) -> Vec<usize> {
        self.shape.clone()
    }

    /// Number of elements.
    pub(in super::super) fn len(&self) -> usize {
        self.shape.iter().fold(1, |n: usize, &dim| n.saturating_mul(dim))
    }

    pub(in super::super) fn chunk_dims(&self) -> Vec<usize> {
        self.chunks.shape.iter().map(|dim| dim.get() as usize).collect()
    }

    /// Bytes of one element; of a string, of its length.
    pub(in super::super) fn width(&self) -> usize {
        self.width
    }

    /// Integers of any width; one that does not fit is an error.
    pub(in super::super) fn integers<T: TryFrom<i128>>(
        &self,
        start: usize,
        n: usize,
    ) -> Result<Vec<T>> {
        let Element::Integer { size, signed, .. } = self.element else {
            return Err(self.encoding("integers"));
        };
        let bytes = self.stored(start, n)?;
        let values = bytes.chunks_exact(size).map(|cell| integer(cell, size, signed));
        let fits = |(at, value): (usize, i128)| {
            let reason = || format!("found {value} at {at}, which is out of range");
            T::try_from(value).map_err(|_| self.failed(reason()))
        };
        (start..).zip(values).map(fits).collect()
    }

    /// Some elements of a vector, end to end, in the machine's order.
    pub(in super::super) fn stored(&self, start: usize, n: usize) -> Result<Vec<u8>> {
        self.check(&[start], &[n])?;
        let mut bytes = vec![0; n * self.width];
        self.fill(&[start], &[n], &mut bytes)?;
        Ok(bytes)
    }

    /// Some strings of a vector of strings.
    pub(in super::super) fn texts(&self, start: usize, n: usize) -> Result<Vec<String>> {
        if self.element != Element::Text {
            return Err(self.encoding("strings"));
        }
        if !self.chunks.codecs.holds_texts() {
            let bytes = self.stored(start, n)?;
            return Ok(bytes.chunks_exact(self.width).map(utf32).collect());
        }
        self.check(&[start], &[n])?;
        let (mut texts, mut n_bytes) = (Vec::with_capacity(n), 0);
        let chunk_len = self.chunk_dims()[0];
        let mut from = start;
        while from < start + n {
            let at = from / chunk_len;
            let end = (start + n).min((at + 1).saturating_mul(chunk_len));
            let is_last = end == self.len() || end.is_multiple_of(chunk_len);
            let chunk = self.chunk(&[at as u64], !is_last)?;
            let span = from - at * chunk_len..end - at * chunk_len;
            self.split(chunk.as_deref(), span, &mut texts, &mut n_bytes)?;
            from = end;
        }
        Ok(texts)
    }

    /// Takes the strings of a part of a chunk.
    fn split(
        &self,
        chunk: Option<&Vec<u8>>,
        span: std::ops::Range<usize>,
        texts: &mut Vec<String>,
        n_bytes: &mut usize,
    ) -> Result<()> {
        let Some(chunk) = chunk else {
            let fill = String::from_utf8_lossy(self.chunks.fill().as_ne_bytes()).into_owned();
            texts.extend(span.map(|_| fill.clone()));
            return Ok(());
        };
        let short = || self.failed("found a chunk cut short, expected as many strings".to_owned());
        let (count, mut rest) = length(chunk).ok_or_else(short)?;
        if count != self.chunk_dims()[0] {
            let expected = self.chunk_dims()[0];
            let reason = format!("found a chunk of {count} strings, expected {expected}");
            return Err(self.failed(reason));
        }
        for place in 0..span.end {
            let (n, after) = length(rest).ok_or_else(short)?;
            let text = after.get(..n).ok_or_else(short)?;
            rest = &after[n..];
            if place < span.start {
                continue;
            }
            *n_bytes += n;
            if n > MAX_STRING || *n_bytes > MAX_READ {
                let expected = format!("strings of at most {MAX_STRING} bytes, in all {MAX_READ}");
                return Err(self.encoding(&expected));
            }
            texts.push(String::from_utf8_lossy(text).into_owned());
        }
        Ok(())
    }

    /// Refuses a box that is not in the array or of more than [`MAX_READ`] bytes.
    fn check(&self, starts: &[usize], counts: &[usize]) -> Result<()> {
        let ends = starts.iter().zip(counts).map(|(start, n)| start.saturating_add(*n));
        let is_inside = ends.zip(&self.shape).all(|(end, &dim)| end <= dim);
        if !is_inside || starts.len() != self.shape.len() || counts.len() != self.shape.len() {
            return Err(self.encoding(&format!("{counts:?} values from {starts:?} on")));
        }
        let n = product(counts.iter().map(|&n| n as u64));
        if n.saturating_mul(self.width as u64) > MAX_READ as u64 {
            let expected = format!("at most {MAX_READ} bytes, {n} values were asked for");
            return Err(self.encoding(&expected));
        }
        Ok(())
    }

    /// Puts a box of numbers into zeroed memory.
    fn fill(&self, starts: &[usize], counts: &[usize], out: &mut [u8]) -> Result<()> {
        let has_fixed_size = self.chunks.array.data_type().fixed_size().is_some();
        if !has_fixed_size || self.chunks.codecs.holds_texts() {
            return Err(self.encoding("elements of a fixed size"));
        }
        if counts.contains(&0) {
            return Ok(());
        }
        let wanted = Span::new(starts, counts);
        let chunk = flat(&self.chunk_dims());
        let along = |d: usize| wanted.from[d] / chunk[d]..wanted.to[d].div_ceil(chunk[d]);
        let places = along(0).flat_map(|row| along(1).map(move |column| [row, column]));
        let places: Vec<[usize; 2]> = places.collect();
        // As many are unpacked at a time as there are threads, so that few wait.
        for some in places.chunks(rayon::current_num_threads()) {
            let read = |place: &[usize; 2]| {
                let (at, is_vector) = (place.map(|at| at as u64), self.shape.len() == 1);
                let end = [(place[0] + 1) * chunk[0], (place[1] + 1) * chunk[1]];
                let dims = flat(&self.shape);
                let goes_on = (0..2).any(|d| wanted.to[d] < end[d].min(dims[d]));
                self.chunk(if is_vector { &at[1..] } else { &at }, goes_on)
            };
            // Not collected as one result, which would be any of several errors.
            let read: Vec<_> = some.par_iter().map(read).collect();
            for (place, elements) in some.iter().zip(read) {
                self.copy(&wanted, place, chunk, elements?.as_deref(), out);
            }
        }
        Ok(())
    }

    /// Copies what a chunk and a box have in common.
    fn copy(
        &self,
        wanted: &Span,
        place: &[usize; 2],
        chunk: [usize; 2],
        elements: Option<&Vec<u8>>,
        out: &mut [u8],
    ) {
        let first = [place[0] * chunk[0], place[1] * chunk[1]];
        let from = [0, 1].map(|d| wanted.from[d].max(first[d]));
        let to = [0, 1].map(|d| wanted.to[d].min(first[d].saturating_add(chunk[d])));
        let n = (to[1] - from[1]) * self.width;
        let n_columns = wanted.to[1] - wanted.from[1];
        for row in from[0]..to[0] {
            let at = (row - wanted.from[0]) * n_columns + from[1] - wanted.from[1];
            let out = &mut out[at * self.width..][..n];
            match elements {
                Some(elements) => {
                    let at = (row - first[0]) * chunk[1] + from[1] - first[1];
                    out.copy_from_slice(&elements[at * self.width..][..n]);
                }
                None => {
                    let fill = self.chunks.fill().as_ne_bytes();
                    out.chunks_exact_mut(fill.len().max(1)).for_each(|to| to.copy_from_slice(fill));
                }
            }
        }
    }

    /// A chunk; `None` if it was not written. It is kept if more of it will be wanted.
    fn chunk(&self, at: &[u64], goes_on: bool) -> Result<Option<Chunk>> {
        if let Some(chunk) = self.held.get(&self.object, at) {
            return Ok(Some(chunk));
        }
        let chunk = self.chunks.read(at).map_err(|reason| self.failed(reason))?.map(Arc::new);
        if let Some(chunk) = chunk.as_ref().filter(|_| goes_on) {
            self.held.put(&self.object, at, chunk);
        }
        Ok(chunk)
    }

    fn failed(&self, reason: String) -> Error {
        Error::Zarr { path: self.path.clone(), object: self.object.clone(), reason }
    }
}

impl Numbers for ZarrArray {
    fn element(&self) -> Element {
        self.element
    }

    fn slice<T: H5Type + bytemuck::Pod>(
        &self,
        starts: &[usize],
        counts: &[usize],
    ) -> Result<Vec<T>> {
        self.check(starts, counts)?;
        if size_of::<T>() != self.width {
            return Err(self.encoding(&format!("elements of {} bytes", size_of::<T>())));
        }
        let mut values = vec![T::zeroed(); counts.iter().product()];
        self.fill(starts, counts, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    fn encoding(&self, expected: &str) -> Error {
        Error::Encoding {
            path: self.path.clone(),
            object: self.object.clone(),
            found: format!("{} of shape {:?}", kind_name(&self.chunks.array), self.shape),
            expected: expected.to_owned(),
        }
    }
}

/// A box of a matrix; a vector is a matrix of one row.
struct Span {
    from: [usize; 2],
    to: [usize; 2],
}

impl Span {
    fn new(starts: &[usize], counts: &[usize]) -> Self {
        let counts = flat(counts);
        let from = if starts.len() == 1 { [0, starts[0]] } else { flat(starts) };
        Self { from, to: [from[0] + counts[0], from[1] + counts[1]] }
    }
}

fn flat(dims: &[usize]) -> [usize; 2] {
    match dims {
        [n] => [1, *n],
        [rows, columns] => [*rows, *columns],
        _ => [0, 0],
    }
}

fn product(dims: impl Iterator<Item = u64>) -> u64 {
    dims.fold(1, u64::saturating_mul)
}

/// The shape of a chunk, or of a shard.
fn chunk_shape(metadata: &ArrayMetadata) -> Option<Vec<NonZeroU64>> {
    match metadata {
        ArrayMetadata::V2(array) => Some(array.chunks.to_vec()),
        ArrayMetadata::V3(array) => {
            let grid = &array.chunk_grid;
            let is_regular = grid.name() == "regular" && array.storage_transformers.is_empty();
            let config = grid.to_typed_configuration::<RegularChunkGridConfiguration>();
            is_regular.then(|| config.ok().map(|config| config.chunk_shape.to_vec()))?
        }
    }
}

/// What the sharding codec says, if it is the only one.
fn sharding(metadata: &ArrayMetadata) -> Option<ShardingCodecConfigurationV1> {
    let ArrayMetadata::V3(array) = metadata else { return None };
    let [codec] = &array.codecs[..] else { return None };
    let config = (codec.name() == "sharding_indexed")
        .then(|| codec.to_typed_configuration::<ShardingCodecConfiguration>());
    match config?.ok()? {
        ShardingCodecConfiguration::V1(config) => Some(config),
        _ => None,
    }
}

fn kind_name(array: &Array<()>) -> String {
    array.data_type().name_v3().map_or_else(|| "values".to_owned(), |name| name.into_owned())
}

/// What the elements are, in the machine's order.
fn element(array: &Array<()>, codecs: &Chain) -> Element {
    let order = Order::Little;
    let integer = |size, signed| Element::Integer { size, signed, order };
    match kind_name(array).as_str() {
        "bool" => Element::Boolean,
        "int8" => integer(1, true),
        "int16" => integer(2, true),
        "int32" => integer(4, true),
        "int64" => integer(8, true),
        "uint8" => integer(1, false),
        "uint16" => integer(2, false),
        "uint32" => integer(4, false),
        "uint64" => integer(8, false),
        "float32" => Element::Float { size: 4, order },
        "float64" => Element::Float { size: 8, order },
        "string" if codecs.holds_texts() => Element::Text,
        "fixed_length_utf32" if !codecs.holds_texts() => Element::Text,
        _ => Element::Other,
    }
}

/// The first number of some bytes, and the rest.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    Some((u32::from_le_bytes(*length) as usize, rest))
}

/// The text of a fixed-width cell, up to the zeros at its end.
fn utf32(cell: &[u8]) -> String {
    let codes = cell.as_chunks::<4>().0.iter().map(|code| u32::from_le_bytes(*code));
    let text: String =
        codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_end_matches('\0').to_owned()
}
