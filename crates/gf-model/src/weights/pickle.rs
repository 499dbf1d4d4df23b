//! The pickle of a state dict, read without running anything: tensors, plain
//! containers and nothing else.
//!
//! Opcodes are those that `torch.save` writes with protocol 2, its default, to 5 (Python's
//! `pickletools`; PyTorch 2.15).

mod machine;
mod value;

use std::{mem, ops::Range, path::Path, rc::Rc};

use safetensors::Dtype;

use self::{machine::Machine, value::Value};
use crate::Error;

/// One block of elements, shared by the tensors that are views of it.
#[derive(Debug)]
pub(crate) struct Storage {
    pub key: String,
    pub dtype: Dtype,
    pub n_elements: usize,
}

impl Storage {
    /// Its length in bytes; `None` beyond the address space.
    pub fn n_bytes(&self) -> Option<usize> {
        self.n_elements.checked_mul(n_bytes(self.dtype))
    }
}

/// A tensor as a view of its storage; offset and strides in elements.
#[derive(Debug, Clone)]
pub(crate) struct PickledTensor {
    pub storage: Rc<Storage>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl PickledTensor {
    /// Where its elements lie, given where its storage does.
    pub fn bytes_within(&self, storage: &Range<usize>) -> Option<Range<usize>> {
        let size = n_bytes(self.storage.dtype);
        let n_elements = self.shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis))?;
        let start = storage.start.checked_add(self.offset.checked_mul(size)?)?;
        let end = start.checked_add(n_elements.checked_mul(size)?)?;
        (end <= storage.end).then_some(start..end)
    }

    /// Whether the elements follow one another; the stride of an axis of one is free.
    pub fn is_row_major(&self) -> bool {
        let mut expected = 1usize;
        self.shape.len() == self.strides.len()
            && self.shape.iter().zip(&self.strides).rev().all(|(&axis, &stride)| {
                let fits = axis <= 1 || stride == expected;
                expected = expected.saturating_mul(axis);
                fits
            })
    }
}

fn n_bytes(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// Reads a state dict; also the length of its pickle in bytes. `base` is where the
/// pickle starts in the file, for errors.
pub(crate) fn read_state_dict(
    bytes: &[u8],
    base: usize,
    path: &Path,
) -> Result<(Vec<(String, PickledTensor)>, usize), Error> {
    let mut machine = Machine::new(bytes, base, path);
    let value = machine.run()?;
    let Value::Dict(dict) = value else {
        return Err(machine.refuse(value.kind(), "a state dict"));
    };
    let entries = mem::take(&mut machine.sequences[dict]);
    let state = entries.chunks_exact(2).map(|entry| match entry {
        [Value::Text(name), Value::Tensor(tensor)] => {
            Ok((name.to_string(), PickledTensor::clone(tensor)))
        }
        [Value::Text(name), other] => {
            Err(machine.refuse(&format!("{} as {name}", other.kind()), "a tensor"))
        }
        _ => Err(machine.refuse("a key that is no text", "the name of a tensor")),
    });
    Ok((state.collect::<Result<_, _>>()?, machine.at))
}

/// Reads the list of storage keys of the older layout, and its length in bytes.
pub(crate) fn read_keys(
    bytes: &[u8],
    base: usize,
    path: &Path,
) -> Result<(Vec<String>, usize), Error> {
    let mut machine = Machine::new(bytes, base, path);
    let value = machine.run()?;
    let Value::Sequence(list) = value else {
        return Err(machine.refuse(value.kind(), "a list of storages"));
    };
    let keys = machine.sequences[list].iter().map(|key| match key {
        Value::Text(key) => Ok(key.to_string()),
        other => Err(machine.refuse(other.kind(), "the key of a storage")),
    });
    Ok((keys.collect::<Result<_, _>>()?, machine.at))
}

/// Passes a pickle of numbers before the state dict of the older layout.
pub(crate) fn skip_preface(
    bytes: &[u8],
    base: usize,
    is_magic: bool,
    path: &Path,
) -> Result<usize, Error> {
    let mut machine = Machine::new(bytes, base, path);
    let value = machine.run()?;
    if is_magic && !matches!(value, Value::Magic) {
        return Err(machine.refuse(value.kind(), "a zip archive or PyTorch's magic number"));
    }
    Ok(machine.at)
}
