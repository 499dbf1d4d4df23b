//! A zarr folder, of format 2 or 3, with errors that say which folder and
//! which object.
//!
//! The zarrs crate understands the metadata, undoes blosc, checksums and
//! transposes; the files are read here, and all else is unpacked here, for a
//! chunk may say of itself that it is of any size.

use std::{
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use zarrs::array::ArrayMetadata;

use self::held::Held;
use crate::error::{Error, Result};

mod array;
mod chunks;
mod codecs;
mod held;
mod shards;

pub(super) use array::ZarrArray;

/// Largest file of metadata of one object, in bytes.
const MAX_METADATA: u64 = 4 << 20;
/// Deepest folders whose files are counted.
const MAX_DEPTH: usize = 12;
/// What tells that a folder is an object of a zarr.
const MARKS: [&str; 3] = ["zarr.json", ".zgroup", ".zarray"];

/// A zarr folder.
pub(super) struct Folder {
    path: PathBuf,
    /// Bytes of all its files.
    len: u64,
    held: Arc<Held>,
}

/// Whether a folder is a zarr one.
pub(crate) fn is_zarr(folder: &Path) -> bool {
    MARKS[..2].iter().any(|name| folder.join(name).is_file())
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let len = count_bytes(path, MAX_DEPTH)?;
        Ok(Self { path: path.to_owned(), len, held: Arc::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is an array or group of that name.
    pub(super) fn has(&self, object: &str) -> bool {
        let is_mark = |place: PathBuf| MARKS.iter().any(|name| place.join(name).is_file());
        self.place(object).is_ok_and(is_mark)
    }

    pub(super) fn is_group(&self, object: &str) -> bool {
        let Ok(place) = self.place(object) else { return false };
        match self.json(object, &place.join("zarr.json")) {
            Ok(Some(node)) => node.get("node_type").and_then(Value::as_str) == Some("group"),
            Ok(None) => place.join(".zgroup").is_file(),
            Err(_) => false,
        }
    }

    /// Names inside a group, sorted; none if there is no such group.
    pub(super) fn children(&self, group: &str) -> Vec<String> {
        let entries = self.place(group).map(std::fs::read_dir);
        let Ok(Ok(entries)) = entries else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| self.has(&format!("{group}/{name}"))).collect();
        names.sort();
        names
    }

    /// A text attribute of a group or array.
    pub(super) fn attribute(&self, object: &str, name: &str) -> Option<String> {
        let place = self.place(object).ok()?;
        let attributes = match self.json(object, &place.join("zarr.json")).ok()? {
            Some(mut node) => node.get_mut("attributes")?.take(),
            None => self.json(object, &place.join(".zattrs")).ok()??,
        };
        attributes.get(name)?.as_str().map(str::to_owned)
    }

    pub(super) fn array(&self, object: &str) -> Result<ZarrArray> {
        ZarrArray::open(self, object)
    }

    /// What describes an array.
    fn metadata(&self, object: &str) -> Result<ArrayMetadata> {
        let place = self.place(object)?;
        let refused = |reason: serde_json::Error| self.failed(object, reason.to_string());
        if let Some(node) = self.json(object, &place.join("zarr.json"))? {
            return serde_json::from_value(node).map(ArrayMetadata::V3).map_err(refused);
        }
        match self.json(object, &place.join(".zarray"))? {
            Some(node) => serde_json::from_value(node).map(ArrayMetadata::V2).map_err(refused),
            None => Err(self.encoding(object, "no array".to_owned(), "an array")),
        }
    }

    /// The folder of an object; a name that leads out of the zarr is refused.
    fn place(&self, object: &str) -> Result<PathBuf> {
        let is_inside = Path::new(object).components().all(|c| matches!(c, Component::Normal(_)));
        if is_inside && !object.contains(['\\', '\0']) {
            return Ok(self.path.join(object));
        }
        Err(self.encoding(object, "a name that leads elsewhere".to_owned(), "a name in the folder"))
    }

    /// A file of metadata; `None` if there is none.
    fn json(&self, object: &str, path: &Path) -> Result<Option<Value>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io(path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_METADATA + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
        if bytes.len() as u64 > MAX_METADATA {
            let expected = format!("at most {MAX_METADATA} bytes");
            return Err(self.encoding(object, "more metadata".to_owned(), &expected));
        }
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|reason| self.failed(object, reason.to_string()))
    }

    fn failed(&self, object: &str, reason: String) -> Error {
        Error::Zarr { path: self.path.clone(), object: object.to_owned(), reason }
    }

    fn encoding(&self, object: &str, found: String, expected: &str) -> Error {
        let (path, object) = (self.path.clone(), object.to_owned());
        Error::Encoding { path, object, found, expected: expected.to_owned() }
    }
}

/// Bytes of the files in a folder; links are not followed, for they can form rings.
fn count_bytes(folder: &Path, depth: usize) -> Result<u64> {
    let mut n_bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let meta = entry.metadata().map_err(Error::io(entry.path()))?;
        if !meta.is_dir() {
            n_bytes += meta.len();
        } else if depth > 0 {
            n_bytes += count_bytes(&entry.path(), depth - 1)?;
        }
    }
    Ok(n_bytes)
}
