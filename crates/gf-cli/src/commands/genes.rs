//! Genes as they are typed, and as they are shown.

use std::fs;

use gf_corpus::{Annotation, GeneId, Resolution};
use gf_tokenize::{TokenId, Vocabulary};

use crate::failure::Failure;

/// The tokens of `--genes`, in their order; `None` for all.
///
/// # Errors
///
/// There is no gene, one is not known, or the file of a list cannot be read.
pub fn listed_genes(text: &str, vocabulary: &Vocabulary) -> Result<Option<Vec<TokenId>>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let listed = match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::Error(format!("{path}: {error}").into()))?,
        None => text.to_owned(),
    };
    let names = listed.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty());
    let mut genes = Vec::new();
    for name in names {
        let gene = token(name, vocabulary)?;
        if !genes.contains(&gene) {
            genes.push(gene);
        }
    }
    if genes.is_empty() {
        return Err(Failure::Usage(format!("--genes {text}: no gene, expected at least one")));
    }
    Ok(Some(genes))
}

/// The token of an Ensembl id (with or without version), symbol or alias.
///
/// # Errors
///
/// The gene is not known, or not among the tokens.
pub fn token(name: &str, vocabulary: &Vocabulary) -> Result<TokenId, Failure> {
    let id = match GeneId::from_versioned(name) {
        Some(id) => id,
        None => id_of(name)?,
    };
    vocabulary.id(id).ok_or_else(|| {
        let n_tokens = vocabulary.len();
        Failure::Usage(format!(
            "gene {name} ({id}) is not among the vocabulary's {n_tokens} tokens"
        ))
    })
}

/// The symbol of an Ensembl id.
pub fn symbol(annotation: &Annotation, id: &str) -> Option<String> {
    Some(annotation.gene(id.parse().ok()?)?.symbol.to_owned())
}

fn id_of(name: &str) -> Result<GeneId, Failure> {
    match Annotation::shipped()?.resolve(name) {
        Resolution::Found(id, _) => Ok(id),
        Resolution::Ambiguous => {
            Err(Failure::Usage(format!("several genes are called {name}, expected an Ensembl id")))
        }
        Resolution::Unknown => Err(Failure::Usage(format!(
            "gene {name} is not known, expected an Ensembl id, symbol or alias"
        ))),
    }
}
