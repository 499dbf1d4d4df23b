//! The stack machine: one operation after the other over a flat list of nodes.

use std::{borrow::Cow, collections::HashMap, path::Path};

use super::{
    Value,
    build::build,
    global::{self, Global},
    reader::Reader,
};
use crate::error::Result;

/// Bytes of the file for each node in the official dictionaries, at least.
const BYTES_A_NODE: usize = 16;

/// Place of a node in the machine's list.
pub(super) type Id = u32;

/// An object while the pickle is read; its parts are places of other nodes.
#[derive(Debug, Clone)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Dtype { kind: u8, size: u8, big_endian: bool },
}

pub(super) struct Machine<'a> {
    pub(super) reader: Reader<'a>,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: Memo,
    /// Bytes and items that calls have copied so far.
    copied: usize,
}

/// Nodes by the numbers under which they are to be found again: as a rule 0, 1, 2 and so on.
struct Memo {
    first: Vec<Id>,
    others: HashMap<u64, Id>,
}

impl Memo {
    fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }

    fn put(&mut self, place: u64, id: Id) {
        let n_first = self.first.len() as u64;
        if place < n_first {
            self.first[place as usize] = id;
        } else if place == n_first && !self.others.contains_key(&place) {
            self.first.push(id);
        } else {
            self.others.insert(place, id);
        }
    }

    fn get(&self, place: u64) -> Option<Id> {
        let first = usize::try_from(place).ok().and_then(|place| self.first.get(place));
        first.or_else(|| self.others.get(&place)).copied()
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        let likely = bytes.len() / BYTES_A_NODE;
        Self {
            reader: Reader::new(path, bytes),
            nodes: Vec::with_capacity(likely),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo { first: Vec::with_capacity(likely), others: HashMap::new() },
            copied: 0,
        }
    }

    /// Runs the pickle to its end.
    pub(super) fn run(mut self) -> Result<Value> {
        loop {
            let op = self.reader.operation()?;
            if op == b'.' {
                let last = self.pop()?;
                return build(&self, last, self.reader.n_bytes());
            }
            self.step(op)?;
        }
    }

    fn step(&mut self, op: u8) -> Result<()> {
        match op {
            0x80 => self.reader.protocol(),
            0x95 => self.reader.length(8).map(|_| ()),
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
            _ => self.reader.atom(op).map(|node| self.push(node)),
        }
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
                return Err(self
                    .reader
                    .unexpected("items".to_owned(), "a dictionary to put them in"));
            };
            held.extend(pairs);
            return Ok(());
        }
        let items = self.pop_mark()?;
        match (self.top_node()?, op) {
            (Node::List(held), b'a' | b'e') | (Node::Set(held), 0x90) => held.extend(items),
            _ => {
                return Err(self
                    .reader
                    .unexpected("values".to_owned(), "a list or set to put them in"));
            }
        }
        Ok(())
    }

    fn put(&mut self, op: u8) -> Result<()> {
        let place =
            if op == 0x94 { self.memo.len() as u64 } else { self.reader.memo_place(op - b'p')? };
        let top = self.top()?;
        self.memo.put(place, top);
        Ok(())
    }

    fn get(&mut self, op: u8) -> Result<()> {
        // g, h, j: the letter i is another operation.
        let place = self.reader.memo_place(if op == b'j' { 2 } else { op - b'g' })?;
        let Some(id) = self.memo.get(place) else {
            return Err(self.reader.unexpected(format!("memo {place}"), "a place filled before"));
        };
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, op: u8) -> Result<()> {
        let (module, name) = if op == b'c' {
            (self.reader.line()?.into(), self.reader.line()?.into())
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.node(module), self.node(name)) {
                (Node::Str(module), Node::Str(name)) => (module.clone(), name.clone()),
                _ => {
                    return Err(self
                        .reader
                        .unexpected("a name that is no text".to_owned(), "text"));
                }
            }
        };
        let Some(global) = Global::find(&module, &name) else {
            return Err(self.reader.refused(format!("{module}.{name}")));
        };
        self.push(Node::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Node::Global(global), Node::Tuple(arguments)) =
            (self.node(callee), self.node(arguments))
        else {
            return Err(self
                .reader
                .unexpected("a call".to_owned(), "a known function and a tuple"));
        };
        // More than four arguments has no call that is known.
        let arguments: Vec<&Node<'a>> = arguments.iter().take(5).map(|&id| self.node(id)).collect();
        // A call copies its argument, so one long argument called often would be quadratic.
        let copied = self.copied + arguments.iter().map(|node| extent(node)).sum::<usize>();
        if copied > self.reader.n_bytes() {
            return Err(self.reader.unexpected("calls over and over".to_owned(), "plain values"));
        }
        let Some(node) = global::call(*global, &arguments) else {
            let found = format!("a call of {global:?} with {} arguments", arguments.len());
            return Err(self.reader.unexpected(found, "a call as Python and numpy write it"));
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
            _ => Err(self.reader.unexpected("a state".to_owned(), "plain values without one")),
        }
    }
}

/// The stack.
impl<'a> Machine<'a> {
    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    /// The height of the stack without its last `n`, which no mark may guard.
    fn floor(&self, n: usize) -> Result<usize> {
        let guarded = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(n).filter(|height| *height >= guarded);
        height.ok_or_else(|| self.reader.unexpected("an empty stack".to_owned(), "a value on it"))
    }

    fn top(&self) -> Result<Id> {
        self.floor(1).map(|height| self.stack[height])
    }

    fn top_node(&mut self) -> Result<&mut Node<'a>> {
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
            return Err(self.reader.unexpected("no mark".to_owned(), "a mark on the stack"));
        };
        Ok(self.stack.split_off(height))
    }

    fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>> {
        let items = self.pop_mark()?;
        if items.len() % 2 == 1 {
            return Err(self.reader.unexpected("a key without a value".to_owned(), "pairs"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

fn extent(node: &Node<'_>) -> usize {
    match node {
        Node::Str(text) => text.len(),
        Node::Bytes(bytes) => bytes.len(),
        Node::List(items) => items.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_memo_is_a_map(puts in vec((0u64..12, 0u32..99), 0..40)) {
            let mut memo = Memo { first: Vec::new(), others: HashMap::new() };
            let mut map = HashMap::new();
            for (place, id) in puts {
                memo.put(place, id);
                map.insert(place, id);
                prop_assert_eq!(memo.len(), map.len());
            }
            for place in 0..12 {
                prop_assert_eq!(memo.get(place), map.get(&place).copied());
            }
        }
    }
}
