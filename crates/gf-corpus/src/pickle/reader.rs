//! The bytes of a pickle: operations, numbers, text, lengths.

use std::path::Path;

use super::{global, machine::Node};
use crate::error::{Error, Result};

pub(super) struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// The next byte to be read, and the first of the current operation.
    next: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, next: 0, at: 0 }
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The byte of the next operation.
    pub(super) fn operation(&mut self) -> Result<u8> {
        self.at = self.next;
        self.byte()
    }

    pub(super) fn protocol(&mut self) -> Result<()> {
        match self.byte()? {
            0..=5 => Ok(()),
            other => Err(self.unexpected(format!("protocol {other}"), "a protocol from 0 to 5")),
        }
    }

    /// A value that stands in the file as it is, or an empty container.
    pub(super) fn atom(&mut self, op: u8) -> Result<Node<'a>> {
        Ok(match op {
            b'N' => Node::None,
            0x88 | 0x89 => Node::Bool(op == 0x88),
            b'K' => Node::Int(i64::from(self.byte()?)),
            b'M' => Node::Int(self.number(2)? as i64),
            b'J' => Node::Int(i64::from(self.number(4)? as u32 as i32)),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'I' | b'L' => self.decimal()?,
            b'F' => self.decimal_float()?,
            b'G' => Node::Float(f64::from_bits(self.number(8)?.swap_bytes())),
            b'S' => self.quoted()?,
            b'V' => self.escaped()?,
            b'U' | 0x8c => self.text(1)?,
            b'T' | b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => Node::Bytes(self.counted(1)?.into()),
            b'B' => Node::Bytes(self.counted(4)?.into()),
            0x8e | 0x96 => Node::Bytes(self.counted(8)?.into()),
            b']' => Node::List(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            _ => return Err(self.unexpected(format!("operation {op:#04x}"), "plain values")),
        })
    }

    /// A memo's number: decimal, in one byte, or in four.
    pub(super) fn memo_place(&mut self, width: u8) -> Result<u64> {
        match width {
            0 => self.parse("a memo's number"),
            1 => self.number(1),
            _ => self.number(4),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8]> {
        let bytes = self.bytes.get(self.next..).and_then(|rest| rest.get(..n_bytes));
        let Some(bytes) = bytes else {
            let left = self.bytes.len() - self.next;
            return Err(
                self.unexpected(format!("{left} bytes left of {n_bytes}"), "a whole pickle")
            );
        };
        self.next += n_bytes;
        Ok(bytes)
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, n_bytes: usize) -> Result<u64> {
        let bytes = self.take(n_bytes)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// A declared length, which the file must still hold.
    pub(super) fn length(&mut self, n_bytes: usize) -> Result<usize> {
        let (declared, left) = (self.number(n_bytes)?, self.bytes.len() - self.next);
        if declared > left as u64 {
            let found = format!("a length of {declared}");
            return Err(self.unexpected(found, "a length within the file"));
        }
        Ok(declared as usize)
    }

    fn counted(&mut self, n_bytes: usize) -> Result<&'a [u8]> {
        let length = self.length(n_bytes)?;
        self.take(length)
    }

    fn text(&mut self, n_bytes: usize) -> Result<Node<'a>> {
        let bytes = self.counted(n_bytes)?;
        self.utf8(bytes).map(|text| Node::Str(text.into()))
    }

    fn utf8<'b>(&self, bytes: &'b [u8]) -> Result<&'b str> {
        let text = std::str::from_utf8(bytes);
        text.map_err(|_| self.unexpected("other bytes".to_owned(), "UTF-8 text"))
    }

    fn long(&mut self, n_bytes: usize) -> Result<Node<'a>> {
        let bytes = self.counted(n_bytes)?;
        if bytes.len() > 8 {
            let found = format!("a number of {} bytes", bytes.len());
            return Err(self.unexpected(found, "numbers of 64 bits"));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1i64 } else { 0 };
        Ok(Node::Int(bytes.iter().rev().fold(start, |n, &byte| n << 8 | i64::from(byte))))
    }

    /// Up to the end of the line.
    fn line_bytes(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.next..];
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }

    pub(super) fn line(&mut self) -> Result<&'a str> {
        let line = self.line_bytes()?;
        self.utf8(line)
    }

    fn parse<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T> {
        let line = self.line()?;
        line.trim_end_matches('L').parse().map_err(|_| self.unexpected(shown(line), expected))
    }

    fn decimal(&mut self) -> Result<Node<'a>> {
        for (truth, text) in [(false, "00\n"), (true, "01\n")] {
            if self.bytes[self.next..].starts_with(text.as_bytes()) {
                self.next += text.len();
                return Ok(Node::Bool(truth));
            }
        }
        self.parse("numbers of 64 bits").map(Node::Int)
    }

    fn decimal_float(&mut self) -> Result<Node<'a>> {
        self.parse("a float").map(Node::Float)
    }

    /// Python 2's text in quotes.
    fn quoted(&mut self) -> Result<Node<'a>> {
        let line = self.line()?;
        let text = global::unquote(line);
        text.map(|text| Node::Str(text.into()))
            .ok_or_else(|| self.unexpected(shown(line), "text in quotes"))
    }

    /// Protocol 0's text: Latin-1 with `\uXXXX` for the rest.
    fn escaped(&mut self) -> Result<Node<'a>> {
        let line = self.line_bytes()?;
        let text = global::unescape(line);
        text.map(|text| Node::Str(text.into()))
            .ok_or_else(|| self.unexpected("other escapes".to_owned(), "\\uXXXX escapes"))
    }

    pub(super) fn unexpected(&self, found: String, expected: &'static str) -> Error {
        Error::Pickle { path: self.path.to_owned(), at: self.at, found, expected }
    }

    pub(super) fn refused(&self, name: String) -> Error {
        Error::PickleGlobal { path: self.path.to_owned(), at: self.at, name }
    }
}

fn shown(line: &str) -> String {
    format!("{:?}", line.chars().take(40).collect::<String>())
}
