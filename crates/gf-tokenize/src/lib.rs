//! Rank value encoding of cells and Hugging Face data sets of tokens.
//!
//! **The nouns.** A [`Vocabulary`] gives every gene a [`TokenId`]. A [`RankEncoder`] turns the counts
//! of one cell into a [`TokenSequence`]: its detected genes, the most telling first. [`tokenize`] does
//! so for every cell of a corpus and writes a folder that [`Dataset`] opens, as does Python's
//! `datasets.load_from_disk`. A [`TokenBatch`] is some of its rows as a padded tensor.
//!
//! **Why this shape.** The encoding is one pure function of one row of counts ([`rank`] reads like
//! the methods section), so cells can be encoded in any order by any number of threads and the bytes
//! on disk stay the same. The data set is the format of the ecosystem, with the vocabulary and a
//! small manifest beside it, so that a model can tell whether it speaks the same language. Tokens are
//! never loaded: a row is a slice of a memory-mapped file, and everything that slice relies on is
//! checked once, when the first row of its batch is asked for.
//!
//! ```
//! use gf_tokenize::{CellCounts, Dataset, DatasetWriter, RankEncoder, Vocabulary, WriterOptions};
//!
//! // Three genes, their medians over a corpus, and one cell of 14 counts.
//! let genes = ["ENSG00000000003", "ENSG00000000005", "ENSG00000000419"].map(|id| id.parse().unwrap());
//! let medians = genes.into_iter().zip([1.0, 1.0, 5.0]);
//! let encoder = RankEncoder::from_medians(Vocabulary::from_genes(genes), medians, 4096)?;
//! let cell = CellCounts { genes: &[0, 2], counts: &[4, 10], total: 14 };
//! let encoding = encoder.encode(&encoder.gene_columns(genes), cell).expect("two genes are known");
//!
//! let scratch = tempfile::tempdir().unwrap();
//! let folder = scratch.path().join("cells.dataset");
//! let mut writer = DatasetWriter::create(&folder, WriterOptions::default())?;
//! writer.push("cell-1", &encoding.tokens, &[])?;
//! writer.finish(encoder.vocabulary(), encoder.medians_hash(), encoder.max_len())?;
//!
//! let dataset = Dataset::open(&folder)?;
//! assert_eq!(dataset.cell_id(0)?, "cell-1");
//! assert_eq!(*dataset.tokens(0)?, [2, 4, 6, 3]);
//! # Ok::<(), gf_tokenize::Error>(())
//! ```
//!
//! This crate must never know a model, nor where the counts came from.

pub mod rank;

mod token;
mod vocab;
mod former;
mod sequence;
mod lengths;
mod tokenizer;
mod dataset;
mod split;
mod batch;
mod output;
mod error;

pub use batch::TokenBatch;
pub use dataset::{
    Dataset, DatasetColumn, DatasetWriter, Manifest, ModelTokens, VOCABULARY_FILE, WriterOptions,
};
pub use error::{ArrowFault, Error, Result};
pub use gf_corpus::{MetadataKind, MetadataValue};
pub use lengths::Lengths;
pub use rank::{Arithmetic, CellCounts, Encoding, GeneColumns, RankEncoder};
pub use sequence::TokenSequence;
pub use split::{Fractions, Split};
pub use token::{SpecialTokens, TokenId};
pub use tokenizer::{Compat, Progress, TokenizeOptions, TokenizeReport, tokenize};
pub use vocab::Vocabulary;
