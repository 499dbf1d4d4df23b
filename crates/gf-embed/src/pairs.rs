//! Cosine similarity of pairs, drawn from three classes: different labels; the same
//! label in the same batch; the same label in another batch. If the model reads
//! biology and not the batch, the last two hardly differ and both lie above the first
//! (the paper's comparison of platforms, preservation and genome builds, REFERENCE.md §8).

use std::ops::Range;

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Error, similarity::cosine};

/// What decides the class of a pair; equal numbers stand for equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What both of a pair must share, as the cell type where genes are compared.
    pub within: u32,
    /// What makes two the same: the type of a cell, the id of a gene.
    pub label: u32,
    /// Where it was measured.
    pub batch: u32,
}

/// A class of pairs; both of a pair share [`Item::within`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairClass {
    /// Different labels, whatever the batch.
    Different,
    /// The same label in the same batch.
    SameBatch,
    /// The same label in different batches.
    OtherBatch,
}

impl PairClass {
    /// All classes, in the order of the similarity that is expected.
    pub const ALL: [Self; 3] = [Self::Different, Self::OtherBatch, Self::SameBatch];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::SameBatch => "same, same batch",
            Self::OtherBatch => "same, other batch",
        }
    }
}

/// Two rows of a table and how alike they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairCosine {
    /// The class.
    pub class: PairClass,
    /// Rows of the table, 0-based.
    pub rows: [usize; 2],
    /// Cosine of their embeddings.
    pub cosine: f64,
}

/// The cosines of up to `per_class` pairs of each class: all pairs where there are no
/// more, else pairs drawn at random with replacement, each as likely.
///
/// # Errors
///
/// There is not one item per row.
///
/// # Shapes
///
/// - `values` `[n_rows, d_model]`
pub fn pair_cosines(
    values: ArrayView2<'_, f32>,
    items: &[Item],
    per_class: usize,
    seed: u64,
) -> Result<Vec<PairCosine>, Error> {
    if items.len() != values.nrows() {
        return Err(Error::RowCount { found: items.len(), expected: values.nrows() });
    }
    let rows: Vec<Vec<f32>> = values.rows().into_iter().map(|row| row.to_vec()).collect();
    let sorted = Sorted::new(items);
    let pairs = PairClass::ALL.into_iter().flat_map(|class| {
        let pairs = sorted.pairs(class, per_class, seed);
        pairs.into_iter().map(move |pair| (class, pair))
    });
    let pairs: Vec<_> = pairs.collect();
    let cosines = pairs.into_par_iter().map(|(class, [a, b])| PairCosine {
        class,
        rows: [a, b],
        cosine: cosine(&rows[a], &rows[b]),
    });
    Ok(cosines.collect())
}

/// Items in order, so that those of a stratum, a label, a batch lie side by side.
struct Sorted {
    /// Row of the table at each place.
    rows: Vec<usize>,
    /// The places of the same stratum, label and batch around each place.
    runs: Vec<[Range<usize>; 3]>,
}

impl Sorted {
    fn new(items: &[Item]) -> Self {
        let mut rows: Vec<usize> = (0..items.len()).collect();
        rows.sort_by_key(|&row| items[row]);
        let runs_of = |same: fn(&Item, &Item) -> bool| {
            let runs = rows.chunk_by(|&a, &b| same(&items[a], &items[b])).map(<[usize]>::len);
            let starts = runs.scan(0, |end, len| {
                *end += len;
                Some(*end - len..*end)
            });
            starts.flat_map(|run| vec![run.clone(); run.len()]).collect::<Vec<_>>()
        };
        let within = runs_of(|a, b| a.within == b.within);
        let label = runs_of(|a, b| (a.within, a.label) == (b.within, b.label));
        let batch = runs_of(|a, b| a == b);
        let runs = within.into_iter().zip(label).zip(batch);
        let runs = runs.map(|((within, label), batch)| [within, label, batch]).collect();
        Self { rows, runs }
    }

    /// The places whose pair with `place` is of a class: an outer run without an inner one.
    fn partners(&self, place: usize, class: PairClass) -> (Range<usize>, Range<usize>) {
        let [within, label, batch] = self.runs[place].clone();
        match class {
            PairClass::Different => (within, label),
            PairClass::OtherBatch => (label, batch),
            PairClass::SameBatch => (batch, place..place + 1),
        }
    }

    fn pairs(&self, class: PairClass, most: usize, seed: u64) -> Vec<[usize; 2]> {
        let n_partners = |place: usize| {
            let (outer, inner) = self.partners(place, class);
            (outer.len() - inner.len()) as u64
        };
        // Each pair is counted from both of its places.
        let ends = (0..self.rows.len()).scan(0u64, |end, place| {
            *end += n_partners(place);
            Some(*end)
        });
        let ends: Vec<u64> = ends.collect();
        let total = ends.last().copied().unwrap_or(0);
        if total / 2 <= most as u64 {
            return self.all_pairs(class);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(class as u64);
        let draw = |_| {
            let nth = rng.random_range(0..total);
            let place = ends.partition_point(|&end| end <= nth);
            let nth = ends[place] - nth - 1;
            [self.rows[place], self.rows[self.partner(place, class, nth as usize)]]
        };
        (0..most).map(draw).collect()
    }

    fn partner(&self, place: usize, class: PairClass, nth: usize) -> usize {
        let (outer, inner) = self.partners(place, class);
        let before = inner.start - outer.start;
        if nth < before { outer.start + nth } else { inner.end + nth - before }
    }

    fn all_pairs(&self, class: PairClass) -> Vec<[usize; 2]> {
        let mut pairs = Vec::new();
        for place in 0..self.rows.len() {
            let (outer, inner) = self.partners(place, class);
            // Inner runs hold the place, so later partners all lie behind them.
            let later = inner.end..outer.end;
            pairs.extend(later.map(|other| [self.rows[place], self.rows[other]]));
        }
        pairs
    }
}
