//! Non-zero medians: for each gene, the median over the cells that have it of
//! count / total × 10,000 (CP10k).
//!
//! The median is exact. A first pass counts values in log-linear bins (the
//! exponent and the first [`MANTISSA_BITS`] bits of the number), which tells
//! in which bin the median lies; further passes collect only the values of
//! those bins, as many genes at a time as memory allows. No value depends on
//! the order of the cells. The reference uses t-digests instead, whose value
//! does (REFERENCE §2: crick's digest differs from the exact one by 0–1 %).

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::{ControlFlow, Range},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;

use crate::{
    corpus::Corpus,
    error::{Error, Result},
    gene::GeneId,
    ingest::Progress,
    source::Lines,
};

/// Bits of the mantissa a bin distinguishes: 32 bins an octave, each 2–3 % wide.
const MANTISSA_BITS: u32 = 5;
/// Values collected at a time in the exact passes (8 bytes each).
const COLLECTED: u64 = 1 << 25;
const HEADER: &str = "ensembl_id\tnonzero_median";

/// Counts to CP10k: `count / total × 10,000`, in the reference's order.
#[must_use]
pub fn cp10k(count: u32, total: u64) -> f64 {
    f64::from(count) / total as f64 * 10_000.0
}

/// One median per gene that was detected, sorted by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Medians(Vec<(GeneId, f64)>);

impl Medians {
    /// Takes medians in any order.
    ///
    /// # Errors
    /// [`Error::Length`] if a gene comes twice (the path is empty then).
    pub fn new(medians: Vec<(GeneId, f64)>) -> Result<Self> {
        Self::sorted(medians, Path::new(""))
    }

    fn sorted(mut medians: Vec<(GeneId, f64)>, path: &Path) -> Result<Self> {
        medians.sort_by_key(|&(id, _)| id);
        let twice = medians.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match twice {
            None => Ok(Self(medians)),
            Some(pair) => {
                let what = format!("medians of {}", pair[0].0);
                Err(Error::Length { path: path.to_owned(), what, found: 2, expected: 1 })
            }
        }
    }

    /// The median of a gene, in CP10k.
    #[must_use]
    pub fn get(&self, id: GeneId) -> Option<f64> {
        let found = self.0.binary_search_by_key(&id, |&(id, _)| id);
        found.ok().map(|at| self.0[at].1)
    }

    /// All medians, sorted by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (GeneId, f64)> + '_ {
        self.0.iter().copied()
    }

    /// Number of genes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no gene.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a table with the header `ensembl_id`, `nonzero_median`; gzip or plain.
    ///
    /// # Errors
    /// [`Error::Line`] with the first line that is no id and positive number.
    pub fn read_tsv(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        if lines.next_line()? != Some(HEADER.as_bytes()) {
            return Err(lines.unexpected(HEADER.to_owned()));
        }
        let mut medians = Vec::new();
        while lines.next_line()?.is_some() {
            let row = lines.text()?.split_once('\t');
            let row =
                row.and_then(|(id, value)| Some((GeneId::new(id)?, value.parse::<f64>().ok()?)));
            match row.filter(|(_, value)| value.is_finite() && *value > 0.0) {
                Some(row) => medians.push(row),
                None => return Err(lines.unexpected("a gene id and a positive number".to_owned())),
            }
        }
        Self::sorted(medians, path)
    }

    /// Writes the table; the numbers read back as the same bits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_tsv(&self, path: &Path) -> Result<()> {
        let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
        self.write(&file).map_err(Error::io(path))?;
        file.commit().map_err(Error::io(path))
    }

    fn write(&self, file: &File) -> std::io::Result<()> {
        let mut out = BufWriter::new(file);
        writeln!(out, "{HEADER}")?;
        for (id, median) in self.iter() {
            writeln!(out, "{id}\t{median}")?;
        }
        out.flush()
    }
}

/// The exact non-zero median of every gene detected in a corpus.
///
/// `progress` counts cells over two passes; on a large corpus there are more,
/// and the last call says `done == total` only at the end of the work.
///
/// # Errors
/// What is wrong with a shard, or [`Error::Cancelled`].
pub fn nonzero_medians(
    corpus: &Corpus,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Medians> {
    let n_cells = corpus.n_cells() as u64;
    let mut histograms = vec![Histogram::default(); corpus.genes().len()];
    let mut passes = Passes { done: 0, total: 2 * n_cells, progress };
    passes.run(corpus, |gene, value| histograms[gene].add(value))?;
    let windows: Vec<Option<Window>> = histograms.iter().map(Histogram::window).collect();
    drop(histograms);
    let groups = groups(&windows);
    passes.total = n_cells * (1 + groups.len() as u64);
    let mut medians = Vec::new();
    for group in groups {
        medians.extend(exact(corpus, &windows, group, &mut passes)?);
    }
    Medians::new(medians)
}

/// Walks over a corpus again and again, reporting one progress.
struct Passes<'a> {
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Passes<'_> {
    fn run(&mut self, corpus: &Corpus, mut visit: impl FnMut(usize, f64)) -> Result<()> {
        for block in corpus.blocks() {
            let block = block?;
            for ((genes, counts), &total) in block.counts.rows().zip(&block.totals) {
                for (&gene, &count) in genes.iter().zip(counts) {
                    visit(gene as usize, cp10k(count, total));
                }
            }
            self.done += block.cell_ids.len() as u64;
            let progress = Progress { done: self.done, total: self.total };
            if (self.progress)(progress).is_break() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }
}

/// How many values fell into each bin, from the lowest used bin on.
#[derive(Debug, Clone, Default)]
struct Histogram {
    first: u64,
    counts: Vec<u64>,
}

/// Where the median of a gene lies: the values of these bins hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    bins: Range<u64>,
    /// Values in the bins.
    n_inside: u64,
    /// Values below them.
    n_below: u64,
    n_values: u64,
}

