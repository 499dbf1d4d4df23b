//! A model folder as `transformers` writes and reads it: `config.json` beside the
//! weights.

mod labels;

use std::{fs, io::Write, path::Path};

use atomic_write_file::AtomicWriteFile;
use burn::{module::Module, tensor::backend::Backend};
use serde_json::Value;

pub use crate::weights::store::{TensorStore, WEIGHTS_FILE, weight_files};
use crate::{
    CellClassifier, Encoder, EncoderConfig, Error, GeneClassifier, MaskedLm, MultiTaskClassifier,
    config::read_json,
    head::{
        cell::CellHead,
        gene::GeneHead,
        multi_task::{MultiTaskHead, Pooling},
    },
    weights::{self, keymap},
};

/// File name of the configuration.
pub const CONFIG_FILE: &str = "config.json";

/// An opened model folder: its configuration is checked, its weights are
/// memory-mapped and read tensor by tensor when a model is asked for.
///
/// Weights are `model.safetensors`, the shards of `model.safetensors.index.json`,
/// `pytorch_model.bin` or the shards of `pytorch_model.bin.index.json`, in F64, F32, F16
/// or BF16; models compute in F32 unless [`cast`](Encoder::cast). The files must not be
/// changed meanwhile.
pub struct Checkpoint {
    config: EncoderConfig,
    labels: Vec<String>,
    store: TensorStore,
}

impl Checkpoint {
    /// Opens a model folder.
    ///
    /// # Errors
    ///
    /// A file is absent or malformed, or the configuration is not supported.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CONFIG_FILE);
        let json = read_json(&path)?;
        let labels = labels::read(&json)?;
        let config = EncoderConfig::from_json(json, &path)?;
        let store = TensorStore::open(folder)?;
        check_depth(&config, &store)?;
        Ok(Self { config, labels, store })
    }

    /// The encoder's configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Every tensor of the folder, whatever model it is of.
    pub fn tensors(&self) -> &TensorStore {
        &self.store
    }

    /// Names of the classes of a cell or gene head; `LABEL_0`, `LABEL_1` where the
    /// configuration names none, as in `transformers`.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Tensors that are no part of the encoder, by name.
    pub fn head_tensors(&self) -> impl Iterator<Item = &str> {
        self.store.names().filter(|name| is_head(name))
    }

    /// The encoder; tensors of heads are left unread.
    ///
    /// # Errors
    ///
    /// Tensors do not fit the configuration: they are listed by name.
    pub fn encoder<B: Backend>(&self, device: &B::Device) -> Result<Encoder<B>, Error> {
        weights::check(&self.store, &keymap::encoder_tensors(&self.config), is_head)?;
        Ok(self.load_encoder(device))
    }

    /// The pretrained model with its masked language head.
    ///
    /// # Errors
    ///
    /// As [`encoder`](Self::encoder); a folder without such a head lists its missing
    /// tensors.
    pub fn masked_lm<B: Backend>(&self, device: &B::Device) -> Result<MaskedLm<B>, Error> {
        self.check(keymap::masked_lm_tensors(&self.config))?;
        let head = self.config.init_masked_lm(device)?.head;
        let head = weights::load(head, "head", &self.store);
        Ok(MaskedLm { encoder: self.load_encoder(device), head })
    }

    /// A model fine-tuned on cells, with one class per [label](Self::labels).
    ///
    /// # Errors
    ///
    /// As [`masked_lm`](Self::masked_lm).
    pub fn cell_classifier<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<CellClassifier<B>, Error> {
        let n_classes = self.labels.len();
        self.check(keymap::cell_tensors(&self.config, n_classes))?;
        let head = CellHead::init(&self.config, n_classes, device);
        let head = weights::load(head, "head", &self.store);
        Ok(CellClassifier { encoder: self.load_encoder(device), head })
    }

    /// A model fine-tuned on genes, with one class per [label](Self::labels).
    ///
    /// # Errors
    ///
    /// As [`masked_lm`](Self::masked_lm).
    pub fn gene_classifier<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<GeneClassifier<B>, Error> {
        let n_classes = self.labels.len();
        self.check(keymap::gene_tensors(&self.config, n_classes))?;
        let head = GeneHead::init(&self.config, n_classes, device);
        let head = weights::load(head, "head", &self.store);
        Ok(GeneClassifier { encoder: self.load_encoder(device), head })
    }

    /// A model fine-tuned on several tasks: as many, of as many classes, as there are
    /// `classification_heads` in the file.
    ///
    /// # Errors
    ///
    /// As [`masked_lm`](Self::masked_lm).
    pub fn multi_task_classifier<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<MultiTaskClassifier<B>, Error> {
        let n_classes = self.task_classes();
        let attention = self.store.get(keymap::ATTENTION_POOL).is_some();
        let pooling = if attention { Pooling::Attention } else { Pooling::Cls };
        self.check(keymap::multi_task_tensors(&self.config, &n_classes, pooling))?;
        let head = MultiTaskHead::init(&self.config, &n_classes, pooling, device);
        let head = weights::load(head, "head", &self.store);
        Ok(MultiTaskClassifier { encoder: self.load_encoder(device), head })
    }

    /// Classes of each task; at least one task, so that its absence is reported.
    fn task_classes(&self) -> Vec<usize> {
        let classes =
            |task: usize| Some(*self.store.get(&keymap::task_bias(task))?.shape().first()?);
        let first = classes(0).unwrap_or(1);
        std::iter::once(first).chain((1..).map_while(classes)).collect()
    }

    fn check(&self, tensors: Vec<keymap::TensorSpec>) -> Result<(), Error> {
        weights::check(&self.store, &tensors, keymap::is_redundant)
    }

    fn load_encoder<B: Backend>(&self, device: &B::Device) -> Encoder<B> {
        weights::load(Encoder::init(&self.config, device), "encoder", &self.store)
    }
}

