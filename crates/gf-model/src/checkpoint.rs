//! A model folder as `transformers` writes and reads it: `config.json` beside
//! `model.safetensors`.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use burn::tensor::backend::Backend;
use safetensors::SafeTensors;

use crate::{
    Encoder, EncoderConfig, Error, MaskedLm,
    weights::{self, keymap},
};

/// File name of the configuration.
pub const CONFIG_FILE: &str = "config.json";
/// File name of the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Loads the encoder of a model folder; heads in the file are left unread.
///
/// # Errors
///
/// A file is absent or malformed, or tensors do not fit the configuration: they
/// are listed by name.
pub fn load_encoder<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(EncoderConfig, Encoder<B>), Error> {
    let config = EncoderConfig::read(&folder.join(CONFIG_FILE))?;
    let (bytes, path) = read_weights(folder)?;
    let file = parse(&bytes, &path)?;
    check_depth(&config, &file)?;
    let is_head = |name: &str| keymap::is_redundant(name) || !name.starts_with("bert.");
    weights::check(&file, &keymap::encoder_tensors(&config), is_head, &path)?;
    let encoder = config.init_encoder(device)?;
    Ok((config, weights::load(encoder, "encoder", &file)))
}

/// Loads a pretrained model with its masked language head.
///
/// # Errors
///
/// As [`load_encoder`]; a folder without such a head lists its missing tensors.
pub fn load_masked_lm<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(EncoderConfig, MaskedLm<B>), Error> {
    let config = EncoderConfig::read(&folder.join(CONFIG_FILE))?;
    let (bytes, path) = read_weights(folder)?;
    let file = parse(&bytes, &path)?;
    check_depth(&config, &file)?;
    weights::check(&file, &keymap::masked_lm_tensors(&config), keymap::is_redundant, &path)?;
    let MaskedLm { encoder, head } = config.init_masked_lm(device)?;
    let encoder = weights::load(encoder, "encoder", &file);
    Ok((config, MaskedLm { encoder, head: weights::load(head, "head", &file) }))
}

/// Writes a model folder; each file is written beside its target and renamed.
///
/// # Errors
///
/// The folder cannot be made or a file cannot be written.
pub fn save_masked_lm<B: Backend>(
    folder: &Path,
    config: &EncoderConfig,
    model: &MaskedLm<B>,
) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let mut tensors = weights::collect(&model.encoder, "encoder");
    tensors.extend(weights::collect(&model.head, "head"));
    let path = folder.join(WEIGHTS_FILE);
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors.iter(), Some(metadata))
        .map_err(|source| Error::Safetensors { path: path.clone(), source })?;
    write_file(&path, &bytes)?;
    write_file(&folder.join(CONFIG_FILE), format!("{:#}\n", config.to_json()).as_bytes())
}

fn read_weights(folder: &Path) -> Result<(Vec<u8>, PathBuf), Error> {
    let path = folder.join(WEIGHTS_FILE);
    let bytes = fs::read(&path).map_err(Error::io(&path))?;
    Ok((bytes, path))
}

/// Each layer has tensors of its own: a configuration of more layers than the file
/// has tensors is refused before they are listed.
fn check_depth(config: &EncoderConfig, file: &SafeTensors<'_>) -> Result<(), Error> {
    let n_tensors = file.len();
    if config.num_hidden_layers <= n_tensors {
        return Ok(());
    }
    let found = config.num_hidden_layers.to_string();
    let expected = format!("at most the {n_tensors} tensors of {WEIGHTS_FILE}");
    Err(Error::Config { key: "num_hidden_layers", found, expected })
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes)
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.commit().map_err(Error::io(path))
}
