//! The tensors of a model folder, where they lie in its memory-mapped files.
//!
//! Names are given as `transformers` writes them today, whatever the file's age:
//! `bert.` is put before the names of a headless `BertModel`, and `gamma`/`beta`
//! of a layer norm become `weight`/`bias` (REFERENCE.md §3.3).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

use super::{is_float, to_f32, torch};
use crate::Error;

/// File name of the weights that `transformers` and this crate write.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// File name of the list of shards that hold the weights of a large model.
const INDEX_FILE: &str = "model.safetensors.index.json";
/// File name of the weights that older `transformers` wrote.
const TORCH_FILE: &str = "pytorch_model.bin";
/// File name of the list of its shards.
const TORCH_INDEX_FILE: &str = "pytorch_model.bin.index.json";
/// Bytes before the header of a safetensors file: its length.
const N_LENGTH_BYTES: usize = 8;

/// Every tensor of a checkpoint by name; a tensor's bytes are read when asked for.
///
/// The files must not be changed while the store lives.
pub struct TensorStore {
    path: PathBuf,
    maps: Vec<Mmap>,
    tensors: BTreeMap<String, (usize, Stored)>,
}

/// Where a row-major tensor lies in its file; the range fits type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Range<usize>,
}

impl TensorStore {
    /// Maps the weights of a folder: `model.safetensors`, the shards of its index,
    /// `pytorch_model.bin` or the shards of its index, whichever is there first.
    ///
    /// # Errors
    ///
    /// None of them is there, or a file is malformed.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = weights_path(folder)?;
        let files = files(&path)?;
        match path.ends_with(WEIGHTS_FILE) || path.ends_with(INDEX_FILE) {
            true => Self::read(path, &files, safetensors_tensors),
            false => Self::read(path, &files, torch::tensors),
        }
    }

    /// Maps one safetensors file.
    ///
    /// # Errors
    ///
    /// It is not there or malformed.
    pub fn open_file(path: &Path) -> Result<Self, Error> {
        Self::read(path.to_owned(), &[path.to_owned()], safetensors_tensors)
    }

    fn read(
        path: PathBuf,
        files: &[PathBuf],
        tensors: impl Fn(&[u8], &Path) -> Result<Vec<(String, Stored)>, Error>,
    ) -> Result<Self, Error> {
        let maps: Vec<Mmap> = files.iter().map(|file| map(file)).collect::<Result<_, _>>()?;
        let mut found = Vec::new();
        for (i, (map, file)) in maps.iter().zip(files).enumerate() {
            let stored = tensors(map, file)?;
            found.extend(stored.into_iter().map(|(name, stored)| (name, (i, stored))));
            release(map, 0..map.len());
        }
        let tensors = by_modern_name(found).map_err(|name| {
            let path = path.clone();
            Error::Tensors { path, problems: vec![format!("{name} is there twice")] }
        })?;
        Ok(Self { path, maps, tensors })
    }

    /// The file that was asked for: the weights or the index of their shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many tensors there are.
    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Gives back the memory of a tensor that was read; a model in memory and its file
    /// in memory would be two copies.
    pub fn release(&self, name: &str) {
        if let Some((file, stored)) = self.tensors.get(name) {
            release(&self.maps[*file], stored.bytes.clone());
        }
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (file, stored) = self.tensors.get(name)?;
        let bytes = self.maps[*file].get(stored.bytes.clone())?;
        TensorView::new(stored.dtype, stored.shape.clone(), bytes).ok()
    }

    /// The numbers of a tensor, row-major; `None` where it is absent or not in floating
    /// point. Its memory is given back.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let view = self.get(name).filter(|view| is_float(view.dtype()))?;
        let values = to_f32(&view);
        self.release(name);
        Some(values)
    }
}

/// The files that hold the weights of a model folder: `model.safetensors`, the shards of
/// its index, `pytorch_model.bin` or the shards of its index, whichever is there first.
///
/// # Errors
///
/// None of them is there, or an index is malformed.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files(&weights_path(folder)?)
}

/// The weights of a folder, or the index of their shards.
fn weights_path(folder: &Path) -> Result<PathBuf, Error> {
    let names = [WEIGHTS_FILE, INDEX_FILE, TORCH_FILE, TORCH_INDEX_FILE];
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let missing = || Error::NoWeights { folder: folder.to_owned(), expected: names.join(" or ") };
    found.ok_or_else(missing)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_index = path.ends_with(INDEX_FILE) || path.ends_with(TORCH_INDEX_FILE);
    if is_index { shards(path) } else { Ok(vec![path.to_owned()]) }
}

/// Gives the memory of read pages back; they come from the file if read again.
#[cfg(unix)]
fn release(map: &Mmap, bytes: Range<usize>) {
    let advice = memmap2::UncheckedAdvice::DontNeed;
    // SAFETY: the pages of a read-only map are the file's; none is changed by this.
    let advised = unsafe { map.unchecked_advise_range(advice, bytes.start, bytes.len()) };
    // Advice that is not taken costs memory, not correctness.
    advised.ok();
}

/// Elsewhere the operating system decides.
#[cfg(not(unix))]
fn release(_map: &Mmap, _bytes: Range<usize>) {}

fn map(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: the map is read only, and every use of its bytes is checked against
    // its length; that nobody changes the file is the condition of `TensorStore`.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

fn safetensors_tensors(bytes: &[u8], path: &Path) -> Result<Vec<(String, Stored)>, Error> {
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })?;
    let start = N_LENGTH_BYTES + header;
    let stored = |info: &safetensors::tensor::TensorInfo| Stored {
        dtype: info.dtype,
        shape: info.shape.clone(),
        bytes: start + info.data_offsets.0..start + info.data_offsets.1,
    };
    Ok(metadata.tensors().into_iter().map(|(name, info)| (name, stored(info))).collect())
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files an index names, each a neighbour of it.
fn shards(index: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(index).map_err(Error::io(index))?;
    let Index { weight_map } = serde_json::from_str(&text)
        .map_err(|source| Error::IndexJson { path: index.to_owned(), source })?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    names
        .into_iter()
        .map(|name| match Path::new(&name).file_name() {
            Some(plain) if plain == name.as_str() => Ok(index.with_file_name(plain)),
            _ => Err(Error::ShardName { path: index.to_owned(), found: name }),
        })
        .collect()
}

/// The name that occurs twice, if one does.
fn by_modern_name<T>(tensors: Vec<(String, T)>) -> Result<BTreeMap<String, T>, String> {
    let prefixed = tensors.iter().any(|(name, _)| name.starts_with("bert."));
    let headless = !prefixed && tensors.iter().any(|(name, _)| name.starts_with("embeddings."));
    let prefix = if headless { "bert." } else { "" };
    let mut found = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = format!("{prefix}{}", modern_norm(&name));
        if found.insert(name.clone(), tensor).is_some() {
            return Err(name);
        }
    }
    Ok(found)
}

fn modern_norm(name: &str) -> String {
    for (old, new) in [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")] {
        if name.ends_with(old) {
            let norm = name.trim_end_matches(|c| c != '.');
            return format!("{norm}{new}");
        }
    }
    name.to_owned()
}
