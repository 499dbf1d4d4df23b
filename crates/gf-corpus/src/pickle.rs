//! Python pickles, read without running anything.
//!
//! A pickle is a program for a small stack machine that may call any function
//! by name. This reader runs the plain part of it, protocols 0 to 5: numbers,
//! text, bytes, lists, tuples, sets and dictionaries. A few functions it knows
//! by name and does their work itself: `defaultdict`, `OrderedDict`, `set`,
//! numpy's `scalar` and `dtype`, and the `encode` that old protocols write for
//! bytes. Everything else is refused by its name, and nothing is called.
//!
//! The machine holds its objects in one flat list, at most one an operation;
//! only the finished object becomes a tree. That tree has at most one value for
//! each byte of the file (16 bytes of text count as one, and anew each time the
//! pickle refers to them), which Python's own pickles of plain values stay
//! below, and [`MAX_DEPTH`] levels, so that a small file that repeats or nests
//! its parts cannot fill memory or stack. The worst file known, tuples in tuples up
//! to the limits, took 1.85 GB at [`MAX_BYTES`], 111 bytes for each of its own.
//!
//! ```
//! use gf_corpus::pickle::{Value, from_bytes};
//!
//! // pickle.dumps({"<pad>": 0, "ok": True}, protocol=2)
//! let dict = from_bytes("dictionary.pkl".as_ref(), b"\x80\x02}q\x00(X\x05\x00\x00\x00<pad>q\x01K\x00X\x02\x00\x00\x00okq\x02\x88u.")?;
//! assert_eq!(
//!     dict,
//!     Value::Dict(vec![
//!         (Value::Str("<pad>".into()), Value::Int(0)),
//!         (Value::Str("ok".into()), Value::Bool(true)),
//!     ])
//! );
//! let refused = from_bytes("bad.pkl".as_ref(), b"cos\nsystem\n(S'ls'\ntR.").unwrap_err();
//! assert!(refused.to_string().contains("os.system"));
//! # Ok::<(), gf_corpus::Error>(())
//! ```

use std::{io::Write, path::Path};

use atomic_write_file::AtomicWriteFile;

use crate::error::{Error, Result};

mod build;
mod global;
mod machine;
mod reader;

/// Largest pickle that is read, in bytes. The official dictionaries have 4 MB.
pub const MAX_BYTES: u64 = 1 << 24;
/// Containers inside containers, at most.
pub const MAX_DEPTH: u16 = 100;

/// What a pickle holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`, numpy's too.
    Bool(bool),
    /// A whole number that fits 64 bits, numpy's too.
    Int(i64),
    /// A float, numpy's too.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A set, in the order of the file.
    Set(Vec<Value>),
    /// A dictionary, `defaultdict` or `OrderedDict`, in the order of the file;
    /// a key set twice stands there twice.
    Dict(Vec<(Value, Value)>),
}

/// Reads a pickle file.
///
/// # Errors
/// [`Error::Pickle`] with the byte at fault, [`Error::PickleGlobal`] for
/// anything but plain values, or what the operating system says.
pub fn read(path: &Path) -> Result<Value> {
    let n_bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if n_bytes > MAX_BYTES {
        let what = "bytes of the pickle".to_owned();
        return Err(Error::Length {
            path: path.to_owned(),
            what,
            found: n_bytes,
            expected: MAX_BYTES,
        });
    }
    from_bytes(path, &std::fs::read(path).map_err(Error::io(path))?)
}

/// Reads a pickle from memory; `path` is its name in errors.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Value> {
    machine::Machine::new(path, bytes).run()
}

/// Writes a `dict[str, float]` that Python's `pickle.load` reads, protocol 4.
///
/// # Errors
/// A key of 4 GiB or more, or what the operating system says.
pub fn write_f64_dict<'a>(
    path: &Path,
    entries: impl IntoIterator<Item = (&'a str, f64)>,
) -> Result<()> {
    let mut file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    let mut writer = std::io::BufWriter::new(&mut file);
    f64_dict(&mut writer, entries).and_then(|()| writer.flush()).map_err(Error::io(path))?;
    drop(writer);
    file.commit().map_err(Error::io(path))
}

fn f64_dict<'a>(
    out: &mut impl Write,
    entries: impl IntoIterator<Item = (&'a str, f64)>,
) -> std::io::Result<()> {
    // PROTO 4, EMPTY_DICT, MARK; then a BINUNICODE and a BINFLOAT each; SETITEMS, STOP.
    out.write_all(b"\x80\x04}(")?;
    for (key, value) in entries {
        let n_bytes = u32::try_from(key.len()).map_err(std::io::Error::other)?;
        out.write_all(b"X")?;
        out.write_all(&n_bytes.to_le_bytes())?;
        out.write_all(key.as_bytes())?;
        out.write_all(b"G")?;
        out.write_all(&value.to_be_bytes())?;
    }
    out.write_all(b"u.")
}
