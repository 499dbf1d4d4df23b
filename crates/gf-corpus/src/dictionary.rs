//! Dictionaries of names as other programs keep them: Python's pickles, and
//! JSON objects. What the names stand for is the reader's business.

use std::{fmt, io::Read, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{
    error::{Error, Result},
    pickle::{self, MAX_BYTES, Value},
    source::open_text,
};

/// How a pickled dictionary starts: protocol 2 or later, which no UTF-8 text
/// does, and protocols 0 and 1.
const PICKLED: [&[u8]; 3] = [b"\x80", b"(dp", b"}q\0"];

/// Reads the entries of a pickled dictionary, or of a JSON object of numbers
/// and texts, in the order of the file; `None` for any other file, such as a
/// table of text. The content decides, not the name; gzip is unpacked first.
/// A key that comes twice stands there twice.
///
/// ```
/// use gf_corpus::{pickle::Value, read_dictionary};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("tokens.json");
/// std::fs::write(&path, r#"{"<pad>": 0, "<mask>": 1}"#)?;
/// let entries = read_dictionary(&path)?.unwrap();
/// assert_eq!(entries[1], ("<mask>".to_owned(), Value::Int(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Length`] for more than [`MAX_BYTES`], unpacked; what is wrong with
/// the pickle or the JSON; a pickle of something else than a dictionary by text.
pub fn read_dictionary(path: &Path) -> Result<Option<Vec<(String, Value)>>> {
    let mut bytes = Vec::new();
    let mut file = open_text(path)?;
    let head = file.fill_buf().map_err(Error::io(path))?;
    let is_pickle = PICKLED.iter().any(|start| head.starts_with(start));
    if !is_pickle && head.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let (path, what) = (path.to_owned(), "bytes of the dictionary".to_owned());
        return Err(Error::Length { path, what, found: bytes.len() as u64, expected: MAX_BYTES });
    }
    let entries = if is_pickle { from_pickle(path, &bytes) } else { from_json(path, &bytes) };
    entries.map(Some)
}

/// A value of a dictionary that does not fit its use.
pub(crate) fn unfit(path: &Path, object: &str, found: String, expected: &str) -> Error {
    let (object, expected) = (object.to_owned(), expected.to_owned());
    let found = found.chars().take(80).collect();
    Error::Encoding { path: path.to_owned(), object, found, expected }
}

fn from_pickle(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let Value::Dict(pairs) = pickle::from_bytes(path, bytes)? else {
        return Err(unfit(path, "the pickle", "another value".to_owned(), "a dictionary"));
    };
    let entry = |(key, value)| match key {
        Value::Str(name) => Ok((name, value)),
        other => Err(unfit(path, "a key", format!("{other:?}"), "text")),
    };
    pairs.into_iter().map(entry).collect()
}

/// A flat object, with keys that come twice as often as they come.
fn from_json(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let Entries(entries) = serde_json::from_slice(bytes).map_err(|reason| {
        unfit(path, "JSON", reason.to_string(), "an object of numbers and texts")
    })?;
    Ok(entries)
}

/// The pairs of a JSON object in the order of the file.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, Plain(value))) = pairs.next_entry()? {
            entries.push((key, value));
        }
        Ok(Entries(entries))
    }
}

/// A number or a text.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl Visitor<'_> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("a number or a text")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain(Value::Int(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
        Ok(Plain(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Plain, E> {
        Ok(Plain(Value::Float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain(Value::Str(text.to_owned())))
    }
}
