//! Rank value encoding of one cell.
//!
//! "Each single-cell transcriptome is presented to the model as a rank value encoding where genes
//! are ranked by their expression in that cell normalised by their expression across the entire
//! corpus" (Theodoris et al., Nature 618:616, 2023, Methods). In symbols, for a gene with `x` counts
//! in a cell of `n` counts and with the non-zero median `m` over the corpus:
//!
//! ```text
//! value = x / n · 10,000 / m
//! ```
//!
//! Detected genes are sorted by falling value, framed by `<cls>` and `<eos>`, and cut to the longest
//! sequence the model takes. Medians put housekeeping genes back and transcription factors forward.
//!
//! The arithmetic is that of the reference's sparse path, bit for bit: reciprocals are multiplied,
//! from left to right, in `f64` (`tokenizer.py` of Geneformer at commit 05fcbeb,
//! `tokenize_anndata`, where scipy divides a sparse matrix by a row vector). Ties keep the order of
//! the gene columns; the reference's order of ties depends on the CPU.

use std::collections::HashMap;

use gf_corpus::{GeneId, Medians};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{
    error::{Error, Result},
    former::FormerIds,
    sequence::TokenSequence,
    token::TokenId,
    vocab::Vocabulary,
};

/// Counts of a cell are scaled to this total before ranking (CP10k).
const TARGET_SUM: f64 = 10_000.0;

/// Turns cells into token sequences: a vocabulary, the medians of its genes and a longest length.
///
/// ```
/// use gf_corpus::GeneId;
/// use gf_tokenize::{CellCounts, RankEncoder, Vocabulary};
/// let genes: Vec<GeneId> = ["ENSG00000000003", "ENSG00000000005", "ENSG00000000419"]
///     .map(|id| id.parse().unwrap())
///     .to_vec();
/// // The third gene is usually high, so ten counts of it say less than four of the first.
/// let medians = genes.iter().copied().zip([1.0, 1.0, 5.0]);
/// let encoder = RankEncoder::from_medians(Vocabulary::from_genes(genes.clone()), medians, 4096)?;
/// let columns = encoder.gene_columns(genes);
/// let cell = CellCounts { genes: &[0, 2], counts: &[4, 10], total: 14 };
/// let encoding = encoder.encode(&columns, cell).unwrap();
/// let tokens: Vec<u32> = encoding.tokens.tokens().iter().map(|token| token.0).collect();
/// assert_eq!(tokens, [2, 4, 6, 3]);
/// # Ok::<(), gf_tokenize::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RankEncoder {
    vocabulary: Vocabulary,
    former: FormerIds,
    /// By token; 0 for special tokens.
    medians: Vec<f64>,
    max_len: usize,
    medians_hash: String,
}

/// In which order, and with how many bits, values are computed. The default is the reference's for
/// sparse counts and totals of 64 bits, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// Divide by total and median, as the reference does for `.loom` files and dense matrices, and
    /// not multiply by their reciprocals, as scipy does for sparse ones.
    pub divides: bool,
    /// The total is a 32-bit float.
    pub single_total: bool,
    /// The counts are 32-bit floats or such integers as numpy turns into these beside them: with a
    /// total of 32 bits, values stay 32-bit floats until the median comes in.
    pub single_counts: bool,
}

impl Arithmetic {
    /// `x / n · 10,000` for every count of a cell.
    fn cp10k(self, total: u64) -> impl Fn(u32) -> f64 {
        let (single, wide) = (total as f32, total as f64);
        let stored = if self.single_total { f64::from(single) } else { wide };
        move |count| match self {
            Self { single_total: true, single_counts: true, divides: true } => {
                f64::from(count as f32 / single * TARGET_SUM as f32)
            }
            Self { single_total: true, single_counts: true, divides: false } => {
                f64::from(count as f32 * (1.0 / single) * TARGET_SUM as f32)
            }
            Self { divides: true, .. } => f64::from(count) / stored * TARGET_SUM,
            Self { single_total: true, .. } => {
                f64::from(count) * f64::from(1.0 / single) * TARGET_SUM
            }
            Self { .. } => f64::from(count) * (1.0 / wide) * TARGET_SUM,
        }
    }
}

/// What each gene column of a count matrix is worth to an encoder: its token and its median.
#[derive(Clone, Debug)]
pub struct GeneColumns {
    columns: Vec<GeneColumn>,
    medians: Vec<f64>,
}

/// What most cells look up of a gene, side by side in the cache.
#[derive(Clone, Copy, Debug)]
struct GeneColumn {
    token: Option<TokenId>,
    /// 1 / median.
    reciprocal: f64,
}

impl GeneColumns {
    fn token(&self, gene: u32) -> Option<TokenId> {
        self.columns.get(gene as usize).and_then(|column| column.token)
    }
}

