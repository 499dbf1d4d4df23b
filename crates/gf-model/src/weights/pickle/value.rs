//! What a state dict consists of.

use std::rc::Rc;

use safetensors::Dtype;

use super::{PickledTensor, Storage};

/// What can stand on the stack; containers are indices into the arena.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Mark,
    None,
    Bool,
    Int(i64),
    Magic,
    Text(Rc<str>),
    Global(Global),
    /// A tuple or a list.
    Sequence(usize),
    /// Keys and values in turn.
    Dict(usize),
    Storage(Rc<Storage>),
    Tensor(Rc<PickledTensor>),
}

/// The names a state dict may call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    Storage(Dtype),
}

impl Global {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "collections OrderedDict" => Self::OrderedDict,
            "torch._utils _rebuild_tensor_v2" => Self::RebuildTensor,
            "torch DoubleStorage" => Self::Storage(Dtype::F64),
            "torch FloatStorage" => Self::Storage(Dtype::F32),
            "torch HalfStorage" => Self::Storage(Dtype::F16),
            "torch BFloat16Storage" => Self::Storage(Dtype::BF16),
            "torch LongStorage" => Self::Storage(Dtype::I64),
            "torch IntStorage" => Self::Storage(Dtype::I32),
            "torch ByteStorage" => Self::Storage(Dtype::U8),
            "torch BoolStorage" => Self::Storage(Dtype::BOOL),
            _ => return None,
        })
    }
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Mark => "a mark",
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) | Self::Magic => "a number",
            Self::Text(_) => "a text",
            Self::Global(_) => "a class",
            Self::Sequence(_) => "a sequence",
            Self::Dict(_) => "a dict",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}
