//! Histograms that add up: how many values of each gene fell into each bin.
//!
//! A bin holds the numbers that share their exponent and the first
//! [`MANTISSA_BITS`] bits of their mantissa, so it is at most 1/128 of its
//! lower end wide, whatever the size of the number. A gene takes 4 bytes a bin
//! from its lowest to its highest value: 512 bytes an octave, 6 KiB for values
//! that span a factor of 4,096.

use std::{
    collections::HashMap,
    io::{BufWriter, Write},
    ops::{ControlFlow, Range},
    path::Path,
    sync::mpsc::sync_channel,
};

use atomic_write_file::AtomicWriteFile;
use flate2::{Compression, GzBuilder};

use super::{Medians, cp10k};
use crate::{
    corpus::{CellBlock, Corpus, Selection},
    error::{Error, Result},
    gene::GeneId,
    ingest::Progress,
    source::Lines,
};

/// Bits of the mantissa a bin distinguishes.
const MANTISSA_BITS: u32 = 7;
/// Largest relative error of a sketch's median: the middle of a bin is at most
/// half a bin, 1/256 of its lower end, from any value in it.
pub const MEDIAN_SKETCH_ERROR: f64 = 1.0 / 256.0;
/// Bits of a number below those a bin distinguishes.
const IGNORED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
/// Bins of a gene, at most: all that positive numbers of 2^-64 to 2^64 fall into.
const MAX_BINS: usize = 128 << MANTISSA_BITS;
/// The bin of 2^-64.
const FIRST_BIN: u64 = (1023 - 64) << MANTISSA_BITS;
const HEADER: &str = "#gf-corpus median sketch\tversion 1\t7 mantissa bits";
/// Blocks of cells read ahead.
const QUEUE: usize = 4;

/// Non-zero values of every gene of some cells, in bins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MedianSketch {
    genes: HashMap<GeneId, Histogram>,
    n_cells: u64,
}

impl MedianSketch {
    /// Fills a sketch with the selected cells of a corpus, in one pass.
    ///
    /// # Errors
    /// What is wrong with a shard, or [`Error::Cancelled`].
    pub fn of(
        corpus: &Corpus,
        selection: Selection,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let mut histograms = vec![Histogram::default(); corpus.genes().len()];
        let n_cells =
            for_each_value(corpus, selection, progress, |gene, value| histograms[gene].add(value))?;
        let genes = corpus.genes().iter().map(|gene| gene.id).zip(histograms);
        let genes = genes.filter(|(_, histogram)| !histogram.counts.is_empty()).collect();
        Ok(Self { genes, n_cells })
    }

    /// Adds the cells of another sketch.
    ///
    /// # Errors
    /// [`Error::Sketch`] when a bin would hold more than 2³² − 1 values.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        for (id, histogram) in &other.genes {
            self.genes.entry(*id).or_default().merge(histogram)?;
        }
        self.n_cells += other.n_cells;
        Ok(())
    }

    /// Cells in it.
    #[must_use]
    pub fn n_cells(&self) -> u64 {
        self.n_cells
    }

    /// The medians, each within [`MEDIAN_SKETCH_ERROR`] of the exact one.
    #[must_use]
    pub fn medians(&self) -> Medians {
        let medians = self.genes.iter();
        let medians = medians.filter_map(|(&id, histogram)| Some((id, histogram.median()?)));
        let mut medians: Vec<(GeneId, f64)> = medians.collect();
        medians.sort_by_key(|&(id, _)| id);
        Medians(medians)
    }

    pub(super) fn window(&self, id: GeneId) -> Option<Window> {
        self.genes.get(&id)?.window()
    }

    /// Writes the sketch as gzip text: a gene a line, its lowest bin and counts.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
        self.write_to(&file).map_err(Error::io(path))?;
        file.commit().map_err(Error::io(path))
    }

    fn write_to(&self, file: &std::fs::File) -> std::io::Result<()> {
        let mut out = GzBuilder::new().write(BufWriter::new(file), Compression::default());
        writeln!(out, "{HEADER}\t{} cells", self.n_cells)?;
        let mut ids: Vec<&GeneId> = self.genes.keys().collect();
        ids.sort();
        for id in ids {
            let Histogram { first, counts } = &self.genes[id];
            write!(out, "{id}\t{first}\t")?;
            for (at, n) in counts.iter().enumerate() {
                if at > 0 {
                    write!(out, " ")?;
                }
                write!(out, "{n}")?;
            }
            writeln!(out)?;
        }
        out.finish()?.flush()
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// [`Error::Line`] with the first line that is none of a sketch.
    pub fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        lines.next_line()?;
        let n_cells = lines.text()?.strip_prefix(HEADER).and_then(|cells| {
            cells.strip_prefix('\t')?.strip_suffix(" cells")?.parse().ok()
        });
        let Some(n_cells) = n_cells else {
            return Err(lines.unexpected(HEADER.to_owned()));
        };
        let mut sketch = Self { genes: HashMap::new(), n_cells };
        while lines.next_line()?.is_some() {
            let gene = parse(lines.text()?);
            let is_new = gene.is_some_and(|(id, histogram)| {
                sketch.genes.insert(id, histogram).is_none()
            });
            if !is_new {
                let expected = "a new gene id, its lowest bin and counts".to_owned();
                return Err(lines.unexpected(expected));
            }
        }
        Ok(sketch)
    }
}

