//! The names of classes in a `config.json`.

use serde_json::{Map, Value};

use crate::{EncoderConfig, Error};

/// Classes that `transformers` assumes where `id2label` is absent.
const N_DEFAULT_LABELS: usize = 2;

/// The labels of a configuration, in the order of their classes.
pub(super) fn read(config: &Value) -> Result<Vec<String>, Error> {
    match config.get("id2label") {
        None | Some(Value::Null) => {
            Ok((0..N_DEFAULT_LABELS).map(|class| format!("LABEL_{class}")).collect())
        }
        Some(found) => in_order(found).ok_or_else(|| Error::Config {
            key: "id2label",
            found: found.to_string(),
            expected: "a label for each class from 0 on".to_owned(),
        }),
    }
}

fn in_order(id2label: &Value) -> Option<Vec<String>> {
    let id2label = id2label.as_object()?;
    let label = |class: usize| Some(id2label.get(&class.to_string())?.as_str()?.to_owned());
    (0..id2label.len()).map(label).collect()
}

/// The configuration of a classifier; one label per class.
pub(super) fn write(
    config: &EncoderConfig,
    architecture: &str,
    labels: &[String],
    n_classes: usize,
) -> Result<Value, Error> {
    if labels.len() != n_classes {
        return Err(Error::Labels { found: labels.len(), expected: n_classes });
    }
    let ids = || labels.iter().enumerate();
    let id2label: Map<_, _> =
        ids().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let label2id: Map<_, _> = ids().map(|(id, label)| (label.clone(), id.into())).collect();
    let mut json = config.to_json();
    json["architectures"] = serde_json::json!([architecture]);
    json["id2label"] = id2label.into();
    json["label2id"] = label2id.into();
    Ok(json)
}
