//! The stack machine: one operation after the other over a flat list of nodes.

use std::{collections::HashMap, path::Path};

use super::{
    Value,
    build::build,
    global::{self, Global},
};
use crate::error::{Error, Result};

/// Place of a node in the machine's list.
pub(super) type Id = u32;

/// An object while the pickle is read; its parts are places of other nodes.
#[derive(Debug, Clone)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Dtype { kind: u8, size: u8, big_endian: bool },
}

pub(super) struct Machine<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// The next byte to be read, and the first of the current operation.
    next: usize,
    at: usize,
    pub(super) nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes and items that calls have copied so far.
    copied: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self {
            path,
            bytes,
            next: 0,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        }
    }

    /// Runs the pickle to its end.
    pub(super) fn run(mut self) -> Result<Value> {
        loop {
            self.at = self.next;
            let op = self.byte()?;
            if op == b'.' {
                let last = self.pop()?;
                return build(&self, last, self.bytes.len());
            }
            self.step(op)?;
        }
    }

    fn step(&mut self, op: u8) -> Result<()> {
        match op {
            0x80 => self.protocol(),
            0x95 => self.length(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => self.top().map(|id| self.stack.push(id)),
            b'c' | 0x93 => self.global(op),
            b'R' => self.reduce(),
            b'b' => self.set_state(),
            b'p' | b'q' | b'r' | 0x94 => self.put(op),
            b'g' | b'h' | b'j' => self.get(op),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(op),
            b'l' | b't' | b'd' | 0x85..=0x87 | 0x91 => self.gather(op),
            _ => self.atom(op).map(|node| self.push(node)),
        }
    }

    fn protocol(&mut self) -> Result<()> {
        match self.byte()? {
            0..=5 => Ok(()),
            other => Err(self.unexpected(format!("protocol {other}"), "a protocol from 0 to 5")),
        }
    }

    /// A value that stands in the file as it is, or an empty container.
    fn atom(&mut self, op: u8) -> Result<Node> {
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
            b'C' => Node::Bytes(self.counted(1)?.to_vec()),
            b'B' => Node::Bytes(self.counted(4)?.to_vec()),
            0x8e | 0x96 => Node::Bytes(self.counted(8)?.to_vec()),
            b']' => Node::List(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            _ => return Err(self.unexpected(format!("operation {op:#04x}"), "plain values")),
        })
    }

    /// A container from the values above the mark, or from the last one to three.
    fn gather(&mut self, op: u8) -> Result<()> {
        let node = match op {
            0x85..=0x87 => {
                let from = self.floor(usize::from(op - 0x84))?;
                Node::Tuple(self.stack.split_off(from))
            }
            b't' => Node::Tuple(self.pop_mark()?),
            b'l' => Node::List(self.pop_mark()?),
            b'd' => Node::Dict(self.pop_pairs()?),
            _ => Node::Set(self.pop_mark()?),
        };
        self.push(node);
        Ok(())
    }

    /// Adds to the container below the values.
    fn fill(&mut self, op: u8) -> Result<()> {
        if op == b'a' || op == b's' {
            let height = self.floor(if op == b'a' { 1 } else { 2 })?;
            self.marks.push(height);
        }
        if op == b's' || op == b'u' {
            let pairs = self.pop_pairs()?;
            let Node::Dict(held) = self.top_node()? else {
                return Err(self.unexpected("items".to_owned(), "a dictionary to put them in"));
            };
            held.extend(pairs);
            return Ok(());
        }
        let items = self.pop_mark()?;
        match (self.top_node()?, op) {
            (Node::List(held), b'a' | b'e') | (Node::Set(held), 0x90) => held.extend(items),
            _ => return Err(self.unexpected("values".to_owned(), "a list or set to put them in")),
        }
        Ok(())
    }

    fn put(&mut self, op: u8) -> Result<()> {
        let place = if op == 0x94 { self.memo.len() as u64 } else { self.memo_place(op - b'p')? };
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn get(&mut self, op: u8) -> Result<()> {
        // g, h, j: the letter i is another operation.
        let place = self.memo_place(if op == b'j' { 2 } else { op - b'g' })?;
        let Some(&id) = self.memo.get(&place) else {
            return Err(self.unexpected(format!("memo {place}"), "a place filled before"));
        };
        self.stack.push(id);
        Ok(())
    }

    /// A memo's number: decimal, in one byte, or in four.
    fn memo_place(&mut self, width: u8) -> Result<u64> {
        match width {
            0 => self.parse("a memo's number"),
            1 => self.number(1),
            _ => self.number(4),
        }
    }

    fn global(&mut self, op: u8) -> Result<()> {
        let (module, name) = if op == b'c' {
            (self.line()?.to_owned(), self.line()?.to_owned())
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.node(module), self.node(name)) {
                (Node::Str(module), Node::Str(name)) => (module.clone(), name.clone()),
                _ => return Err(self.unexpected("a name that is no text".to_owned(), "text")),
            }
        };
        let Some(global) = Global::find(&module, &name) else {
            return Err(self.refused(format!("{module}.{name}")));
        };
        self.push(Node::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Node::Global(global), Node::Tuple(arguments)) =
            (self.node(callee), self.node(arguments))
        else {
            return Err(self.unexpected("a call".to_owned(), "a known function and a tuple"));
        };
        // More than four arguments has no call that is known.
        let arguments: Vec<&Node> = arguments.iter().take(5).map(|&id| self.node(id)).collect();
        // A call copies its argument, so one long argument called often would be quadratic.
        let copied = self.copied + arguments.iter().map(|node| extent(node)).sum::<usize>();
        if copied > self.bytes.len() {
            return Err(self.unexpected("calls over and over".to_owned(), "plain values"));
        }
        let Some(node) = global::call(*global, &arguments) else {
            let found = format!("a call of {global:?} with {} arguments", arguments.len());
            return Err(self.unexpected(found, "a call as Python and numpy write it"));
        };
        self.copied = copied;
        self.push(node);
        Ok(())
    }

    /// The one state that is set: the byte order of a numpy dtype.
    fn set_state(&mut self) -> Result<()> {
        let state = self.pop()?;
        let order = match self.node(state) {
            Node::Tuple(state) => state.get(1).map(|&id| self.node(id)),
            _ => None,
        };
        let big = match order {
            Some(Node::Str(order)) => Some(order == ">"),
            _ => None,
        };
        match (self.top_node()?, big) {
            (Node::Dtype { big_endian, .. }, Some(big)) => {
                *big_endian = big;
                Ok(())
            }
            _ => Err(self.unexpected("a state".to_owned(), "plain values without one")),
        }
    }
}

