//! The stack machine of a pickle, cut down to what a state dict needs.
//!
//! Containers live in one arena and refer to each other by index, so that no value
//! nests in memory and the work is bounded by the length of the file.

mod rebuild;

use std::{collections::HashMap, path::Path};

use super::value::{Global, Value};
use crate::Error;

/// `MAGIC_NUMBER` of `torch/serialization.py`, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const NOT_PLAIN: &str = "tensors in plain containers";

/// A pickle half read.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Bytes read so far.
    pub at: usize,
    base: usize,
    path: &'a Path,
    stack: Vec<Value>,
    memo: HashMap<usize, Value>,
    /// The arena of containers.
    pub sequences: Vec<Vec<Value>>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8], base: usize, path: &'a Path) -> Self {
        let (stack, memo, sequences) = (Vec::new(), HashMap::new(), Vec::new());
        Self { bytes, at: 0, base, path, stack, memo, sequences }
    }

    /// An error at the place that was reached.
    pub fn refuse(&self, found: &str, expected: &'static str) -> Error {
        let (path, position) = (self.path.to_owned(), self.base + self.at);
        Error::Pickle { path, position, found: found.into(), expected }
    }

    /// Reads up to the end of the pickle and returns its value.
    pub fn run(&mut self) -> Result<Value, Error> {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Error> {
        match opcode {
            0x80 => drop(self.take(1)?),
            // How many bytes follow in one piece is of no use here.
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            b'J' | b'K' | b'M' => self.int(opcode)?,
            0x8a => self.long()?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            b'c' => self.global()?,
            0x93 => self.stack_global()?,
            b'}' => self.push_dict(),
            b']' | b')' => self.push_sequence(Vec::new()),
            b't' => self.tuple()?,
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b'a' => self.append(1)?,
            b's' => self.append(2)?,
            b'e' | b'u' => self.extend()?,
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => self.memoize(self.memo.len())?,
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => return Err(self.refuse(&format!("opcode {other:#04x}"), NOT_PLAIN)),
        }
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let taken = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.refuse("the end of the file", NOT_PLAIN))?;
        self.at += n;
        Ok(taken)
    }

    fn unsigned(&mut self, n: usize) -> Result<u32, Error> {
        Ok(self.take(n)?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn line(&mut self) -> Result<&'a [u8], Error> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| self.refuse("a line without end", "a name"))?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, Error> {
        self.stack.pop().ok_or_else(|| self.refuse("an empty stack", "a value"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Error> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let mark = mark.ok_or_else(|| self.refuse("no mark", "one"))?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn pop_sequence(&mut self) -> Result<&[Value], Error> {
        match self.pop()? {
            Value::Sequence(i) => Ok(&self.sequences[i]),
            other => Err(self.refuse(other.kind(), "a tuple")),
        }
    }

    fn push_sequence(&mut self, values: Vec<Value>) {
        self.stack.push(Value::Sequence(self.sequences.len()));
        self.sequences.push(values);
    }

    fn push_dict(&mut self) {
        self.stack.push(Value::Dict(self.sequences.len()));
        self.sequences.push(Vec::new());
    }

    fn int(&mut self, opcode: u8) -> Result<(), Error> {
        let number = match opcode {
            b'J' => i64::from(self.unsigned(4)?.cast_signed()),
            b'M' => i64::from(self.unsigned(2)?),
            _ => i64::from(self.unsigned(1)?),
        };
        self.stack.push(Value::Int(number));
        Ok(())
    }

    fn long(&mut self) -> Result<(), Error> {
        let length = self.unsigned(1)? as usize;
        let digits = self.take(length)?;
        if digits == MAGIC {
            self.stack.push(Value::Magic);
            return Ok(());
        }
        if digits.len() > 8 {
            return Err(self.refuse("a number of more than 64 bits", NOT_PLAIN));
        }
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let start = if negative { -1 } else { 0 };
        let digit = |number, &byte: &u8| number << 8 | i64::from(byte);
        self.stack.push(Value::Int(digits.iter().rev().fold(start, digit)));
        Ok(())
    }

    fn text(&mut self, n_length_bytes: usize) -> Result<(), Error> {
        let length = self.unsigned(n_length_bytes)? as usize;
        let text = std::str::from_utf8(self.take(length)?);
        let text = text.map_err(|_| self.refuse("a text that is not UTF-8", "UTF-8"))?;
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn global(&mut self) -> Result<(), Error> {
        let [module, name] = [self.line()?, self.line()?].map(String::from_utf8_lossy);
        self.push_global(&module, &name)
    }

    fn stack_global(&mut self) -> Result<(), Error> {
        match [self.pop()?, self.pop()?] {
            [Value::Text(name), Value::Text(module)] => self.push_global(&module, &name),
            _ => Err(self.refuse("a class without a name", "a name")),
        }
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        let found = format!("{module} {name}");
        let global = Global::named(&found).ok_or_else(|| self.refuse(&found, NOT_PLAIN))?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn tuple(&mut self) -> Result<(), Error> {
        let values = self.pop_to_mark()?;
        self.push_sequence(values);
        Ok(())
    }

    fn short_tuple(&mut self, n: usize) -> Result<(), Error> {
        let start = self.stack.len().checked_sub(n);
        let start = start.ok_or_else(|| self.refuse("an empty stack", "a value"))?;
        let values = self.stack.split_off(start);
        self.push_sequence(values);
        Ok(())
    }

    /// Adds the last `n` values to the container below them.
    fn append(&mut self, n: usize) -> Result<(), Error> {
        let start = self.stack.len().checked_sub(n);
        let start = start.ok_or_else(|| self.refuse("an empty stack", "a value"))?;
        let values = self.stack.split_off(start);
        self.add(values)
    }

    fn extend(&mut self) -> Result<(), Error> {
        let values = self.pop_to_mark()?;
        self.add(values)
    }

    fn add(&mut self, values: Vec<Value>) -> Result<(), Error> {
        match self.stack.last() {
            Some(Value::Sequence(i)) => self.sequences[*i].extend(values),
            Some(Value::Dict(i)) if values.len().is_multiple_of(2) => {
                self.sequences[*i].extend(values);
            }
            _ => return Err(self.refuse("an addition to no container", "a list or dict")),
        }
        Ok(())
    }

    fn put(&mut self, n: usize) -> Result<(), Error> {
        let i = self.unsigned(n)? as usize;
        self.memoize(i)
    }

    fn memoize(&mut self, i: usize) -> Result<(), Error> {
        let top = self.stack.last().cloned();
        let top = top.ok_or_else(|| self.refuse("an empty stack", "a value"))?;
        self.memo.insert(i, top);
        Ok(())
    }

    fn get(&mut self, n: usize) -> Result<(), Error> {
        let i = self.unsigned(n)? as usize;
        let value = self.memo.get(&i).cloned();
        let value = value.ok_or_else(|| self.refuse("an unknown memo", "a value put before"))?;
        self.stack.push(value);
        Ok(())
    }
}