/// The detected genes of a cell, in the order of the columns.
struct Detected {
    /// To be sorted: the upper half of a gene's inverted value, then its place among the cell's
    /// genes. Values are positive, so that their bits are in the order of the values, and inverted
    /// bits in falling order.
    keys: Vec<u64>,
    /// By place.
    inverted: Vec<u64>,
    /// By place.
    tokens: Vec<TokenId>,
}

impl Detected {
    /// Their tokens by falling value, ties by place.
    fn ranked(&mut self) -> impl Iterator<Item = TokenId> {
        let Self { keys, inverted, tokens } = self;
        keys.sort_unstable();
        // Few genes share the upper half of a value: these are told apart by the whole.
        for alike in keys.chunk_by_mut(|a, b| a >> 32 == b >> 32).filter(|run| run.len() > 1) {
            alike.sort_unstable_by_key(|&key| (inverted[place(key)], key));
        }
        keys.iter().map(|&key| tokens[place(key)])
    }
}

/// The place in a key of [`Detected`].
fn place(key: u64) -> usize {
    key as u32 as usize
}

/// The counts of one cell: one row of a sparse matrix.
#[derive(Clone, Copy, Debug)]
pub struct CellCounts<'a> {
    /// Gene columns, ascending and unique.
    pub genes: &'a [u32],
    /// Raw counts, one per entry of `genes`.
    pub counts: &'a [u32],
    /// All counts of the cell, also of genes that are no columns (the reference's `n_counts`).
    pub total: u64,
}

/// A cell in the model's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Its tokens.
    pub tokens: TokenSequence,
    /// Whether genes were cut off to fit the longest length.
    pub truncated: bool,
}

impl RankEncoder {
    /// Longest V2 sequence, `<cls>` and `<eos>` included.
    pub const MAX_LEN_V2: usize = 4096;
    /// Longest V1 sequence.
    pub const MAX_LEN_V1: usize = 2048;

    /// Longest sequence of the published models with a vocabulary like this one: without `<cls>` it is
    /// V1's.
    pub fn longest(vocabulary: &Vocabulary) -> usize {
        match vocabulary.special().cls {
            Some(_) => Self::MAX_LEN_V2,
            None => Self::MAX_LEN_V1,
        }
    }

    /// An encoder with the medians of a corpus.
    ///
    /// `max_len` is the longest sequence in tokens, special ones included.
    ///
    /// # Errors
    /// As [`RankEncoder::from_medians`].
    pub fn new(vocabulary: Vocabulary, medians: &Medians, max_len: usize) -> Result<Self> {
        Self::from_medians(vocabulary, medians.iter(), max_len)
    }

    /// An encoder with these non-zero medians, in CP10k. Genes outside the vocabulary are ignored;
    /// a gene that the vocabulary knows by a former id only may have its median under today's.
    ///
    /// # Errors
    /// The shipped annotation is damaged; a gene of the vocabulary has no positive finite median; `max_len` leaves no room for a gene.
    pub fn from_medians(
        vocabulary: Vocabulary,
        medians: impl IntoIterator<Item = (GeneId, f64)>,
        max_len: usize,
    ) -> Result<Self> {
        let n_special = vocabulary.special().n_framing();
        if max_len <= n_special {
            return Err(Error::MaxLenTooSmall { max_len, n_special });
        }
        let former = FormerIds::of(&vocabulary)?;
        let by_token = medians_by_token(&vocabulary, &former, medians);
        check_medians(&vocabulary, &by_token)?;
        let medians_hash = hash_medians(&vocabulary, &by_token);
        Ok(Self { vocabulary, former, medians: by_token, max_len, medians_hash })
    }

    /// Prepares the gene columns of a matrix. Genes should not repeat: a repeated gene would give a
    /// cell the same token twice (gf-corpus sums such columns).
    pub fn gene_columns(&self, genes: impl IntoIterator<Item = GeneId>) -> GeneColumns {
        let tokens: Vec<Option<TokenId>> = genes.into_iter().map(|gene| self.token(gene)).collect();
        let median = |token: &Option<TokenId>| token.map_or(1.0, |t| self.medians[t.index()]);
        let medians: Vec<f64> = tokens.iter().map(median).collect();
        let column = |(token, median): (_, &f64)| GeneColumn { token, reciprocal: 1.0 / median };
        let columns = tokens.into_iter().zip(&medians).map(column).collect();
        GeneColumns { columns, medians }
    }

    /// Encodes one cell; nothing if it has no gene of the vocabulary. Explicit zeros, and columns
    /// without a token, are no tokens.
    pub fn encode(&self, columns: &GeneColumns, cell: CellCounts<'_>) -> Option<Encoding> {
        self.encode_with(columns, cell, Arithmetic::default())
    }