/// The stack.
impl Machine<'_> {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    /// The height of the stack without its last `n`, which no mark may guard.
    fn floor(&self, n: usize) -> Result<usize> {
        let guarded = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(n).filter(|height| *height >= guarded);
        height.ok_or_else(|| self.unexpected("an empty stack".to_owned(), "a value on it"))
    }

    fn top(&self) -> Result<Id> {
        self.floor(1).map(|height| self.stack[height])
    }

    fn top_node(&mut self) -> Result<&mut Node> {
        let top = self.top()?;
        Ok(&mut self.nodes[top as usize])
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let Some(height) = self.marks.pop() else {
            return Err(self.unexpected("no mark".to_owned(), "a mark on the stack"));
        };
        Ok(self.stack.split_off(height))
    }

    fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>> {
        let items = self.pop_mark()?;
        if items.len() % 2 == 1 {
            return Err(self.unexpected("a key without a value".to_owned(), "pairs"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    pub(super) fn unexpected(&self, found: String, expected: &'static str) -> Error {
        Error::Pickle { path: self.path.to_owned(), at: self.at, found, expected }
    }

    pub(super) fn refused(&self, name: String) -> Error {
        Error::PickleGlobal { path: self.path.to_owned(), at: self.at, name }
    }
}

/// The bytes.
impl<'a> Machine<'a> {
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
    fn length(&mut self, n_bytes: usize) -> Result<usize> {
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

    fn text(&mut self, n_bytes: usize) -> Result<Node> {
        let bytes = self.counted(n_bytes)?;
        self.utf8(bytes).map(|text| Node::Str(text.to_owned()))
    }

    fn utf8<'b>(&self, bytes: &'b [u8]) -> Result<&'b str> {
        let text = std::str::from_utf8(bytes);
        text.map_err(|_| self.unexpected("other bytes".to_owned(), "UTF-8 text"))
    }

    fn long(&mut self, n_bytes: usize) -> Result<Node> {
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

    fn line(&mut self) -> Result<&'a str> {
        let line = self.line_bytes()?;
        self.utf8(line)
    }

    fn parse<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T> {
        let line = self.line()?;
        line.trim_end_matches('L').parse().map_err(|_| self.unexpected(shown(line), expected))
    }

    fn decimal(&mut self) -> Result<Node> {
        for (truth, text) in [(false, "00\n"), (true, "01\n")] {
            if self.bytes[self.next..].starts_with(text.as_bytes()) {
                self.next += text.len();
                return Ok(Node::Bool(truth));
            }
        }
        self.parse("numbers of 64 bits").map(Node::Int)
    }

    fn decimal_float(&mut self) -> Result<Node> {
        self.parse("a float").map(Node::Float)
    }

    /// Python 2's text in quotes.
    fn quoted(&mut self) -> Result<Node> {
        let line = self.line()?;
        let text = global::unquote(line);
        text.map(Node::Str).ok_or_else(|| self.unexpected(shown(line), "text in quotes"))
    }

    /// Protocol 0's text: Latin-1 with `\uXXXX` for the rest.
    fn escaped(&mut self) -> Result<Node> {
        let line = self.line_bytes()?;
        let text = global::unescape(line);
        text.map(Node::Str)
            .ok_or_else(|| self.unexpected("other escapes".to_owned(), "\\uXXXX escapes"))
    }
}

fn extent(node: &Node) -> usize {
    match node {
        Node::Str(text) => text.len(),
        Node::Bytes(bytes) => bytes.len(),
        Node::List(items) => items.len(),
        _ => 0,
    }
}

fn shown(line: &str) -> String {
    format!("{:?}", line.chars().take(40).collect::<String>())
}
