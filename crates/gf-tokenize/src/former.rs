//! Genes that a vocabulary knows by an id of before.
//!
//! A corpus names a gene by its Ensembl id of today. Vocabularies live longer: 1,313 keys of gc30M
//! are ids that Ensembl has given up since. Where the id of today is no key itself, the gene has the
//! token of its former id. Where several former ids are keys, nobody can tell which it is.

use std::collections::BTreeMap;

use gf_corpus::{Annotation, GeneId};

use crate::{error::Result, token::TokenId, vocab::Vocabulary};

/// Ids of today that are no keys of a vocabulary, by the keys they had before.
#[derive(Clone, Debug, Default)]
pub(crate) struct FormerIds {
    /// The only former id's token.
    pub(crate) tokens: foldhash::HashMap<GeneId, TokenId>,
    /// Several former ids, ascending by the id of today.
    pub(crate) ambiguous: Vec<(GeneId, Vec<GeneId>)>,
}

impl FormerIds {
    /// Those of a vocabulary, by the annotation that ships with gf-corpus.
    pub(crate) fn of(vocabulary: &Vocabulary) -> Result<Self> {
        let mut candidates: BTreeMap<GeneId, Vec<GeneId>> = BTreeMap::new();
        for (old, today) in Annotation::shipped()?.retired() {
            if vocabulary.id(old).is_some() && vocabulary.id(today).is_none() {
                candidates.entry(today).or_default().push(old);
            }
        }
        let mut former = Self::default();
        for (today, mut old) in candidates {
            match old[..] {
                [only] => former.tokens.extend(vocabulary.id(only).map(|token| (today, token))),
                _ => {
                    old.sort_unstable();
                    former.ambiguous.push((today, old));
                }
            }
        }
        Ok(former)
    }
}
