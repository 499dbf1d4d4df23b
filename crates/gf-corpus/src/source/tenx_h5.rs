//! 10x HDF5 files: `/matrix` of Cell Ranger 3 and later, `/GENOME` of those
//! before, and what other tools write alike.
//!
//! The matrix is stored cell by cell, so it is streamed: a block reads its
//! offsets, then its entries. Rows within a cell may come in any order. Rows
//! that are no genes are summed by feature type; so are the genes of other
//! species in a mixed file, as `Gene Expression (mm10)`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use self::features::{Features, Row};
use super::{
    CountSource, OtherFeatures, SourceBlock, SourceGene, SourceOptions,
    hdf5::{Data, H5},
    texts::{Texts, Vector},
    values::Values,
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
};

mod features;

/// Entries read at a time, unless one cell has more.
const CHUNK: usize = 1 << 18;

/// Whether a file has a group laid out as 10x does.
pub(super) fn is_tenx(h5: &H5) -> bool {
    !features::groups(h5).is_empty()
}

/// An open 10x HDF5 file.
pub(super) struct TenxSource {
    path: PathBuf,
    features: Features,
    texts: Texts,
    barcodes: Vector,
    matrix: Matrix,
    other: BTreeMap<String, OtherFeatures>,
    /// Counts of other genomes in groups of their own, summed at the end.
    apart: Vec<(String, Data)>,
    next_cell: usize,
}

/// The vectors of a matrix stored cell by cell.
struct Matrix {
    group: String,
    n_rows: usize,
    n_cells: usize,
    indptr: Data,
    indices: Data,
    data: Data,
}

/// The entries of some consecutive cells.
struct Entries {
    offsets: Vec<usize>,
    rows: Vec<u32>,
    counts: Vec<u32>,
}

impl TenxSource {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self> {
        let h5 = H5::open(path)?;
        let mut texts = Texts::open(&h5)?;
        let chosen = features::choose(&h5, &mut texts, options.layer.as_deref())?;
        let features = Features::read(&h5, &mut texts, &chosen.group)?;
        let barcodes = Vector::expect(&h5, &format!("{}/barcodes", chosen.group))?;
        let matrix = Matrix::open(&h5, &chosen.group, features.rows.len(), barcodes.len())?;
        let mut other = features.other();
        let mut apart = Vec::new();
        for (group, n_rows) in chosen.apart {
            let name = features::foreign(&group);
            other.insert(name.clone(), OtherFeatures { rows: n_rows as u64, counts: 0 });
            apart.push((name, h5.vector(&format!("{group}/data"))?));
        }
        let path = path.to_owned();
        Ok(Self { path, features, texts, barcodes, matrix, other, apart, next_cell: 0 })
    }

    /// Adds the cells from `start` to before `end`.
    fn read_cells(&mut self, start: usize, ids: &[String], counts: &mut CountMatrix) -> Result<()> {
        let mut from = 0;
        while from < ids.len() {
            let entries = self.read_entries(start + from, &ids[from..])?;
            let offset = entries.offsets[0];
            for span in entries.offsets.windows(2) {
                let span = span[0] - offset..span[1] - offset;
                let row = self.sort_out(&entries.rows[span.clone()], &entries.counts[span]);
                counts.push_row(row)?;
            }
            from += entries.offsets.len() - 1;
        }
        Ok(())
    }

    /// The entries of as many of the named cells as are read at a time.
    fn read_entries(&self, start: usize, ids: &[String]) -> Result<Entries> {
        let mut offsets = self.matrix.offsets(start, ids.len())?;
        let from = offsets[0];
        let fit = offsets.partition_point(|&end| end - from <= CHUNK);
        offsets.truncate(fit.max(2));
        let n = offsets[offsets.len() - 1] - from;
        let rows = self.matrix.rows(from, n)?;
        let values = Values::read(&self.matrix.data, &[from], &[n])?;
        let counts = values.counts().map_err(|(at, found)| Error::NotCounts {
            path: self.path.clone(),
            layer: self.matrix.group.clone(),
            cell: ids[offsets.partition_point(|&end| end <= from + at) - 1].clone(),
            gene: self.features.name(rows[at]).to_owned(),
            found,
        })?;
        Ok(Entries { offsets, rows, counts })
    }

    /// The gene entries of a cell; the others are only summed.
    fn sort_out(&mut self, rows: &[u32], counts: &[u32]) -> Vec<(u32, u32)> {
        let mut genes = Vec::with_capacity(rows.len());
        for (&row, &count) in rows.iter().zip(counts) {
            match self.features.rows[row as usize] {
                Row::Gene(gene) => genes.push((gene, count)),
                Row::Other(kind) => {
                    let kind = &self.features.kinds[kind as usize];
                    add(&mut self.other, kind, u64::from(count));
                }
            }
        }
        genes
    }

