//! Results of the reference: the `*_raw.pickle` files of a folder (REFERENCE.md §6.5).

use std::{fs, path::Path};

use gf_corpus::pickle::{self, Value};
use gf_perturb::stats::Observations;
use gf_tokenize::TokenId;

use crate::failure::Failure;

/// How the names of these files end.
const SUFFIX: &str = "_raw.pickle";

/// Reads every such file of a folder, by name.
///
/// # Errors
///
/// There is none, or one is not what the reference writes.
pub fn read(folder: &Path) -> Result<Observations, Failure> {
    let failure = |what: String| Failure::Error(format!("{}: {what}", folder.display()).into());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failure(error.to_string()))? {
        let path = entry.map_err(|error| failure(error.to_string()))?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(failure(format!("found no *{SUFFIX}, expected those of one run")));
    }
    paths.sort();
    let mut observations = Observations::default();
    for path in &paths {
        if add_file(&mut observations, &pickle::read(path)?).is_none() {
            let what = "found another content, expected cosines by (gene, \"cell_emb\" or gene)";
            return Err(Failure::Error(format!("{}: {what}", path.display()).into()));
        }
    }
    Ok(observations)
}

fn add_file(observations: &mut Observations, value: &Value) -> Option<()> {
    let Value::Dict(entries) = value else { return None };
    for (key, value) in entries {
        match (key, value) {
            (Value::Str(state), Value::Dict(entries)) => entries
                .iter()
                .try_for_each(|(key, value)| add_entry(observations, Some(state), key, value))?,
            _ => add_entry(observations, None, key, value)?,
        }
    }
    Some(())
}

fn add_entry(
    observations: &mut Observations,
    state: Option<&str>,
    key: &Value,
    value: &Value,
) -> Option<()> {
    let (Value::Tuple(key), Value::List(numbers)) = (key, value) else { return None };
    let [perturbed, affected] = key.as_slice() else { return None };
    let genes = match perturbed {
        Value::Tuple(genes) => genes.iter().map(token).collect::<Option<Vec<_>>>()?,
        gene => vec![token(gene)?],
    };
    let number = |value: &Value| if let Value::Float(x) = value { Some(*x) } else { None };
    let numbers: Vec<f64> = numbers.iter().map(number).collect::<Option<_>>()?;
    match affected {
        Value::Str(text) if text == "cell_emb" => observations.add_cells(genes, state, &numbers),
        gene => observations.add_affected(genes, token(gene)?, &numbers),
    }
    Some(())
}

fn token(value: &Value) -> Option<TokenId> {
    let Value::Int(token) = value else { return None };
    u32::try_from(*token).ok().map(TokenId)
}
