//! Between the tensors of a model folder and the parameters of a module.
//!
//! A parameter's path in the module (`encoder.layers.0.attention.query.weight`)
//! determines its name in the file ([`keymap`]); dense weights are transposed on
//! the way, because PyTorch stores `[d_output, d_input]`.

pub(crate) mod keymap;
mod pickle;
pub(crate) mod store;
mod torch;
pub(crate) mod writer;

use std::collections::BTreeSet;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Tensor, TensorData, backend::Backend},
};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};

use self::{keymap::TensorSpec, store::TensorStore};
use crate::Error;

/// Lists every tensor that is missing, misshapen, of an unknown type or unexpected.
///
/// # Errors
///
/// [`Error::Tensors`] with one line per tensor.
pub(crate) fn check(
    store: &TensorStore,
    specs: &[TensorSpec],
    is_ignored: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let expected: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let mut problems: Vec<String> = specs.iter().filter_map(|spec| problem(store, spec)).collect();
    let unexpected = store.names().filter(|name| !is_ignored(name) && !expected.contains(name));
    problems.extend(unexpected.map(|name| format!("{name} is not expected")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors { path: store.path().to_owned(), problems })
}

fn problem(store: &TensorStore, spec: &TensorSpec) -> Option<String> {
    let TensorSpec { name, shape } = spec;
    let Some(view) = store.get(name) else {
        return Some(format!("{name} {shape:?} is missing"));
    };
    if view.shape() != shape.as_slice() {
        return Some(format!("{name} has shape {:?}, expected {shape:?}", view.shape()));
    }
    let dtype = view.dtype();
    (!is_float(dtype)).then(|| format!("{name} has type {dtype:?}, expected F64, F32, F16 or BF16"))
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Replaces every parameter of `module` by the tensor of its name in a store that
/// passed [`check`], one after the other.
pub(crate) fn load<B: Backend, M: Module<B>>(module: M, root: &str, store: &TensorStore) -> M {
    module.map(&mut Loader { path: ModulePath::below(root), store })
}

struct Loader<'a> {
    path: ModulePath,
    store: &'a TensorStore,
}

impl<B: Backend> ModuleMapper<B> for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.path.file_name();
        let Some(view) = self.store.get(&name) else {
            return param;
        };
        let data = TensorData::new(to_f32(&view), view.shape().to_vec());
        self.store.release(&name);
        let tensor = Tensor::<B, D>::from_data(data, &param.lazy_device());
        let tensor = if self.path.is_dense_weight() { tensor.transpose() } else { tensor };
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

fn to_f32(view: &TensorView<'_>) -> Vec<f32> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => {
            bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()
        }
        _ => bytemuck::pod_collect_to_vec(bytes),
    }
}

/// Where a visitor stands in the module tree.
#[derive(Default)]
struct ModulePath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ModulePath {
    fn below(root: &str) -> Self {
        Self { names: vec![root.to_owned()], containers: vec![String::new()] }
    }

    fn enter(&mut self, name: &str, container_type: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container_type.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn file_name(&self) -> String {
        keymap::file_name(&self.names)
    }

    fn is_dense_weight(&self) -> bool {
        self.containers.last().is_some_and(|container| container == "Struct:Linear")
            && self.names.last().is_some_and(|name| name == "weight")
    }
}
