//! Vectors of an HDF5 file read window by window as text: cell ids, metadata,
//! gene names.
//!
//! rust-hdf5 reads strings only as whole vectors. Its reader for files that
//! are still being written (SWMR) gives the stored bytes of any window, and
//! those are decoded here; strings of variable length are looked up in the
//! file's heaps.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rust_hdf5::{
    ByteOrder, DatatypeMessage, FileLocking,
    format::{
        FormatContext, UNDEF_ADDR,
        global_heap::{GlobalHeapCollection, decode_vlen_reference},
    },
    swmr::SwmrFileReader,
};

use super::hdf5::{Data, H5};
use crate::{
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField, MetadataKind},
};

/// Longest string that is read, in bytes.
const MAX_TEXT: usize = 1 << 12;
/// Elements at the beginning and the end that tell whether a vector can be read.
const TRIED: usize = 64;
/// Elements read at a time.
const WINDOW: usize = 1 << 12;
/// Largest heap that is read; HDF5 writes them of 4 KiB.
const MAX_HEAP: usize = 1 << 26;
/// Heaps are forgotten when they hold more bytes than this.
const HELD_HEAPS: usize = 1 << 25;
/// Stored size of a reference to a string in a heap.
const REFERENCE: usize = 16;

/// A file open for reading vectors as text.
pub(super) struct Texts {
    reader: SwmrFileReader,
    heaps: Heaps,
    path: PathBuf,
}

/// A vector of strings, numbers or truth values.
pub(super) struct Vector {
    object: String,
    len: usize,
    kind: Kind,
}

/// How an element is stored.
#[derive(Clone, Copy)]
enum Kind {
    Fixed { width: usize },
    Heap,
    Integer { width: usize, signed: bool, swap: bool },
    Float { width: usize, swap: bool },
    Boolean { width: usize },
}

impl Vector {
    /// A vector of the file; `None` if it is stored in a way that is not read.
    pub(super) fn open(h5: &H5, object: &str) -> Option<Self> {
        Self::of(&h5.vector(object).ok()?)
    }

    /// A vector that has to be there.
    pub(super) fn expect(h5: &H5, object: &str) -> Result<Self> {
        let data = h5.vector(object)?;
        let expected = format!("strings of at most {MAX_TEXT} bytes, or numbers");
        Self::of(&data).ok_or_else(|| data.encoding(&expected))
    }

    fn of(data: &Data) -> Option<Self> {
        let kind = Kind::of(&data.kind)?;
        let width = kind.width();
        let sound = (1..=MAX_TEXT).contains(&width) && data.kind.element_size() as usize == width;
        sound.then(|| Self { object: data.object.clone(), len: data.len(), kind })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The column of that name, as metadata.
    pub(super) fn metadata_field(&self, name: String) -> MetadataField {
        let is_single = matches!(self.kind, Kind::Float { width: 4, .. });
        MetadataField { is_single, ..MetadataField::new(name, self.metadata_kind()) }
    }

    /// What its values are as metadata.
    pub(super) fn metadata_kind(&self) -> MetadataKind {
        match self.kind {
            Kind::Fixed { .. } | Kind::Heap => MetadataKind::Text,
            // Some need more than the 63 bits of a whole number.
            Kind::Integer { width: 8, signed: false, .. } => MetadataKind::Text,
            Kind::Integer { .. } => MetadataKind::Integer,
            Kind::Float { .. } => MetadataKind::Float,
            Kind::Boolean { .. } => MetadataKind::Boolean,
        }
    }

    /// Whether its values are words rather than numbers.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Fixed { .. } | Kind::Heap)
    }

    /// Whether its values are whole numbers.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Integer { .. })
    }
}

impl Kind {
    fn of(kind: &DatatypeMessage) -> Option<Self> {
        use DatatypeMessage as Stored;
        let swap = |order: &ByteOrder| *order == ByteOrder::BigEndian;
        Some(match kind {
            Stored::FixedString { size, .. } => Self::Fixed { width: *size as usize },
            Stored::VarLenString { .. } => Self::Heap,
            Stored::FixedPoint { size, signed, byte_order, .. } if *size <= 8 => {
                Self::Integer { width: *size as usize, signed: *signed, swap: swap(byte_order) }
            }
            Stored::FloatingPoint { size: size @ (4 | 8), byte_order, .. } => {
                Self::Float { width: *size as usize, swap: swap(byte_order) }
            }
            Stored::Enum { base, .. } if base.element_size() == 1 => Self::Boolean { width: 1 },
            _ => return None,
        })
    }

