//! What several tests share: the golden folder, small genes, small encoders.

use std::path::PathBuf;

use gf_corpus::{GeneId, MetadataKind, MetadataValue};
use gf_tokenize::{CellCounts, RankEncoder, TokenId, TokenSequence, Vocabulary};

/// A path below the shared folder, or nothing, said aloud, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GF_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let path = root.join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is absent", path.display());
        return None;
    }
    Some(path)
}

pub fn gene(number: u64) -> GeneId {
    format!("ENSG{number:011}").parse().unwrap()
}

pub fn sequence(tokens: &[u32]) -> TokenSequence {
    TokenSequence::new(tokens.iter().copied().map(TokenId).collect()).unwrap()
}

/// Tokens of a cell whose genes are the columns 0, 1, 2 …
pub fn encode(encoder: &RankEncoder, genes: &[GeneId], counts: &[u32]) -> Option<(Vec<u32>, bool)> {
    let total = counts.iter().map(|&count| u64::from(count)).sum();
    let columns: Vec<u32> = (0..counts.len() as u32).collect();
    let cell = CellCounts { genes: &columns, counts, total };
    let encoding = encoder.encode(&encoder.gene_columns(genes.iter().copied()), cell)?;
    Some((encoding.tokens.tokens().iter().map(|token| token.0).collect(), encoding.truncated))
}

/// An encoder over genes 1 to 9 with medians of 1.
pub fn nine_genes() -> RankEncoder {
    let genes: Vec<_> = (1..10).map(gene).collect();
    let medians = genes.iter().map(|&gene| (gene, 1.0));
    RankEncoder::from_medians(Vocabulary::from_genes(genes.iter().copied()), medians, 4096).unwrap()
}

pub fn text_column(name: &str) -> (String, MetadataKind) {
    (name.to_owned(), MetadataKind::Text)
}

pub fn text(value: Option<&str>) -> MetadataValue<'_> {
    value.map_or(MetadataValue::Missing, MetadataValue::Text)
}
