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

use self::{
    features::{Features, Row},
    matrix::Matrix,
};
use super::{
    CountSource, OtherFeatures, SourceBlock, SourceGene, SourceOptions,
    hdf5::{Data, H5},
    texts::{Texts, Vector},
    values::Values,
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::MetadataField,
};

mod features;
mod matrix;

/// Most cells of a block, and values of a sum, read at a time.
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

impl TenxSource {
    pub(super) fn open(h5: &H5, options: &SourceOptions) -> Result<Self> {
        let mut texts = Texts::open(h5)?;
        let chosen = features::choose(h5, &mut texts, options.layer.as_deref())?;
        let features = Features::read(h5, &mut texts, &chosen.group)?;
        let barcodes = Vector::expect(h5, &format!("{}/barcodes", chosen.group))?;
        let matrix = Matrix::open(h5, &chosen.group, features.rows.len(), barcodes.len())?;
        let mut other = features.other();
        let mut apart = Vec::new();
        for (group, n_rows) in chosen.apart {
            let name = features::foreign(&group);
            other.insert(name.clone(), OtherFeatures { rows: n_rows as u64, counts: 0 });
            apart.push((name, h5.vector(&format!("{group}/data"))?));
        }
        let path = h5.path().to_owned();
        Ok(Self { path, features, texts, barcodes, matrix, other, apart, next_cell: 0 })
    }

    /// Adds a cell of a span's gene entries; the others are only summed.
    fn push_cell(&mut self, span: [usize; 2], id: &str, counts: &mut CountMatrix) -> Result<()> {
        let (features, other) = (&self.features, &mut self.other);
        let bad = self.matrix.each(span, |rows, values| {
            if features.kinds.is_empty() {
                // Every row is a gene, by its own number.
                return counts.push_part(rows, values);
            }
            for (&row, &count) in rows.iter().zip(values) {
                match features.rows[row as usize] {
                    Row::Gene(gene) => counts.push_part(&[gene], &[count]),
                    Row::Other(kind) => add(other, &features.kinds[kind as usize], count.into()),
                }
            }
        })?;
        let Some((row, found)) = bad else { return counts.end_row() };
        Err(Error::NotCounts {
            path: self.path.clone(),
            layer: self.matrix.group.clone(),
            cell: id.to_owned(),
            gene: self.features.name(row).to_owned(),
            found,
        })
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

    fn columns(&self) -> &[MetadataField] {
        &[]
    }

    fn other_features(&self) -> &BTreeMap<String, OtherFeatures> {
        &self.other
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        let start = self.next_cell;
        let end = self.n_cells().min(start.saturating_add(max_cells.clamp(1, CHUNK)));
        if end == self.n_cells() {
            self.sum_apart()?;
        }
        if start == end {
            return Ok(None);
        }
        let cell_ids = self.texts.words(&self.barcodes, start, end)?;
        let mut counts = CountMatrix::new(self.features.genes.len());
        let offsets = self.matrix.offsets(start, end)?;
        // Whatever the file claims, no more room at once than a window takes.
        counts.reserve(CHUNK.min(offsets[end - start] - offsets[0]));
        for (span, id) in offsets.windows(2).zip(&cell_ids) {
            self.push_cell([span[0], span[1]], id, &mut counts)?;
        }
        self.next_cell = end;
        Ok(Some(SourceBlock { cell_ids, counts, columns: Vec::new() }))
    }
}
