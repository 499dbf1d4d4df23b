//! The names and shapes of a checkpoint's tensors (REFERENCE.md §3.3).

use crate::{EncoderConfig, head::multi_task::Pooling};

/// A tensor that a checkpoint of a given configuration holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// Name in the file.
    pub name: String,
    /// Shape in the file: `[d_output, d_input]` for dense weights.
    pub shape: Vec<usize>,
}

/// Name of the scores of a multi-task model's learned average.
pub(crate) const ATTENTION_POOL: &str = "attention_pool.attention_weights";

/// Module path segments and their names in the file, applied in this order.
const SEGMENTS: [(&str, &str); 20] = [
    ("encoder.embeddings.layer_norm", "bert.embeddings.LayerNorm"),
    ("encoder.embeddings", "bert.embeddings"),
    ("encoder.layers", "bert.encoder.layer"),
    ("attention.query", "attention.self.query"),
    ("attention.key", "attention.self.key"),
    ("attention.value", "attention.self.value"),
    ("attention.output", "attention.output.dense"),
    ("attention.layer_norm", "attention.output.LayerNorm"),
    ("feed_forward.intermediate", "intermediate.dense"),
    ("feed_forward.output", "output.dense"),
    ("feed_forward.layer_norm", "output.LayerNorm"),
    ("head.dense", "cls.predictions.transform.dense"),
    ("head.layer_norm", "cls.predictions.transform.LayerNorm"),
    ("head.bias", "cls.predictions.bias"),
    ("head.pooler", "bert.pooler.dense"),
    ("head.classifier", "classifier"),
    ("head.classification_heads", "classification_heads"),
    ("head.attention_pool", ATTENTION_POOL),
    ("gamma", "weight"),
    ("beta", "bias"),
];

/// The file's name for the parameter at a module path.
pub(crate) fn file_name(path: &[String]) -> String {
    let path = path.join(".");
    SEGMENTS.iter().fold(path, |name, (module, file)| replace_segment(&name, module, file))
}

/// Replaces `from` where it starts and ends at a dot or an end of the path.
fn replace_segment(path: &str, from: &str, to: &str) -> String {
    let dotted = format!(".{path}.").replace(&format!(".{from}."), &format!(".{to}."));
    dotted[1..dotted.len() - 1].to_owned()
}

/// Tensors of the encoder alone.
pub(crate) fn encoder_tensors(config: &EncoderConfig) -> Vec<TensorSpec> {
    let d_model = config.hidden_size;
    let mut tensors = Vec::new();
    for (table, rows) in [
        ("word_embeddings", config.vocab_size),
        ("position_embeddings", config.max_position_embeddings),
        ("token_type_embeddings", config.type_vocab_size),
    ] {
        let name = format!("bert.embeddings.{table}.weight");
        tensors.push(TensorSpec { name, shape: vec![rows, d_model] });
    }
    tensors.extend(norm("bert.embeddings.LayerNorm", d_model));
    for layer in 0..config.num_hidden_layers {
        tensors.extend(layer_tensors(&format!("bert.encoder.layer.{layer}"), config));
    }
    tensors
}

/// Tensors of the encoder and its masked language head, the tied decoder absent.
pub(crate) fn masked_lm_tensors(config: &EncoderConfig) -> Vec<TensorSpec> {
    let d_model = config.hidden_size;
    let mut tensors = encoder_tensors(config);
    tensors.extend(dense("cls.predictions.transform.dense", d_model, d_model));
    tensors.extend(norm("cls.predictions.transform.LayerNorm", d_model));
    let name = "cls.predictions.bias".to_owned();
    tensors.push(TensorSpec { name, shape: vec![config.vocab_size] });
    tensors
}

/// Tensors of the encoder and a head over cells.
pub(crate) fn cell_tensors(config: &EncoderConfig, n_classes: usize) -> Vec<TensorSpec> {
    let d_model = config.hidden_size;
    let mut tensors = gene_tensors(config, n_classes);
    tensors.extend(dense("bert.pooler.dense", d_model, d_model));
    tensors
}

/// Tensors of the encoder and a head over genes.
pub(crate) fn gene_tensors(config: &EncoderConfig, n_classes: usize) -> Vec<TensorSpec> {
    let mut tensors = encoder_tensors(config);
    tensors.extend(dense("classifier", config.hidden_size, n_classes));
    tensors
}

/// Tensors of the encoder and one head per task.
pub(crate) fn multi_task_tensors(
    config: &EncoderConfig,
    n_classes: &[usize],
    pooling: Pooling,
) -> Vec<TensorSpec> {
    let d_model = config.hidden_size;
    let mut tensors = encoder_tensors(config);
    for (task, &n_classes) in n_classes.iter().enumerate() {
        tensors.extend(dense(&format!("classification_heads.{task}"), d_model, n_classes));
    }
    if pooling == Pooling::Attention {
        tensors.push(TensorSpec { name: ATTENTION_POOL.to_owned(), shape: vec![d_model, 1] });
    }
    tensors
}

/// Name of the bias of a task, one number per class.
pub(crate) fn task_bias(task: usize) -> String {
    format!("classification_heads.{task}.bias")
}

/// Tensors that carry nothing of their own: buffers, the tied decoder, a pooler.
pub(crate) fn is_redundant(name: &str) -> bool {
    name == "bert.embeddings.position_ids"
        || name.starts_with("cls.predictions.decoder.")
        || name.starts_with("bert.pooler.")
}

fn layer_tensors(prefix: &str, config: &EncoderConfig) -> Vec<TensorSpec> {
    let (d_model, d_ff) = (config.hidden_size, config.intermediate_size);
    let mut tensors = Vec::new();
    for part in ["self.query", "self.key", "self.value", "output.dense"] {
        tensors.extend(dense(&format!("{prefix}.attention.{part}"), d_model, d_model));
    }
    tensors.extend(norm(&format!("{prefix}.attention.output.LayerNorm"), d_model));
    tensors.extend(dense(&format!("{prefix}.intermediate.dense"), d_model, d_ff));
    tensors.extend(dense(&format!("{prefix}.output.dense"), d_ff, d_model));
    tensors.extend(norm(&format!("{prefix}.output.LayerNorm"), d_model));
    tensors
}

fn dense(name: &str, d_input: usize, d_output: usize) -> [TensorSpec; 2] {
    pair(name, vec![d_output, d_input], d_output)
}

fn norm(name: &str, d_model: usize) -> [TensorSpec; 2] {
    pair(name, vec![d_model], d_model)
}

fn pair(name: &str, weight: Vec<usize>, bias: usize) -> [TensorSpec; 2] {
    [
        TensorSpec { name: format!("{name}.weight"), shape: weight },
        TensorSpec { name: format!("{name}.bias"), shape: vec![bias] },
    ]
}
