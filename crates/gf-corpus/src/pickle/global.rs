//! The few functions that plain values need, and what they would return.

use super::machine::Node;

/// A function or type known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    DefaultDict,
    OrderedDict,
    Set,
    /// A type that a `defaultdict` may name for its missing values.
    Factory,
    Encode,
    NumpyScalar,
    NumpyDtype,
}

impl Global {
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "defaultdict") => Self::DefaultDict,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("builtins" | "__builtin__", "set" | "frozenset") => Self::Set,
            ("builtins" | "__builtin__", "list" | "dict" | "int" | "float" | "str") => {
                Self::Factory
            }
            ("_codecs", "encode") => Self::Encode,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy", "dtype") => Self::NumpyDtype,
            _ => return None,
        })
    }
}

/// What a call returns, if its arguments are what Python and numpy write.
pub(super) fn call<'a>(global: Global, arguments: &[&Node<'a>]) -> Option<Node<'a>> {
    match (global, arguments) {
        (Global::OrderedDict | Global::DefaultDict, []) => Some(Node::Dict(Vec::new())),
        (Global::DefaultDict, [Node::Global(Global::Factory | Global::Set) | Node::None]) => {
            Some(Node::Dict(Vec::new()))
        }
        (Global::Set, []) => Some(Node::Set(Vec::new())),
        (Global::Set, [Node::List(items)]) => Some(Node::Set(items.clone())),
        (Global::Encode, [Node::Str(text), Node::Str(code)]) if code == "latin1" => {
            let bytes = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok());
            bytes.collect::<Option<Vec<u8>>>().map(|bytes| Node::Bytes(bytes.into()))
        }
        (Global::NumpyDtype, [Node::Str(name), ..]) => dtype(name),
        (Global::NumpyScalar, [Node::Dtype { kind, size, big_endian }, Node::Bytes(bytes)]) => {
            (bytes.len() == usize::from(*size)).then(|| scalar(*kind, bytes, *big_endian))?
        }
        _ => None,
    }
}

/// `f8`, `i2`, `u1`, `b1` and their like.
fn dtype(name: &str) -> Option<Node<'static>> {
    let &[kind, size] = name.as_bytes() else { return None };
    let size = size.wrapping_sub(b'0');
    let known = match kind {
        b'f' => matches!(size, 4 | 8),
        b'i' | b'u' => matches!(size, 1 | 2 | 4 | 8),
        b'b' => size == 1,
        _ => false,
    };
    known.then_some(Node::Dtype { kind, size, big_endian: false })
}

fn scalar(kind: u8, bytes: &[u8], big_endian: bool) -> Option<Node<'static>> {
    let join = |bits: u64, &byte: &u8| bits << 8 | u64::from(byte);
    let bits =
        if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
    let unused = 64 - 8 * bytes.len() as u32;
    Some(match (kind, bytes.len()) {
        (b'f', 4) => Node::Float(f64::from(f32::from_bits(bits as u32))),
        (b'f', _) => Node::Float(f64::from_bits(bits)),
        (b'i', _) => Node::Int((bits << unused) as i64 >> unused),
        (b'u', _) => Node::Int(i64::try_from(bits).ok()?),
        _ => Node::Bool(bits != 0),
    })
}

/// The text of Python's `repr` of a plain string.
pub(super) fn unquote(line: &str) -> Option<String> {
    let quote = line.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
    let inside = line.get(1..)?.strip_suffix(quote)?;
    let mut letters = inside.chars();
    let mut text = String::with_capacity(inside.len());
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { escape(&mut letters)? } else { letter });
    }
    Some(text)
}

fn escape(letters: &mut std::str::Chars) -> Option<char> {
    Some(match letters.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' => {
            let hex: String = letters.by_ref().take(2).collect();
            // A byte above 127 has a meaning only in a code page that nobody names.
            u8::from_str_radix(&hex, 16).ok().filter(u8::is_ascii)?.into()
        }
        letter @ ('\\' | '\'' | '"') => letter,
        _ => return None,
    })
}

/// Latin-1 bytes with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn unescape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [byte, tail @ ..] = rest {
        let n_digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                text.push(char::from(*byte));
                rest = tail;
                continue;
            }
        };
        let digits = std::str::from_utf8(rest.get(2..2 + n_digits)?).ok()?;
        text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = &rest[2 + n_digits..];
    }
    Some(text)
}
