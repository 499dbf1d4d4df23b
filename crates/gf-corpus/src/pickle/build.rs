//! From the machine's flat list to a tree, within bounds.

use super::{
    MAX_DEPTH, Value,
    machine::{Id, Machine, Node},
};
use crate::error::Result;

/// Steps any file may take, however short it is.
const BASE_COST: usize = 1024;
/// Bytes of text that count as one step.
const TEXT_STEP: usize = 16;

pub(super) fn build(machine: &Machine, root: Id, n_bytes: usize) -> Result<Value> {
    // One step a byte: one for each part of a container and for 16 bytes of text.
    let left = BASE_COST + n_bytes;
    Builder { machine, left }.value(root, 0)
}

struct Builder<'a, 'b> {
    machine: &'a Machine<'b>,
    left: usize,
}

impl Builder<'_, '_> {
    /// A list that holds itself ends at the deepest level.
    fn value(&mut self, id: Id, depth: u16) -> Result<Value> {
        if depth > MAX_DEPTH {
            let expected = "containers at most 100 deep";
            return Err(self.machine.reader.unexpected("a deeper nest".to_owned(), expected));
        }
        let machine = self.machine;
        let node = machine.node(id);
        self.charge(node)?;
        Ok(match node {
            Node::None => Value::None,
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(number) => Value::Int(*number),
            Node::Float(number) => Value::Float(*number),
            Node::Str(text) => Value::Str(text.clone().into_owned()),
            Node::Bytes(bytes) => Value::Bytes(bytes.clone().into_owned()),
            Node::List(items) => Value::List(self.values(items, depth)?),
            Node::Tuple(items) => Value::Tuple(self.values(items, depth)?),
            Node::Set(items) => Value::Set(self.values(items, depth)?),
            Node::Dict(pairs) => Value::Dict(self.pairs(pairs, depth)?),
            Node::Global(global) => {
                return Err(machine.reader.refused(format!("{global:?} itself")));
            }
            Node::Dtype { .. } => {
                return Err(machine.reader.refused("numpy.dtype itself".to_owned()));
            }
        })
    }

    fn values(&mut self, items: &[Id], depth: u16) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(items.len());
        for &item in items {
            values.push(self.value(item, depth + 1)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, pairs: &[(Id, Id)], depth: u16) -> Result<Vec<(Value, Value)>> {
        let mut values = Vec::with_capacity(pairs.len());
        for &(key, value) in pairs {
            values.push((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
        }
        Ok(values)
    }

    /// A container pays for its parts before it takes the memory for them.
    fn charge(&mut self, node: &Node<'_>) -> Result<()> {
        let steps = match node {
            Node::Str(text) => text.len() / TEXT_STEP,
            Node::Bytes(bytes) => bytes.len() / TEXT_STEP,
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.len(),
            Node::Dict(pairs) => 2 * pairs.len(),
            _ => 0,
        };
        let too_much = || {
            let expected = "values in proportion to the file";
            self.machine.reader.unexpected("the same parts over and over".to_owned(), expected)
        };
        self.left = self.left.checked_sub(steps).ok_or_else(too_much)?;
        Ok(())
    }
}