    /// Sums the counts of the genomes that have groups of their own.
    fn sum_apart(&mut self) -> Result<()> {
        for (name, data) in std::mem::take(&mut self.apart) {
            for from in (0..data.len()).step_by(CHUNK) {
                let n = CHUNK.min(data.len() - from);
                let counts = Values::read(&data, &[from], &[n])?.counts();
                let counts = counts.map_err(|(at, found)| Error::Encoding {
                    path: self.path.clone(),
                    object: data.object.clone(),
                    found: format!("{found} at {}", from + at),
                    expected: "raw counts (whole numbers from 0 to 4294967295)".to_owned(),
                })?;
                add(&mut self.other, &name, counts.into_iter().map(u64::from).sum());
            }
        }
        Ok(())
    }
}

fn add(other: &mut BTreeMap<String, OtherFeatures>, kind: &str, counts: u64) {
    if let Some(other) = other.get_mut(kind) {
        other.counts += counts;
    }
}

impl CountSource for TenxSource {
    fn path(&self) -> &Path {
        &self.path
    }

    fn layer(&self) -> &str {
        &self.matrix.group
    }

    fn genes(&self) -> &[SourceGene] {
        &self.features.genes
    }

    fn n_cells(&self) -> usize {
        self.matrix.n_cells
    }

    fn columns(&self) -> &[String] {
        &[]
    }

    fn unread_columns(&self) -> &[String] {
        &[]
    }

    fn other_features(&self) -> &BTreeMap<String, OtherFeatures> {
        &self.other
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        let start = self.next_cell;
        let end = self.n_cells().min(start.saturating_add(max_cells.max(1)));
        if end == self.n_cells() {
            self.sum_apart()?;
        }
        if start == end {
            return Ok(None);
        }
        let cell_ids = self.texts.words(&self.barcodes, start, end)?;
        let mut counts = CountMatrix::new(self.features.genes.len());
        self.read_cells(start, &cell_ids, &mut counts)?;
        self.next_cell = end;
        Ok(Some(SourceBlock { cell_ids, counts, columns: Vec::new() }))
    }
}

impl Matrix {
    fn open(h5: &H5, group: &str, n_rows: usize, n_cells: usize) -> Result<Self> {
        let part = |name: &str| h5.vector(&format!("{group}/{name}"));
        let (indptr, indices, data) = (part("indptr")?, part("indices")?, part("data")?);
        let shape = part("shape")?;
        h5.agree(&format!("{group}/shape: numbers"), shape.len(), 2)?;
        let shape: Vec<u64> = shape.integers(0, 2)?;
        let agree =
            |what: &str, found, expected| h5.agree(&format!("{group}/{what}"), found, expected);
        agree("shape: rows against the features", shape[0] as usize, n_rows)?;
        agree("shape: columns against the barcodes", shape[1] as usize, n_cells)?;
        if n_cells > u32::MAX as usize {
            return Err(h5.encoding(group, format!("{n_cells} cells"), "fewer than 2^32"));
        }
        agree("indptr: offsets against cells and one", indptr.len(), n_cells + 1)?;
        agree("data: stored values against indices", data.len(), indices.len())?;
        let matrix = Self { group: group.to_owned(), n_rows, n_cells, indptr, indices, data };
        let end = |at: usize| matrix.indptr.integers::<u64>(at, 1).map(|ends| ends[0] as usize);
        agree("indptr: the first offset", end(0)?, 0)?;
        agree("data: stored values against the last offset", matrix.data.len(), end(n_cells)?)?;
        Ok(matrix)
    }

    /// Where the entries of at most `n_cells` cells start, and their end.
    fn offsets(&self, start: usize, n_cells: usize) -> Result<Vec<usize>> {
        let offsets: Vec<u64> = self.indptr.integers(start, n_cells.min(CHUNK) + 1)?;
        let offsets: Vec<usize> = offsets.into_iter().map(|offset| offset as usize).collect();
        // Without duplicates a cell has an entry a row at most.
        let sound =
            |pair: &[usize]| (pair[0]..=pair[0].saturating_add(self.n_rows)).contains(&pair[1]);
        let wrong = offsets.windows(2).position(|pair| !sound(pair));
        let beyond = offsets.iter().position(|&end| end > self.data.len());
        match wrong.or(beyond) {
            None => Ok(offsets),
            Some(at) => Err(Error::Encoding {
                path: self.indptr.path.clone(),
                object: self.indptr.object.clone(),
                found: format!(
                    "{:?} from {} on",
                    &offsets[at..offsets.len().min(at + 2)],
                    start + at
                ),
                expected: format!(
                    "offsets that ascend by at most {} up to {}",
                    self.n_rows,
                    self.data.len()
                ),
            }),
        }
    }

    /// The rows of some entries.
    fn rows(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        let rows: Vec<u32> = if n == 0 { Vec::new() } else { self.indices.integers(from, n)? };
        match rows.iter().position(|&row| row as usize >= self.n_rows) {
            None => Ok(rows),
            Some(at) => Err(Error::Encoding {
                path: self.indices.path.clone(),
                object: self.indices.object.clone(),
                found: format!("index {} at {}", rows[at], from + at),
                expected: format!("indices below {}", self.n_rows),
            }),
        }
    }
}
