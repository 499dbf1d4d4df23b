//! `pytorch_model.bin` and its shards: a state dict saved by `torch.save`, as a zip archive
//! (PyTorch 1.6 and later) or as a row of pickles before it.
//!
//! burn-store's reader was tried and set aside: it fills short storages with zeros
//! and overlooks strides without a word. Both layouts are those of PyTorch 2.5
//! (`torch/serialization.py`, `_legacy_save` and `_save`).

use std::{collections::BTreeMap, io::Cursor, ops::Range, path::Path};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{
    pickle::{self, PickledTensor, Storage},
    store::Stored,
};
use crate::Error;

/// First bytes of a zip archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// Pickles before the state dict of the older layout: magic number, version, system.
const N_LEGACY_PREFACES: usize = 3;
/// Bytes before each storage of the older layout: its number of elements.
const N_COUNT_BYTES: usize = 8;

/// Where each tensor of a state dict lies in the file.
///
/// # Errors
///
/// The file is neither layout, holds anything but tensors, or is cut short.
pub(crate) fn tensors(bytes: &[u8], path: &Path) -> Result<Vec<(String, Stored)>, Error> {
    if bytes.starts_with(ZIP_MAGIC) {
        zip_tensors(bytes, path)
    } else {
        legacy_tensors(bytes, path)
    }
}

fn zip_tensors(bytes: &[u8], path: &Path) -> Result<Vec<(String, Stored)>, Error> {
    let broken = |source| Error::Archive { path: path.to_owned(), source };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let pickle = archive.file_names().find(|name| name.ends_with("/data.pkl")).map(str::to_owned);
    let pickle = pickle.ok_or_else(|| broken(ZipError::FileNotFound))?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() {
        let found = entry(&mut archive, &order, bytes, path)?;
        check_byte_order(&bytes[found], path)?;
    }
    let at = entry(&mut archive, &pickle, bytes, path)?;
    let (state, _) = pickle::read_state_dict(&bytes[at.clone()], at.start, path)?;
    let mut ranges = BTreeMap::new();
    for (_, tensor) in &state {
        let key = &tensor.storage.key;
        if !ranges.contains_key(key) {
            let name = format!("{folder}data/{key}");
            ranges.insert(key.clone(), entry(&mut archive, &name, bytes, path)?);
        }
    }
    place(state, &ranges, path)
}

fn check_byte_order(found: &[u8], path: &Path) -> Result<(), Error> {
    if found == b"little" {
        return Ok(());
    }
    Err(Error::Storage {
        path: path.to_owned(),
        storage: "byteorder".into(),
        found: String::from_utf8_lossy(found).into(),
        expected: "little".into(),
    })
}

/// Where a stored, undamaged file of the archive lies.
fn entry(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    bytes: &[u8],
    path: &Path,
) -> Result<Range<usize>, Error> {
    let broken = |source| Error::Archive { path: path.to_owned(), source };
    let refused = |found: String, expected: String| Error::Storage {
        path: path.to_owned(),
        storage: name.into(),
        found: found.into(),
        expected: expected.into(),
    };
    let file = archive.by_name(name).map_err(broken)?;
    if file.compression() != CompressionMethod::Stored {
        return Err(refused(file.compression().to_string(), "an uncompressed file".to_owned()));
    }
    let range = file.data_start().and_then(|start| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(file.size()).ok()?)?)
    });
    let range = range.filter(|range| range.end <= bytes.len());
    let range = range.ok_or_else(|| {
        refused(format!("{} bytes", file.size()), "a file within the archive".to_owned())
    })?;
    let (found, expected) = (crc32fast::hash(&bytes[range.clone()]), file.crc32());
    if found != expected {
        return Err(refused(format!("checksum {found:08x}"), format!("{expected:08x}")));
    }
    Ok(range)
}

fn legacy_tensors(bytes: &[u8], path: &Path) -> Result<Vec<(String, Stored)>, Error> {
    let mut at = 0;
    for i in 0..N_LEGACY_PREFACES {
        at += pickle::skip_preface(&bytes[at..], at, i == 0, path)?;
    }
    let (state, length) = pickle::read_state_dict(&bytes[at..], at, path)?;
    at += length;
    let (keys, length) = pickle::read_keys(&bytes[at..], at, path)?;
    at += length;
    let storages: BTreeMap<&str, &Storage> =
        state.iter().map(|(_, tensor)| (tensor.storage.key.as_str(), &*tensor.storage)).collect();
    let mut ranges = BTreeMap::new();
    for key in keys {
        let refused = |found: String, expected: String| Error::Storage {
            path: path.to_owned(),
            storage: key.as_str().into(),
            found: found.into(),
            expected: expected.into(),
        };
        let Some(storage) = storages.get(key.as_str()) else {
            return Err(refused("no tensor in it".to_owned(), "one".to_owned()));
        };
        let start = at + N_COUNT_BYTES;
        let count = bytes.get(at..start).and_then(|count| count.try_into().ok());
        let count = count.map_or(0, u64::from_le_bytes);
        if count != storage.n_elements as u64 {
            let expected = storage.n_elements.to_string();
            return Err(refused(format!("{count} elements"), expected));
        }
        let end = storage.n_bytes().and_then(|n_bytes| start.checked_add(n_bytes));
        let end = end.filter(|&end| end <= bytes.len());
        at = end.ok_or_else(|| {
            refused(format!("{} bytes", bytes.len() - start), format!("{count} elements"))
        })?;
        ranges.insert(key, start..at);
    }
    place(state, &ranges, path)
}

/// Puts each tensor at its place in its storage.
fn place(
    state: Vec<(String, PickledTensor)>,
    ranges: &BTreeMap<String, Range<usize>>,
    path: &Path,
) -> Result<Vec<(String, Stored)>, Error> {
    let mut problems = Vec::new();
    let mut placed = Vec::new();
    for (name, tensor) in state {
        match ranges.get(&tensor.storage.key).and_then(|range| tensor.bytes_within(range)) {
            Some(bytes) if tensor.is_row_major() => {
                let dtype = tensor.storage.dtype;
                placed.push((name, Stored { dtype, shape: tensor.shape, bytes }));
            }
            Some(_) => problems.push(format!(
                "{name} {:?} has strides {:?}, expected row-major order",
                tensor.shape, tensor.strides
            )),
            None => problems.push(format!(
                "{name} {:?} reaches beyond its storage {}",
                tensor.shape, tensor.storage.key
            )),
        }
    }
    if problems.is_empty() {
        return Ok(placed);
    }
    Err(Error::Tensors { path: path.to_owned(), problems })
}
