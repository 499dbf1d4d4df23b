//! The parameters of a module as a safetensors file.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufWriter, Write},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Tensor, backend::Backend},
};
use safetensors::{
    Dtype, SafeTensorError,
    tensor::{Metadata, TensorInfo},
};

use super::ModulePath;
use crate::Error;

/// Headers end at a multiple of this many bytes.
const ALIGNMENT: usize = 8;

/// Writes every parameter in f32 beside `path` and renames; one tensor at a time is
/// in host memory twice.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write<B: Backend, M: Module<B>>(module: &M, path: &Path) -> Result<(), Error> {
    let mut collector = Collector { path: ModulePath::default(), tensors: BTreeMap::new() };
    module.visit(&mut collector);
    let header = header(&collector.tensors)
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })?;
    let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    let mut file = BufWriter::new(file);
    let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path));
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for parameter in collector.tensors.values() {
        put(bytemuck::cast_slice(&(parameter.values)()))?;
    }
    let file = file.into_inner().map_err(|error| Error::io(path)(error.into_error()))?;
    file.commit().map_err(Error::io(path))
}

fn header(parameters: &BTreeMap<String, Parameter>) -> Result<Vec<u8>, SafeTensorError> {
    let mut start = 0;
    let info = |(name, parameter): (&String, &Parameter)| {
        let shape = parameter.shape.clone();
        let end = start + shape.iter().product::<usize>() * size_of::<f32>();
        let info = TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) };
        start = end;
        (name.clone(), info)
    };
    let tensors = parameters.iter().map(info).collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut header = serde_json::to_vec(&Metadata::new(Some(metadata), tensors)?)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    Ok(header)
}

/// A parameter in the file's layout, row-major.
struct Parameter {
    shape: Vec<usize>,
    /// Its values, copied from the device when asked for.
    values: Box<dyn Fn() -> Vec<f32>>,
}

struct Collector {
    path: ModulePath,
    tensors: BTreeMap<String, Parameter>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        let tensor = if self.path.is_dense_weight() { tensor.transpose() } else { tensor };
        let shape = tensor.dims().to_vec();
        let values = Box::new(move || tensor.to_data().iter::<f32>().collect());
        self.tensors.insert(self.path.file_name(), Parameter { shape, values });
    }
}
