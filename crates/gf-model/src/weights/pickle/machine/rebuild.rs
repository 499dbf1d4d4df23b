//! What the pickle of a state dict calls: storages, tensors and ordered dicts are made of
//! their arguments, and nothing else is.

use std::rc::Rc;

use super::{Machine, NOT_PLAIN};
use crate::{
    Error,
    weights::pickle::{
        PickledTensor, Storage,
        value::{Global, Value},
    },
};

/// More axes than any parameter has; bounds what a repeated shape can cost.
const MAX_AXES: usize = 8;

impl Machine<'_> {
    /// `('storage', class, key, location, n_elements)`, older files with a view that
    /// is always `None` for a state dict.
    pub(super) fn storage(&mut self) -> Result<(), Error> {
        let arguments = match self.pop_sequence()? {
            [arguments @ .., Value::None] | arguments => arguments,
        };
        let storage = match arguments {
            [_, Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(n)] => {
                let storage =
                    |n_elements| Storage { key: key.to_string(), dtype: *dtype, n_elements };
                usize::try_from(*n).ok().map(storage)
            }
            _ => None,
        };
        let storage = storage.ok_or_else(|| self.refuse("a persistent id", "a storage"))?;
        self.stack.push(Value::Storage(Rc::new(storage)));
        Ok(())
    }

    pub(super) fn reduce(&mut self) -> Result<(), Error> {
        let Value::Sequence(arguments) = self.pop()? else {
            return Err(self.refuse("a call without arguments", "a tuple"));
        };
        match self.pop()? {
            Value::Global(Global::OrderedDict) if self.sequences[arguments].is_empty() => {
                self.push_dict();
                Ok(())
            }
            Value::Global(Global::RebuildTensor) => self.tensor(arguments),
            _ => Err(self.refuse("a call", NOT_PLAIN)),
        }
    }

    /// `(storage, offset, shape, strides, requires_grad, hooks)`.
    fn tensor(&mut self, arguments: usize) -> Result<(), Error> {
        let tensor = match self.sequences[arguments].as_slice() {
            [
                Value::Storage(storage),
                Value::Int(offset),
                Value::Sequence(shape),
                Value::Sequence(strides),
                ..,
            ] => self.view(storage, *offset, *shape, *strides),
            _ => None,
        };
        let tensor = tensor.ok_or_else(|| self.refuse("a malformed tensor", "a tensor"))?;
        self.stack.push(Value::Tensor(Rc::new(tensor)));
        Ok(())
    }

    fn view(
        &self,
        storage: &Rc<Storage>,
        offset: i64,
        shape: usize,
        strides: usize,
    ) -> Option<PickledTensor> {
        let (shape, strides) = (self.axes(shape)?, self.axes(strides)?);
        let offset = usize::try_from(offset).ok()?;
        Some(PickledTensor { storage: Rc::clone(storage), offset, shape, strides })
    }

    fn axes(&self, sequence: usize) -> Option<Vec<usize>> {
        let axes = &self.sequences[sequence];
        let axis = |value: &Value| match value {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        if axes.len() > MAX_AXES { None } else { axes.iter().map(axis).collect() }
    }

    /// Attributes of an ordered dict: PyTorch keeps version numbers there.
    pub(super) fn build(&mut self) -> Result<(), Error> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err(self.refuse("attributes", NOT_PLAIN)),
        }
    }
}
