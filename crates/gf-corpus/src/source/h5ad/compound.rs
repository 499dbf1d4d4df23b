//! Tables as anndata 0.6 and earlier wrote them: one HDF5 compound data set,
//! the labels of categorical columns in `uns/NAME_categories`.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use rust_hdf5::{
    ByteOrder, DatatypeMessage,
    format::{
        FormatContext, UNDEF_ADDR,
        global_heap::{GlobalHeapCollection, decode_vlen_reference},
    },
};

use super::{
    super::hdf5::{Data, H5},
    column::Column,
    frame::Frame,
};
use crate::error::{Error, Result};

/// Largest global heap collection that is read (HDF5 writes 4 KiB ones).
const MAX_HEAP: usize = 1 << 28;

pub(super) fn read(h5: &H5, object: &str) -> Result<Frame> {
    let data = h5.dataset(object)?;
    let DatatypeMessage::Compound { size, members } = &data.kind else {
        return Err(data.encoding("a table"));
    };
    let bytes = data.bytes()?;
    let width = *size as usize;
    if width == 0 || bytes.len() != width * data.len() {
        return Err(data.encoding("a table"));
    }
    let rows: Vec<&[u8]> = bytes.chunks_exact(width).collect();
    let mut heap = Heap::open(&data)?;
    let mut frame = Frame { index: Vec::new(), columns: Vec::new(), unread: Vec::new() };
    for (place, member) in members.iter().enumerate() {
        let start = member.offset as usize;
        let cells = rows.iter().map(|row| row.get(start..).unwrap_or_default());
        let Some(column) = read_member(&member.datatype, cells, &mut heap)? else {
            frame.unread.push(member.name.clone());
            continue;
        };
        if place == 0 {
            frame.index = (0..rows.len()).map(|row| column.get(row).unwrap_or_default()).collect();
            continue;
        }
        let labels = format!("uns/{}_categories", member.name);
        frame.columns.push((member.name.clone(), label(h5, column, &labels)?));
    }
    Ok(frame)
}

/// Puts labels on a column of codes, where the file has them.
fn label(h5: &H5, column: Column, labels: &str) -> Result<Column> {
    match column {
        Column::Integers(codes) if h5.has(labels) => {
            let Some(labels) = Column::read(h5, labels)? else {
                return Ok(Column::Integers(codes));
            };
            let labels = (0..labels.len()).map(|row| labels.get(row)).collect();
            Ok(Column::Labels { codes, labels })
        }
        column => Ok(column),
    }
}

fn read_member<'a>(
    kind: &DatatypeMessage,
    cells: impl Iterator<Item = &'a [u8]>,
    heap: &mut Heap,
) -> Result<Option<Column>> {
    use DatatypeMessage as Kind;
    Ok(Some(match kind {
        Kind::VarLenString { .. } => {
            Column::Text(cells.map(|cell| heap.text(cell)).collect::<Result<_>>()?)
        }
        Kind::FixedString { size, .. } => {
            let text = |cell: &[u8]| {
                let cell = &cell[..cell.len().min(*size as usize)];
                let text = String::from_utf8_lossy(cell);
                text.trim_end_matches(['\0', ' ']).to_owned()
            };
            Column::Text(cells.map(text).collect())
        }
        Kind::Enum { .. } => Column::booleans(cells.map(|cell| integer(cell, 1, false)).collect()),
        Kind::FixedPoint { size, signed, byte_order: ByteOrder::LittleEndian, .. } => {
            Column::Integers(cells.map(|cell| integer(cell, *size as usize, *signed)).collect())
        }
        Kind::FloatingPoint {
            size: size @ (4 | 8), byte_order: ByteOrder::LittleEndian, ..
        } => {
            let values = cells.map(|cell| float(cell, *size as usize)).collect();
            Column::Floats { values, single: *size == 4 }
        }
        _ => return Ok(None),
    }))
}

fn integer(cell: &[u8], size: usize, signed: bool) -> i64 {
    let cell = &cell[..cell.len().min(size)];
    let negative = signed && cell.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    for (to, from) in wide.iter_mut().zip(cell) {
        *to = *from;
    }
    i64::from_le_bytes(wide)
}

fn float(cell: &[u8], size: usize) -> f64 {
    let wide = integer(cell, size, false) as u64;
    if size == 4 { f64::from(f32::from_bits(wide as u32)) } else { f64::from_bits(wide) }
}

/// Strings of variable length lie in heaps elsewhere in the file.
struct Heap {
    file: File,
    data_path: std::path::PathBuf,
    object: String,
    known: HashMap<u64, GlobalHeapCollection>,
    context: FormatContext,
}

impl Heap {
    fn open(data: &Data) -> Result<Self> {
        let file = File::open(&data.path).map_err(Error::io(&data.path))?;
        let (data_path, object) = (data.path.clone(), data.object.clone());
        let context = FormatContext { sizeof_addr: 8, sizeof_size: 8 };
        Ok(Self { file, data_path, object, known: HashMap::new(), context })
    }

    fn text(&mut self, cell: &[u8]) -> Result<String> {
        let reference = decode_vlen_reference(cell, &self.context);
        let (length, address, item) = reference.map_err(|e| self.error(e.to_string()))?;
        if length == 0 || address == 0 || address == UNDEF_ADDR {
            return Ok(String::new());
        }
        if !self.known.contains_key(&address) {
            let heap = self.load(address)?;
            self.known.insert(address, heap);
        }
        let stored =
            u16::try_from(item).ok().and_then(|item| self.known[&address].get_object(item));
        let stored = stored.and_then(|bytes| bytes.get(..length as usize));
        let bytes =
            stored.ok_or_else(|| self.error(format!("no heap object {item} of {length} bytes")))?;
        Ok(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
    }

    fn load(&self, address: u64) -> Result<GlobalHeapCollection> {
        let mut header = [0; 16];
        self.read_at(address, &mut header)?;
        let size = GlobalHeapCollection::decode_size(&header, &self.context);
        let size = size.map_err(|e| self.error(e.to_string()))?;
        if size > MAX_HEAP {
            return Err(self.error(format!("a heap of {size} bytes")));
        }
        let mut bytes = vec![0; size];
        self.read_at(address, &mut bytes)?;
        let heap = GlobalHeapCollection::decode(&bytes, &self.context);
        heap.map(|(heap, _)| heap).map_err(|e| self.error(e.to_string()))
    }

    fn read_at(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(address)).and_then(|_| file.read_exact(bytes));
        read.map_err(Error::io(&self.data_path))
    }

    fn error(&self, reason: String) -> Error {
        Error::Hdf5 { path: self.data_path.clone(), object: self.object.clone(), reason }
    }
}
