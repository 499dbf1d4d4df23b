//! Strings of variable length: a data set holds references, the text lies in
//! heaps elsewhere in the file.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::atomic::Ordering,
};

use rust_hdf5::format::{
    FormatContext, UNDEF_ADDR,
    global_heap::{GlobalHeapCollection, GlobalHeapObject, decode_vlen_reference},
};

use super::{Data, MAX_STRING};
use crate::error::{Error, Result};

/// Largest heap that is read (HDF5 makes them of 4 to 64 KiB, or as large as
/// one string needs).
const MAX_HEAP: u64 = 16 << 20;
/// Heaps up to this size may be read any number of times.
const SMALL_HEAP: u64 = 1 << 16;
/// How many times the file's length may be read from larger heaps: honest
/// heaps do not overlap, and each is needed by few windows.
const REREADS: u64 = 16;

const CONTEXT: FormatContext = FormatContext { sizeof_addr: 8, sizeof_size: 8 };

/// Where a string lies.
struct Reference {
    /// Its place among the strings asked for.
    place: usize,
    length: u32,
    address: u64,
    item: u32,
}

/// The strings that some references of a data set stand for.
pub(super) fn texts<'a>(data: &Data, cells: impl Iterator<Item = &'a [u8]>) -> Result<Vec<String>> {
    let mut references = cells.enumerate().map(|(place, cell)| decode(data, place, cell));
    let mut references = references.by_ref().collect::<Result<Vec<_>>>()?;
    let mut texts = vec![String::new(); references.len()];
    references.retain(|r| r.length > 0 && r.address != 0 && r.address != UNDEF_ADDR);
    if references.is_empty() {
        return Ok(texts);
    }
    references.sort_by_key(|reference| reference.address);
    let file = File::open(&data.path).map_err(Error::io(&data.path))?;
    for same in references.chunk_by(|a, b| a.address == b.address) {
        let heap = load(data, &file, same[0].address)?;
        for reference in same {
            texts[reference.place] = text(data, &heap, reference)?;
        }
    }
    Ok(texts)
}

fn decode(data: &Data, place: usize, cell: &[u8]) -> Result<Reference> {
    let decoded = decode_vlen_reference(cell, &CONTEXT);
    let (length, address, item) = decoded.map_err(|e| data.failed(e.to_string()))?;
    Ok(Reference { place, length, address, item })
}

fn text(data: &Data, heap: &[GlobalHeapObject], reference: &Reference) -> Result<String> {
    let (length, item) = (reference.length as usize, reference.item);
    if length > MAX_STRING {
        return Err(data.failed(format!("a string of {length} bytes, above {MAX_STRING}")));
    }
    let place = u16::try_from(item).ok();
    let place = place.and_then(|item| heap.binary_search_by_key(&item, |o| o.index).ok());
    let bytes = place.and_then(|place| heap[place].data.get(..length));
    let bytes =
        bytes.ok_or_else(|| data.failed(format!("no heap object {item} of {length} bytes")))?;
    Ok(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
}

/// The objects of a heap, by their number.
fn load(data: &Data, file: &File, address: u64) -> Result<Vec<GlobalHeapObject>> {
    // Addresses count from the end of the user block.
    let at = address.saturating_add(data.base);
    let mut header = [0; 16];
    read_at(data, file, at, &mut header)?;
    let size = GlobalHeapCollection::decode_size(&header, &CONTEXT);
    let size = size.map_err(|e| data.failed(e.to_string()))? as u64;
    if size > MAX_HEAP.min(data.file_len) {
        return Err(data.failed(format!("a heap of {size} bytes, above {MAX_HEAP} or the file")));
    }
    if size > SMALL_HEAP {
        let before = data.heap_read.fetch_add(size, Ordering::Relaxed);
        if before > data.file_len.saturating_mul(REREADS) {
            return Err(data.failed("heaps that overlap".to_owned()));
        }
    }
    let mut bytes = vec![0; size as usize];
    read_at(data, file, at, &mut bytes)?;
    let heap = GlobalHeapCollection::decode(&bytes, &CONTEXT);
    let (heap, _) = heap.map_err(|e| data.failed(e.to_string()))?;
    let mut objects = heap.objects;
    objects.sort_by_key(|object| object.index);
    Ok(objects)
}

fn read_at(data: &Data, mut file: &File, at: u64, bytes: &mut [u8]) -> Result<()> {
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes));
    read.map_err(Error::io(&data.path))
}
