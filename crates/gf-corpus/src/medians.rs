//! Non-zero medians: for each gene, the median over the cells that have it of
//! count / total × 10,000 (CP10k).
//!
//! One pass over the cells fills a [`MedianSketch`], which tells every median
//! to within [`MEDIAN_SKETCH_ERROR`] and adds up with the sketches of other
//! corpora and machines. [`nonzero_medians`] goes on from there and finds the
//! exact medians of one corpus. No value depends on the order of the cells. The
//! reference uses t-digests instead, whose value does (REFERENCE §2: crick's
//! digest differs from the exact one by 0–1 %).

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;

use crate::{
    dictionary::{read_dictionary, unfit},
    error::{Error, Result},
    gene::GeneId,
    pickle::{self, Value},
    source::Lines,
};

pub use self::{
    exact::{nonzero_medians, refine_medians},
    sketch::{MEDIAN_SKETCH_ERROR, MedianSketch},
};

mod exact;
mod sketch;

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

    /// Reads medians as they come: the reference's dictionary (a pickle), the same
    /// as a JSON object, or a table as [`read_tsv`](Self::read_tsv) takes. The
    /// content decides; each may be gzip.
    ///
    /// # Errors
    /// As [`read_dictionary`] and [`read_tsv`](Self::read_tsv); an entry that is
    /// no gene id with a positive number.
    pub fn open(path: &Path) -> Result<Self> {
        let Some(entries) = read_dictionary(path)? else { return Self::read_tsv(path) };
        let median = |(name, value): (String, Value)| {
            let number = match value {
                Value::Float(number) => Some(number),
                Value::Int(number) => Some(number as f64),
                _ => None,
            };
            let number = number.filter(|number| number.is_finite() && *number > 0.0);
            let row = GeneId::new(&name).zip(number);
            row.ok_or_else(|| {
                unfit(path, &name, format!("{value:?}"), "a gene id and a positive number")
            })
        };
        Self::sorted(entries.into_iter().map(median).collect::<Result<_>>()?, path)
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

    /// Writes the dictionary that the reference reads: a pickle of
    /// `{ensembl_id: median}`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_pickle(&self, path: &Path) -> Result<()> {
        let ids: Vec<String> = self.iter().map(|(id, _)| id.to_string()).collect();
        let medians = self.iter().map(|(_, median)| median);
        pickle::write_f64_dict(path, ids.iter().map(String::as_str).zip(medians))
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
