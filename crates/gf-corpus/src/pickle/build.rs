//! From the machine's flat list to a tree, within bounds.

use super::{
    MAX_COST, MAX_DEPTH, Value,
    machine::{Id, Machine, Node},
};
use crate::error::Result;

/// Steps any file may take, however short it is.
const BASE_COST: usize = 1024;
/// Bytes of text that count as one step.
const TEXT_STEP: usize = 16;

pub(super) fn build(machine: &Machine, root: Id, n_bytes: usize) -> Result<Value> {
    let left = BASE_COST + MAX_COST * n_bytes;
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
            return Err(self.machine.unexpected("a deeper nest".to_owned(), expected));
        }
        let machine = self.machine;
        let node = machine.node(id);
        self.charge(node)?;
        Ok(match node {
            Node::None => Value::None,
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(number) => Value::Int(*number),
            Node::Float(number) => Value::Float(*number),
            Node::Str(text) => Value::Str(text.clone()),
            Node::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Node::List(items) => Value::List(self.values(items, depth)?),
            Node::Tuple(items) => Value::Tuple(self.values(items, depth)?),
            Node::Set(items) => Value::Set(self.values(items, depth)?),
            Node::Dict(pairs) => Value::Dict(self.pairs(pairs, depth)?),
            Node::Global(global) => return Err(machine.refused(format!("{global:?} itself"))),
            Node::Dtype { .. } => return Err(machine.refused("numpy.dtype itself".to_owned())),
        })
    }

    fn values(&mut self, items: &[Id], depth: u16) -> Result<Vec<Value>> {
        items.iter().map(|&item| self.value(item, depth + 1)).collect()
    }

    fn pairs(&mut self, pairs: &[(Id, Id)], depth: u16) -> Result<Vec<(Value, Value)>> {
        let pair = |&(key, value): &(Id, Id)| {
            Ok((self.value(key, depth + 1)?, self.value(value, depth + 1)?))
        };
        pairs.iter().map(pair).collect()
    }

    fn charge(&mut self, node: &Node) -> Result<()> {
        let n_bytes = match node {
            Node::Str(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let left = self.left.checked_sub(1 + n_bytes / TEXT_STEP);
        let too_much = || {
            let expected = "values in proportion to the file";
            self.machine.unexpected("the same parts over and over".to_owned(), expected)
        };
        self.left = left.ok_or_else(too_much)?;
        Ok(())
    }
}