/// Loads the encoder of a model folder; see [`Checkpoint::encoder`].
///
/// # Errors
///
/// As [`Checkpoint::open`] and [`Checkpoint::encoder`].
pub fn load_encoder<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(EncoderConfig, Encoder<B>), Error> {
    let checkpoint = Checkpoint::open(folder)?;
    let encoder = checkpoint.encoder(device)?;
    Ok((checkpoint.config, encoder))
}

/// Loads a pretrained model; see [`Checkpoint::masked_lm`].
///
/// # Errors
///
/// As [`Checkpoint::open`] and [`Checkpoint::masked_lm`].
pub fn load_masked_lm<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(EncoderConfig, MaskedLm<B>), Error> {
    let checkpoint = Checkpoint::open(folder)?;
    let model = checkpoint.masked_lm(device)?;
    Ok((checkpoint.config, model))
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
    save(folder, &config.to_json(), model)
}

/// Writes a model fine-tuned on cells, as [`save_masked_lm`]; `labels` name its classes.
///
/// # Errors
///
/// As [`save_masked_lm`], or there is not one label per class.
pub fn save_cell_classifier<B: Backend>(
    folder: &Path,
    config: &EncoderConfig,
    model: &CellClassifier<B>,
    labels: &[String],
) -> Result<(), Error> {
    let [_, n_classes] = model.head.classifier.weight.dims();
    let json = labels::write(config, "BertForSequenceClassification", labels, n_classes)?;
    save(folder, &json, model)
}

/// Writes a model fine-tuned on genes, as [`save_masked_lm`]; `labels` name its classes.
///
/// # Errors
///
/// As [`save_masked_lm`], or there is not one label per class.
pub fn save_gene_classifier<B: Backend>(
    folder: &Path,
    config: &EncoderConfig,
    model: &GeneClassifier<B>,
    labels: &[String],
) -> Result<(), Error> {
    let [_, n_classes] = model.head.classifier.weight.dims();
    let json = labels::write(config, "BertForTokenClassification", labels, n_classes)?;
    save(folder, &json, model)
}

/// Writes a model fine-tuned on several tasks, as [`save_masked_lm`]; the
/// configuration is that of the encoder, as the reference writes it.
///
/// # Errors
///
/// As [`save_masked_lm`].
pub fn save_multi_task_classifier<B: Backend>(
    folder: &Path,
    config: &EncoderConfig,
    model: &MultiTaskClassifier<B>,
) -> Result<(), Error> {
    save(folder, &config.to_json(), model)
}

fn save<B: Backend, M: Module<B>>(folder: &Path, config: &Value, model: &M) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    weights::writer::write(model, &folder.join(WEIGHTS_FILE))?;
    let path = folder.join(CONFIG_FILE);
    let mut file = AtomicWriteFile::open(&path).map_err(Error::io(&path))?;
    file.write_all(format!("{config:#}\n").as_bytes()).map_err(Error::io(&path))?;
    file.commit().map_err(Error::io(&path))
}

/// Whatever is not the encoder's: heads, poolers and buffers.
fn is_head(name: &str) -> bool {
    keymap::is_redundant(name) || !name.starts_with("bert.")
}

/// Each layer has tensors of its own: a configuration of more layers than there are
/// tensors is refused before they are listed.
fn check_depth(config: &EncoderConfig, store: &TensorStore) -> Result<(), Error> {
    let n_tensors = store.len();
    if config.num_hidden_layers <= n_tensors {
        return Ok(());
    }
    let found = config.num_hidden_layers.to_string();
    let expected = format!("at most the {n_tensors} tensors of {}", store.path().display());
    Err(Error::Config { key: "num_hidden_layers", found, expected })
}
