//! Genes as they are typed.

use gf_corpus::{Annotation, GeneId, Resolution};
use gf_tokenize::{TokenId, Vocabulary};

use crate::failure::Failure;

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