fn parse(line: &str) -> Option<(GeneId, Histogram)> {
    let mut cells = line.split('\t');
    let id = GeneId::new(cells.next()?)?;
    let first: u64 = cells.next()?.parse().ok()?;
    let counts: Option<Vec<u32>> = cells.next()?.split(' ').map(|n| n.parse().ok()).collect();
    let counts = counts.filter(|counts| counts.iter().any(|&n| n > 0))?;
    let end = first.checked_add(counts.len() as u64)?;
    let fits = first >= FIRST_BIN && end <= FIRST_BIN + MAX_BINS as u64 && cells.next().is_none();
    fits.then_some((id, Histogram { first, counts }))
}

/// Calls `visit` with the gene and CP10k of every count, while another thread
/// reads ahead; returns the number of cells.
pub(super) fn for_each_value(
    corpus: &Corpus,
    selection: Selection,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    mut visit: impl FnMut(usize, f64) -> Result<()>,
) -> Result<u64> {
    let total = corpus.n_cells_in(selection);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Result<CellBlock>>(QUEUE);
        // A send fails only when the other side has stopped, and knows why.
        scope.spawn(move || {
            corpus.select(selection).try_for_each(|block| sender.send(block))
        });
        let mut done = 0;
        for block in receiver {
            let block = block?;
            for ((genes, counts), &total) in block.counts.rows().zip(&block.totals) {
                for (&gene, &count) in genes.iter().zip(counts) {
                    visit(gene as usize, cp10k(count, total))?;
                }
            }
            done += block.cell_ids.len() as u64;
            if progress(Progress { done, total }).is_break() {
                return Err(Error::Cancelled);
            }
        }
        Ok(done)
    })
}

/// How many values fell into each bin, from the lowest used bin on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    first: u64,
    counts: Vec<u32>,
}

/// Where the median of a gene lies: the values of these bins hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) bins: Range<u64>,
    /// Values in the bins.
    pub(super) n_inside: u64,
    /// Values below them.
    pub(super) n_below: u64,
    pub(super) n_values: u64,
}

/// Bins ascend with the (positive) value.
pub(super) fn bin(value: f64) -> u64 {
    value.to_bits() >> IGNORED_BITS
}

/// The middle of a bin.
fn centre(bin: u64) -> f64 {
    let edge = |bin: u64| f64::from_bits(bin << IGNORED_BITS);
    (edge(bin) + edge(bin + 1)) / 2.0
}

impl Histogram {
    pub(super) fn add(&mut self, value: f64) -> Result<()> {
        self.add_n(bin(value), 1)
    }

    fn add_n(&mut self, bin: u64, n: u32) -> Result<()> {
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
        let sum = self.counts[at].checked_add(n);
        self.counts[at] = sum.ok_or(Error::Sketch { bin: centre(bin) })?;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        let bins = (other.first..).zip(&other.counts);
        bins.filter(|(_, n)| **n > 0).try_for_each(|(bin, &n)| self.add_n(bin, n))
    }

    fn n_values(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).sum()
    }

    /// The bins of the two middle values (one value, if their number is odd).
    pub(super) fn window(&self) -> Option<Window> {
        let n_values = self.n_values();
        let (low, high) = (n_values.checked_sub(1)? / 2, n_values / 2);
        let (mut n_below, mut before, mut start) = (0, 0, None);
        for (at, &n) in self.counts.iter().enumerate() {
            let through = before + u64::from(n);
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

    /// The median, its two middle values taken for the middles of their bins.
    fn median(&self) -> Option<f64> {
        let Window { bins, .. } = self.window()?;
        Some((centre(bins.start) + centre(bins.end - 1)) / 2.0)
    }
}