/// Bins ascend with the (positive) value.
fn bin(value: f64) -> u64 {
    value.to_bits() >> (f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS)
}

impl Histogram {
    fn add(&mut self, value: f64) {
        let bin = bin(value);
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let n_new = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, n_new));
            self.first = bin;
        }
        let at = (bin - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// The bins of the two middle values (one value, if their number is odd).
    fn window(&self) -> Option<Window> {
        let n_values: u64 = self.counts.iter().sum();
        let (low, high) = (n_values.checked_sub(1)? / 2, n_values / 2);
        let (mut n_below, mut before, mut start) = (0, 0, None);
        for (at, &n) in self.counts.iter().enumerate() {
            let through = before + n;
            if start.is_none() && low < through {
                start = Some(at);
                n_below = before;
            }
            if let Some(start) = start.filter(|_| high < through) {
                let bins = self.first + start as u64..self.first + at as u64 + 1;
                return Some(Window { bins, n_inside: through - n_below, n_below, n_values });
            }
            before = through;
        }
        None
    }
}

/// Runs of genes whose windows together hold at most [`COLLECTED`] values.
fn groups(windows: &[Option<Window>]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (gene, window) in windows.iter().enumerate() {
        let n_inside = window.as_ref().map_or(0, |window| window.n_inside);
        if held + n_inside > COLLECTED && gene > start {
            groups.push(start..gene);
            (start, held) = (gene, 0);
        }
        held += n_inside;
    }
    groups.push(start..windows.len());
    groups
}

/// Collects the values around the medians of some genes and picks the middle.
fn exact(
    corpus: &Corpus,
    windows: &[Option<Window>],
    group: Range<usize>,
    passes: &mut Passes,
) -> Result<Vec<(GeneId, f64)>> {
    let capacity = |window: &Option<Window>| window.as_ref().map_or(0, |w| w.n_inside as usize);
    let mut inside: Vec<Vec<f64>> =
        windows[group.clone()].iter().map(|w| Vec::with_capacity(capacity(w))).collect();
    passes.run(corpus, |gene, value| {
        let window = if group.contains(&gene) { windows[gene].as_ref() } else { None };
        if window.is_some_and(|window| window.bins.contains(&bin(value))) {
            inside[gene - group.start].push(value);
        }
    })?;
    let genes = corpus.genes()[group.clone()].iter();
    let found = genes.zip(&windows[group]).zip(inside);
    Ok(found
        .filter_map(|((gene, window), values)| Some((gene.id, middle(window.as_ref()?, values)?)))
        .collect())
}

/// The median, given the values of its window.
fn middle(window: &Window, mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |rank: u64| values.get((rank - window.n_below) as usize).copied();
    let (low, high) = (at((window.n_values - 1) / 2)?, at(window.n_values / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// serde_json reads a number to within one unit in the last place.
    const JSON_ROUNDING: f64 = f64::EPSILON;

    fn median(values: &[f64]) -> Option<f64> {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        let window = histogram.window()?;
        let inside = values.iter().copied().filter(|value| window.bins.contains(&bin(*value)));
        middle(&window, inside.collect())
    }

    #[test]
    fn golden_medians_are_exact() {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
        let root = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
        let path = format!("{root}/golden/stats/medians.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {path} is absent");
            return;
        };
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut n_checked = 0;
        for case in golden["cases"].as_array().unwrap() {
            // One case keeps its values in a file of its own.
            let Some(values) = case["x"].as_array() else { continue };
            let values: Vec<f64> = values.iter().map(|value| value.as_f64().unwrap()).collect();
            let (found, expected) =
                (median(&values).unwrap(), case["numpy_median"].as_f64().unwrap());
            let difference = (found - expected).abs();
            let name = &case["name"];
            assert!(difference <= JSON_ROUNDING * expected, "{name}: {found}, expected {expected}");
            n_checked += 1;
        }
        assert!(n_checked >= 5, "{n_checked} cases");
    }

    #[test]
    fn middles_may_lie_in_distant_bins() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[1e-3, 1e6]), Some(500_000.000_5));
        assert_eq!(median(&[1e6, 1e-3, 1e-3, 1e6, 2e6]), Some(1e6));
        assert_eq!(median(&[3.0, 1.0, 1.0, 1.0, 3.0, 3.0]), Some(2.0));
    }

    #[test]
    fn groups_hold_every_gene_once() {
        let window =
            |n_inside| Some(Window { bins: 0..1, n_inside, n_below: 0, n_values: n_inside });
        let check = |windows: &[Option<Window>], ends: &[usize]| {
            let groups = groups(windows);
            assert_eq!(groups.iter().map(|group| group.end).collect::<Vec<_>>(), ends);
            assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        };
        check(&[None, window(5), None], &[3]);
        check(&[window(COLLECTED), None, window(1), window(COLLECTED)], &[2, 3, 4]);
        check(&[window(2 * COLLECTED), window(1)], &[1, 2]);
    }
}
