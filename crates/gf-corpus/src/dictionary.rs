//! Dictionaries of names as other programs keep them: Python's pickles, and
//! JSON objects. What the names stand for is the reader's business.

use std::{io::Read, path::Path};

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

/// A flat object. Numbers are parsed by the standard library, which is exact
/// to the last bit; `serde_json` is so only with a feature.
fn from_json(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let mut json = Json { path, bytes, at: 0 };
    let mut entries = Vec::new();
    json.expect(b'{')?;
    while json.peek() != Some(b'}') {
        if !entries.is_empty() {
            json.expect(b',')?;
        }
        let key = json.text()?;
        json.expect(b':')?;
        entries.push((key, json.value()?));
    }
    json.at += 1;
    match json.peek() {
        None => Ok(entries),
        Some(_) => Err(json.unexpected("the end of the file")),
    }
}

/// Where a reader is in a JSON text.
struct Json<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl Json<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.bytes[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        match self.peek() == Some(byte) {
            true => {
                self.at += 1;
                Ok(())
            }
            false => Err(self.unexpected(&format!("{:?}", char::from(byte)))),
        }
    }

    fn text(&mut self) -> Result<String> {
        self.peek();
        let mut texts = serde_json::Deserializer::from_slice(&self.bytes[self.at..]).into_iter();
        match texts.next() {
            Some(Ok(text)) => {
                self.at += texts.byte_offset();
                Ok(text)
            }
            _ => Err(self.unexpected("a text in quotes")),
        }
    }

    fn value(&mut self) -> Result<Value> {
        if self.peek() == Some(b'"') {
            return self.text().map(Value::Str);
        }
        let rest = &self.bytes[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let n_bytes = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = &rest[..n_bytes];
        let is_number = serde_json::from_slice::<serde_json::Number>(token).is_ok();
        let text = std::str::from_utf8(token).ok().filter(|_| is_number);
        let value = text.and_then(|text| {
            let whole = text.parse().ok().map(Value::Int);
            whole.or_else(|| text.parse().ok().map(Value::Float))
        });
        let value = value.ok_or_else(|| self.unexpected("a number or a text"))?;
        self.at += n_bytes;
        Ok(value)
    }

    fn unexpected(&self, expected: &str) -> Error {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let found = String::from_utf8_lossy(&rest[..rest.len().min(40)]).into_owned();
        unfit(self.path, &format!("JSON at byte {}", self.at), found, expected)
    }
}