    fn width(self) -> usize {
        match self {
            Self::Heap => REFERENCE,
            Self::Fixed { width }
            | Self::Integer { width, .. }
            | Self::Float { width, .. }
            | Self::Boolean { width } => width,
        }
    }
}

impl Texts {
    pub(super) fn open(h5: &H5) -> Result<Self> {
        let path = h5.path();
        // Locks fail on read-only media, and nothing is written here.
        let reader = SwmrFileReader::open_with_locking(path, FileLocking::Disabled);
        let reader = reader.map_err(|reason| error(path, "/", reason))?;
        let file = File::open(path).map_err(Error::io(path))?;
        let heaps = Heaps { file, base: h5.userblock(), known: HashMap::new(), held: 0 };
        Ok(Self { reader, heaps, path: path.to_owned() })
    }

    /// The elements from `start` to before `end` as text; NaN reads as `None`.
    pub(super) fn read(
        &mut self,
        vector: &Vector,
        start: usize,
        end: usize,
    ) -> Result<Vec<Option<String>>> {
        self.each(vector, start, end, Self::decode)
    }

    /// The elements from `start` to before `end`; NaN is missing.
    pub(super) fn metadata(
        &mut self,
        vector: &Vector,
        start: usize,
        end: usize,
    ) -> Result<MetadataColumn> {
        Ok(match vector.kind {
            Kind::Fixed { .. } | Kind::Heap | Kind::Integer { width: 8, signed: false, .. } => {
                MetadataColumn::Text(self.read(vector, start, end)?)
            }
            Kind::Integer { signed, swap, .. } => {
                let number = |_: &mut Self, _: &Vector, cell: &[u8]| {
                    Ok(i64::try_from(integer(cell, signed, swap)).ok())
                };
                MetadataColumn::Integers(self.each(vector, start, end, number)?)
            }
            Kind::Float { swap, .. } => {
                let number = |_: &mut Self, _: &Vector, cell: &[u8]| Ok(float(cell, swap));
                MetadataColumn::Floats(self.each(vector, start, end, number)?)
            }
            Kind::Boolean { .. } => {
                let truth = |_: &mut Self, _: &Vector, cell: &[u8]| Ok(Some(cell != [0]));
                MetadataColumn::Booleans(self.each(vector, start, end, truth)?)
            }
        })
    }

