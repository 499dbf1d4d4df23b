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

use std::cell::RefCell;

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
    /// [`NO_TOKEN`] where there is none.
    tokens: Vec<TokenId>,
    /// 1 / median.
    reciprocals: Vec<f64>,
    /// Infinite where there is no token, so that no count has a value.
    medians: Vec<f64>,
}

/// No vocabulary has so many tokens.
const NO_TOKEN: TokenId = TokenId(u32::MAX);

impl GeneColumns {
    fn token(&self, gene: u32) -> Option<TokenId> {
        self.tokens.get(gene as usize).copied().filter(|&token| token != NO_TOKEN)
    }
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
        let token = |gene| self.token(gene).unwrap_or(NO_TOKEN);
        let tokens: Vec<TokenId> = genes.into_iter().map(token).collect();
        let median =
            |token: &TokenId| self.medians.get(token.index()).copied().unwrap_or(f64::INFINITY);
        let medians: Vec<f64> = tokens.iter().map(median).collect();
        let reciprocals = medians.iter().map(|median| 1.0 / median).collect();
        GeneColumns { tokens, reciprocals, medians }
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
        let special = self.vocabulary.special();
        let room = self.max_len - special.n_framing();
        SCRATCH.with_borrow_mut(|scratch| {
            let ranked = rank(columns, cell, arithmetic, scratch);
            let n_detected = ranked.len();
            if n_detected == 0 {
                return None;
            }
            let mut tokens = Vec::with_capacity(n_detected.min(room) + special.n_framing());
            tokens.extend(special.cls);
            let genes = ranked.iter().map(|&key| cell.genes[place(key)]);
            tokens.extend(genes.take(room).map(|gene| columns.tokens[gene as usize]));
            tokens.extend(special.eos);
            Some(Encoding { tokens: TokenSequence::new(tokens)?, truncated: n_detected > room })
        })
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
        let values: foldhash::HashMap<TokenId, f64> = counted.collect();
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

/// Room for the longest cell so far: what is in it is of cells before.
#[derive(Default)]
struct Scratch {
    keys: Vec<u64>,
    halfway: Vec<u64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Sees to it that there is room for `n` genes.
    fn fit(&mut self, n: usize) {
        if self.keys.len() < n {
            self.keys.resize(n, 0);
            self.halfway.resize(n, 0);
        }
    }
}

/// The place in a key of [`rank`].
fn place(key: u64) -> usize {
    key as u32 as usize
}

/// Ranks the detected genes of a cell that have a token, ties by their place: keys with these.
fn rank<'a>(
    columns: &GeneColumns,
    cell: CellCounts<'_>,
    arithmetic: Arithmetic,
    scratch: &'a mut Scratch,
) -> &'a [u64] {
    let cp10k = arithmetic.cp10k(cell.total);
    let GeneColumns { reciprocals, medians, .. } = columns;
    match arithmetic {
        Arithmetic { divides: false, single_total: false, .. } => {
            let of_one = 1.0 / cell.total as f64;
            let value = |count, reciprocal| f64::from(count) * of_one * TARGET_SUM * reciprocal;
            rank_by(value, reciprocals, cell, scratch)
        }
        Arithmetic { divides: false, .. } => {
            rank_by(|count, reciprocal| cp10k(count) * reciprocal, reciprocals, cell, scratch)
        }
        Arithmetic { divides: true, .. } => {
            rank_by(|count, median| cp10k(count) / median, medians, cell, scratch)
        }
    }
}

/// Ranks by `value`, which is given a count and what its gene has in `columns`, and is positive
/// where there are a count and a token.
///
/// What is sorted are keys: the upper half of a gene's value, inverted, then its place among the
/// cell's genes. The bits of positive values are in the order of the values, inverted ones in
/// falling order.
fn rank_by<'a>(
    value: impl Fn(u32, f64) -> f64,
    columns: &[f64],
    cell: CellCounts<'_>,
    scratch: &'a mut Scratch,
) -> &'a [u64] {
    scratch.fit(cell.genes.len().min(cell.counts.len()));
    let Scratch { keys, halfway } = scratch;
    let mut n_ranked = 0;
    for (place, (&gene, &count)) in cell.genes.iter().zip(cell.counts).enumerate() {
        let Some(&column) = columns.get(gene as usize) else { continue };
        let value = value(count, column);
        // Whether a gene has a token cannot be foretold: its key is written either way.
        keys[n_ranked] = !value.to_bits() >> 32 << 32 | place as u64;
        n_ranked += usize::from(value > 0.0);
    }
    let keys = &mut keys[..n_ranked];
    let whole = |key| {
        let place = place(key);
        !value(cell.counts[place], columns[cell.genes[place] as usize]).to_bits()
    };
    // Few are still alike: these are told apart by the whole value.
    let runs = sort_by_leading_bits(keys, &mut halfway[..n_ranked]);
    for alike in runs.filter(|run| run.len() > 1) {
        alike.sort_unstable_by_key(|&key| (whole(key), key));
    }
    keys
}

/// Bits of a digit of [`sort_by_leading_bits`].
const DIGIT_BITS: u32 = 10;
/// How often each digit comes, or where its keys go.
type Digits = [u32; 1 << DIGIT_BITS];

/// Sorts keys by the first two digits in which their upper halves differ, and leaves of these
/// only the digits: twice as fast here as comparing. Gives the runs that are alike in these bits.
fn sort_by_leading_bits<'a>(
    keys: &'a mut [u64],
    halfway: &mut [u64],
) -> impl Iterator<Item = &'a mut [u64]> + use<'a> {
    let upper = |key: u64| key >> 32;
    let (first, last) = keys
        .iter()
        .fold((u64::MAX, 0), |(first, last), &key| (first.min(upper(key)), last.max(upper(key))));
    let n_bits = u64::BITS - last.saturating_sub(first).leading_zeros();
    let shift = n_bits.saturating_sub(2 * DIGIT_BITS);
    let low = |key: u64| (key >> 32) as usize % (1 << DIGIT_BITS);
    let high = |key: u64| (key >> (32 + DIGIT_BITS)) as usize % (1 << DIGIT_BITS);
    let (mut of_low, mut of_high): (Digits, Digits) = ([0; _], [0; _]);
    for key in &mut *keys {
        *key = (upper(*key) - first) >> shift << 32 | place(*key) as u64;
        of_low[low(*key)] += 1;
        of_high[high(*key)] += 1;
    }
    scatter(keys, halfway, of_low, low);
    scatter(halfway, keys, of_high, high);
    keys.chunk_by_mut(|&a, &b| (a ^ b) >> 32 == 0)
}

/// Puts keys into the order of a digit, keeping the order within it, by how often each comes.
fn scatter(from: &[u64], to: &mut [u64], mut places: Digits, digit: impl Fn(u64) -> usize) {
    let mut sum = 0;
    for place in &mut places {
        sum += std::mem::replace(place, sum);
    }
    for &key in from {
        let place = &mut places[digit(key)];
        to[*place as usize] = key;
        *place += 1;
    }
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