    /// Like [`encode`](Self::encode), with values computed in a certain way.
    pub fn encode_with(
        &self,
        columns: &GeneColumns,
        cell: CellCounts<'_>,
        arithmetic: Arithmetic,
    ) -> Option<Encoding> {
        let mut detected = detected_genes(columns, cell, arithmetic);
        let n_detected = detected.tokens.len();
        if n_detected == 0 {
            return None;
        }
        let special = self.vocabulary.special();
        let room = self.max_len - special.n_framing();
        let mut tokens = Vec::with_capacity(n_detected.min(room) + special.n_framing());
        tokens.extend(special.cls);
        tokens.extend(detected.ranked().take(room));
        tokens.extend(special.eos);
        Some(Encoding { tokens: TokenSequence::new(tokens)?, truncated: n_detected > room })
    }

    /// The counts behind the tokens of a cell, in their order: CP10k, not divided by the median, 0 for
    /// special tokens (`keep_counts` of the reference). `encoding` is what [`encode`](Self::encode)
    /// gave for the same cell.
    pub fn normalised(
        &self,
        columns: &GeneColumns,
        cell: CellCounts<'_>,
        encoding: &Encoding,
        arithmetic: Arithmetic,
    ) -> Vec<f64> {
        let cp10k = arithmetic.cp10k(cell.total);
        let counted = cell
            .genes
            .iter()
            .zip(cell.counts)
            .filter_map(|(&gene, &count)| Some((columns.token(gene)?, cp10k(count))));
        let values: HashMap<TokenId, f64> = counted.collect();
        let value = |token| values.get(token).copied().unwrap_or(0.0);
        encoding.tokens.tokens().iter().map(value).collect()
    }

    /// The token of a gene: its own, or that of the one former id of it that the vocabulary has
    /// where it does not have today's.
    pub fn token(&self, gene: GeneId) -> Option<TokenId> {
        self.vocabulary.id(gene).or_else(|| self.former.tokens.get(&gene).copied())
    }

    /// Genes that get no token although the vocabulary has several of their former ids (each with
    /// these ids): which token is meant cannot be told.
    pub fn ambiguous_genes(&self) -> &[(GeneId, Vec<GeneId>)] {
        &self.former.ambiguous
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Longest sequence in tokens, special ones included.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// XXH3-128 of the medians of the vocabulary's genes, 32 hexadecimal digits. Together with
    /// [`Vocabulary::content_hash`] it says whether two data sets speak the same language.
    pub fn medians_hash(&self) -> &str {
        &self.medians_hash
    }
}

/// The detected genes of a cell with their values.
fn detected_genes(columns: &GeneColumns, cell: CellCounts<'_>, arithmetic: Arithmetic) -> Detected {
    let cp10k = arithmetic.cp10k(cell.total);
    let n = cell.genes.len();
    let (mut keys, mut inverted) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut tokens = Vec::with_capacity(n);
    for (&gene, &count) in cell.genes.iter().zip(cell.counts).filter(|&(_, &count)| count > 0) {
        let Some(column) = columns.columns.get(gene as usize) else { continue };
        let Some(token) = column.token else { continue };
        let value = match arithmetic.divides {
            true => cp10k(count) / columns.medians[gene as usize],
            false => cp10k(count) * column.reciprocal,
        };
        let bits = !value.to_bits();
        keys.push(bits >> 32 << 32 | tokens.len() as u64);
        inverted.push(bits);
        tokens.push(token);
    }
    Detected { keys, inverted, tokens }
}

/// Medians by token, 0 where there is none. A gene's own id comes before its id of today.
fn medians_by_token(
    vocabulary: &Vocabulary,
    former: &FormerIds,
    medians: impl IntoIterator<Item = (GeneId, f64)>,
) -> Vec<f64> {
    let mut by_token = vec![0.0; vocabulary.len()];
    let mut of_today = Vec::new();
    for (gene, median) in medians {
        match vocabulary.id(gene) {
            Some(token) => by_token[token.index()] = median,
            None => of_today.extend(former.tokens.get(&gene).map(|token| (*token, median))),
        }
    }
    for (token, median) in of_today {
        if by_token[token.index()] == 0.0 {
            by_token[token.index()] = median;
        }
    }
    by_token
}

fn check_medians(vocabulary: &Vocabulary, by_token: &[f64]) -> Result<()> {
    let usable = |median: f64| median > 0.0 && median.is_finite();
    let mut without = vocabulary.genes().filter(|(_, token)| !usable(by_token[token.index()]));
    match without.next() {
        Some((gene, _)) => Err(Error::MissingMedian { gene, n_genes: 1 + without.count() }),
        None => Ok(()),
    }
}

fn hash_medians(vocabulary: &Vocabulary, by_token: &[f64]) -> String {
    let mut hash = Xxh3Default::new();
    for (gene, token) in vocabulary.genes() {
        hash.update(format!("{gene}\t{:016x}\n", by_token[token.index()].to_bits()).as_bytes());
    }
    format!("{:032x}", hash.digest128())
}