    /// What becomes of the elements from `start` to before `end`.
    fn each<T>(
        &mut self,
        vector: &Vector,
        start: usize,
        end: usize,
        decode: impl Fn(&mut Self, &Vector, &[u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for from in (start..end).step_by(WINDOW) {
            let n = WINDOW.min(end - from);
            let bytes = self.reader.read_slice_raw(&vector.object, &[from as u64], &[n as u64]);
            let bytes = bytes.map_err(|reason| error(&self.path, &vector.object, reason))?;
            for cell in bytes.chunks_exact(vector.kind.width()) {
                all.push(decode(self, vector, cell)?);
            }
        }
        if all.len() == end.saturating_sub(start) {
            return Ok(all);
        }
        Err(error(&self.path, &vector.object, "fewer elements than declared"))
    }

    /// Whether the first and the last elements of a vector can be read.
    pub(super) fn can_read(&mut self, vector: &Vector) -> bool {
        let n = TRIED.min(vector.len);
        [0, vector.len - n].into_iter().all(|from| self.read(vector, from, from + n).is_ok())
    }

    /// The elements from `start` to before `end`, a missing one as empty.
    pub(super) fn words(
        &mut self,
        vector: &Vector,
        start: usize,
        end: usize,
    ) -> Result<Vec<String>> {
        Ok(self.read(vector, start, end)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn decode(&mut self, vector: &Vector, cell: &[u8]) -> Result<Option<String>> {
        Ok(match vector.kind {
            Kind::Fixed { .. } => Some(trimmed(cell)),
            Kind::Heap => {
                let text = self.heaps.text(cell);
                Some(text.map_err(|reason| error(&self.path, &vector.object, reason))?)
            }
            Kind::Integer { signed, swap, .. } => Some(integer(cell, signed, swap).to_string()),
            // As few digits as tell the number among those of its width.
            Kind::Float { swap, width: 4 } => float(cell, swap).map(|v| (v as f32).to_string()),
            Kind::Float { swap, .. } => float(cell, swap).map(|value| value.to_string()),
            Kind::Boolean { .. } => Some(if cell == [0] { "False" } else { "True" }.to_owned()),
        })
    }
}

fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned()
}

/// At most eight bytes as little-endian ones, widened with `fill`.
fn widen(cell: &[u8], swap: bool, fill: u8) -> [u8; 8] {
    let mut wide = [fill; 8];
    for (at, byte) in cell.iter().enumerate().take(8) {
        wide[if swap { cell.len() - 1 - at } else { at }] = *byte;
    }
    wide
}

fn integer(cell: &[u8], signed: bool, swap: bool) -> i128 {
    let top = if swap { cell.first() } else { cell.last() };
    let negative = signed && top.is_some_and(|byte| byte & 0x80 != 0);
    let wide = widen(cell, swap, if negative { 0xff } else { 0 });
    if signed { i64::from_le_bytes(wide).into() } else { u64::from_le_bytes(wide).into() }
}

/// A number that is not NaN.
fn float(cell: &[u8], swap: bool) -> Option<f64> {
    let bits = u64::from_le_bytes(widen(cell, swap, 0));
    let single = cell.len() == 4;
    let value = if single { f32::from_bits(bits as u32).into() } else { f64::from_bits(bits) };
    (!value.is_nan()).then_some(value)
}

/// Strings of variable length lie in heaps elsewhere in the file.
struct Heaps {
    file: File,
    base: u64,
    known: HashMap<u64, HashMap<u16, String>>,
    held: usize,
}

/// Addresses and sizes have eight bytes; the rare files with shorter ones
/// have shorter references, which are not read.
const CONTEXT: FormatContext = FormatContext { sizeof_addr: 8, sizeof_size: 8 };

impl Heaps {
    fn text(&mut self, reference: &[u8]) -> Result<String, String> {
        let (length, address, item) =
            decode_vlen_reference(reference, &CONTEXT).map_err(|reason| reason.to_string())?;
        if length == 0 || address == 0 || address == UNDEF_ADDR {
            return Ok(String::new());
        }
        if length as usize > MAX_TEXT {
            return Err(format!("a string of {length} bytes, expected at most {MAX_TEXT}"));
        }
        if !self.known.contains_key(&address) {
            self.load(address)?;
        }
        let heap = self.known.get(&address);
        let text = u16::try_from(item).ok().and_then(|item| heap?.get(&item));
        text.cloned().ok_or_else(|| format!("no string {item} in the heap at {address}"))
    }

    fn load(&mut self, address: u64) -> Result<(), String> {
        let header = self.read_at(address, REFERENCE)?;
        let size = GlobalHeapCollection::decode_size(&header, &CONTEXT);
        let size = size.map_err(|reason| reason.to_string())?;
        if !(REFERENCE..=MAX_HEAP).contains(&size) {
            return Err(format!("a heap of {size} bytes, expected at most {MAX_HEAP}"));
        }
        let bytes = self.read_at(address, size)?;
        let heap = GlobalHeapCollection::decode(&bytes, &CONTEXT);
        let (heap, _) = heap.map_err(|reason| reason.to_string())?;
        if self.held + size > HELD_HEAPS {
            self.known.clear();
            self.held = 0;
        }
        let short = heap.objects.iter().filter(|object| object.data.len() <= MAX_TEXT);
        let texts = short.map(|object| (object.index, trimmed(&object.data))).collect();
        self.held += size;
        self.known.insert(address, texts);
        Ok(())
    }

    /// Bytes at an address; the file is asked for its length before memory is.
    fn read_at(&self, address: u64, n: usize) -> Result<Vec<u8>, String> {
        let mut file = &self.file;
        let start = self.base.checked_add(address).ok_or("an address beyond any file")?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(|reason| reason.to_string())?;
        file.take(n as u64).read_to_end(&mut bytes).map_err(|reason| reason.to_string())?;
        if bytes.len() == n {
            Ok(bytes)
        } else {
            Err(format!("the file ends within a heap at {address}"))
        }
    }
}

fn error(path: &Path, object: &str, reason: impl ToString) -> Error {
    let (path, object) = (path.to_owned(), object.to_owned());
    Error::Hdf5 { path, object, reason: reason.to_string() }
}
