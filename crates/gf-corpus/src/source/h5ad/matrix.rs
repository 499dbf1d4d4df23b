//! The count matrix of an `.h5ad` file: CSR, CSC or dense, any number type.
//!
//! CSR and dense matrices are read block by block. CSC is stored gene by
//! gene, so it is turned once through a sort in bounded memory (12 bytes a
//! stored value on disk).

use super::super::{
    SourceGene,
    hdf5::{Data, H5},
    turned::{Entry, Turned},
    values::Values,
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    sort::ExternalSort,
};

/// Stored values looked at to tell raw counts from other numbers.
const PROBED: usize = 1 << 16;
/// Stored values read at a time.
const CHUNK: usize = 1 << 20;

/// What errors call the rows and columns.
pub(super) struct Names<'a> {
    pub(super) cells: &'a [String],
    pub(super) genes: &'a [SourceGene],
}

/// An open matrix, cells × genes.
pub(super) struct Matrix {
    layer: String,
    n_cells: usize,
    n_genes: usize,
    store: Store,
}

enum Store {
    Csr(Compressed),
    Csc { stored: Compressed, turned: Option<Turned> },
    Dense(Data),
}

/// The three vectors of a compressed matrix.
struct Compressed {
    indptr: Vec<usize>,
    indices: Data,
    data: Data,
}

impl Matrix {
    pub(super) fn open(h5: &H5, layer: &str, n_cells: usize, n_genes: usize) -> Result<Self> {
        let format =
            h5.attribute(layer, "encoding-type").or_else(|| h5.attribute(layer, "h5sparse_format"));
        let store = match format.as_deref() {
            Some("csr_matrix" | "csr") if h5.is_group(layer) => {
                Store::Csr(Compressed::open(h5, layer, n_cells, n_genes)?)
            }
            Some("csc_matrix" | "csc") if h5.is_group(layer) => {
                let stored = Compressed::open(h5, layer, n_genes, n_cells)?;
                Store::Csc { stored, turned: None }
            }
            _ if !h5.is_group(layer) => Store::Dense(dense(h5, layer, n_cells, n_genes)?),
            other => {
                let found = format!("encoding {:?}", other.unwrap_or("none"));
                return Err(h5.encoding(layer, found, "csr_matrix, csc_matrix or a dense array"));
            }
        };
        Ok(Self { layer: layer.to_owned(), n_cells, n_genes, store })
    }

    pub(super) fn layer(&self) -> &str {
        &self.layer
    }

    /// Whether the first stored values are raw counts.
    pub(super) fn probe(&self, names: &Names) -> Result<()> {
        match &self.store {
            Store::Csr(stored) | Store::Csc { stored, .. } => {
                let n = PROBED.min(stored.data.len());
                self.check(stored.read_values(0, n)?, 0, names).map(|_| ())
            }
            Store::Dense(data) => {
                let n = PROBED.div_ceil(self.n_genes.max(1)).min(self.n_cells);
                self.check(read_dense(data, 0, n, self.n_genes)?, 0, names).map(|_| ())
            }
        }
    }

    /// The cells from `start` to before `end`.
    pub(super) fn read(&mut self, start: usize, end: usize, names: &Names) -> Result<CountMatrix> {
        let whole = match &self.store {
            Store::Csc { stored, turned: None } => Some(self.turn(stored, names)?),
            _ => None,
        };
        if let (Store::Csc { turned, .. }, Some(whole)) = (&mut self.store, whole) {
            *turned = Some(whole);
        }
        let mut counts = CountMatrix::new(self.n_genes);
        if let Store::Csc { turned: Some(turned), .. } = &mut self.store {
            for cell in start..end {
                counts.push_row(turned.row(cell as u32)?)?;
            }
        }
        match &self.store {
            Store::Csr(stored) => self.read_csr(stored, start, end, names, &mut counts)?,
            Store::Dense(data) => {
                let values = read_dense(data, start, end - start, self.n_genes)?;
                let values = self.check(values, start * self.n_genes, names)?;
                for row in values.chunks(self.n_genes.max(1)) {
                    counts.push_row((0..).zip(row.iter().copied()).collect())?;
                }
            }
            Store::Csc { .. } => {}
        }
        Ok(counts)
    }

    fn read_csr(
        &self,
        stored: &Compressed,
        start: usize,
        end: usize,
        names: &Names,
        counts: &mut CountMatrix,
    ) -> Result<()> {
        let (from, to) = (stored.indptr[start], stored.indptr[end]);
        let genes = stored.read_indices(from, to, self.n_genes)?;
        let values = self.check(stored.read_values(from, to - from)?, from, names)?;
        for cell in start..end {
            let span = stored.indptr[cell] - from..stored.indptr[cell + 1] - from;
            let row = genes[span.clone()].iter().copied().zip(values[span].iter().copied());
            counts.push_row(row.collect())?;
        }
        Ok(())
    }

    /// Turns a gene-by-gene matrix into cells, in bounded memory.
    fn turn(&self, stored: &Compressed, names: &Names) -> Result<Turned> {
        let n_values = stored.data.len();
        let mut entries = ExternalSort::new();
        let mut gene = 0;
        for from in (0..n_values).step_by(CHUNK) {
            let to = n_values.min(from + CHUNK);
            let cells = stored.read_indices(from, to, self.n_cells)?;
            let counts = self.check(stored.read_values(from, to - from)?, from, names)?;
            for (at, (cell, count)) in (from..).zip(cells.into_iter().zip(counts)) {
                while stored.indptr[gene + 1] <= at {
                    gene += 1;
                }
                entries.push(Entry { cell, row: gene as u32, count })?;
            }
        }
        Turned::new(entries)
    }

    /// Counts, or an error that names the cell and gene of the first other value.
    fn check(&self, values: Values, from: usize, names: &Names) -> Result<Vec<u32>> {
        values.counts().map_err(|(offset, found)| match self.place(from + offset) {
            Ok((cell, gene)) => Error::NotCounts {
                path: self.data().path.clone(),
                layer: self.layer.clone(),
                cell: names.cells.get(cell).cloned().unwrap_or_default(),
                gene: names.genes.get(gene).map(|gene| gene.id.clone()).unwrap_or_default(),
                found,
            },
            Err(error) => error,
        })
    }

    fn data(&self) -> &Data {
        match &self.store {
            Store::Csr(stored) | Store::Csc { stored, .. } => &stored.data,
            Store::Dense(data) => data,
        }
    }

    /// Cell and gene of a stored value.
    fn place(&self, at: usize) -> Result<(usize, usize)> {
        let major = |stored: &Compressed| stored.indptr.partition_point(|&end| end <= at) - 1;
        Ok(match &self.store {
            Store::Dense(_) => (at / self.n_genes.max(1), at % self.n_genes.max(1)),
            Store::Csr(stored) => {
                (major(stored), stored.read_indices(at, at + 1, self.n_genes)?[0] as usize)
            }
            Store::Csc { stored, .. } => {
                (stored.read_indices(at, at + 1, self.n_cells)?[0] as usize, major(stored))
            }
        })
    }
}

impl Compressed {
    fn open(h5: &H5, layer: &str, n_major: usize, n_minor: usize) -> Result<Self> {
        let part = |name: &str| h5.dataset(&format!("{layer}/{name}"));
        let (indptr, indices, data) = (part("indptr")?, part("indices")?, part("data")?);
        let offsets: Vec<u64> = indptr.integers(0, indptr.len())?;
        let length = |what: &str, found: usize, expected: usize| {
            let (found, expected) = (found as u64, expected as u64);
            let (path, what) = (h5.path().to_owned(), format!("{layer}: {what}"));
            if found == expected {
                Ok(())
            } else {
                Err(Error::Length { path, what, found, expected })
            }
        };
        length("row offsets", offsets.len(), n_major + 1)?;
        length("stored values against indices", data.len(), indices.len())?;
        let last = offsets.last().map_or(0, |&last| usize::try_from(last).unwrap_or(usize::MAX));
        length("stored values against the last row offset", data.len(), last)?;
        if offsets[0] != 0 || !offsets.is_sorted() {
            return Err(h5.encoding(
                &indptr.object,
                "descending offsets",
                "offsets that ascend from 0",
            ));
        }
        u32::try_from(n_major.max(n_minor))
            .map_err(|_| h5.encoding(layer, "too many rows", "fewer than 2^32"))?;
        let indptr = offsets.into_iter().map(|offset| offset as usize).collect();
        Ok(Self { indptr, indices, data })
    }

    fn read_values(&self, from: usize, n: usize) -> Result<Values> {
        Values::read(&self.data, &[from], &[n])
    }

    fn read_indices(&self, from: usize, to: usize, n_minor: usize) -> Result<Vec<u32>> {
        let indices: Vec<u32> = self.indices.integers(from, to - from)?;
        match indices.iter().position(|&index| index as usize >= n_minor) {
            None => Ok(indices),
            Some(offset) => Err(Error::Encoding {
                path: self.indices.path.clone(),
                object: self.indices.object.clone(),
                found: format!("index {} at {}", indices[offset], from + offset),
                expected: format!("indices below {n_minor}"),
            }),
        }
    }
}

fn dense(h5: &H5, layer: &str, n_cells: usize, n_genes: usize) -> Result<Data> {
    let data = h5.dataset(layer)?;
    if data.shape() != [n_cells, n_genes] {
        let expected = format!("an array of shape [{n_cells}, {n_genes}]");
        return Err(data.encoding(&expected));
    }
    Ok(data)
}

fn read_dense(data: &Data, start: usize, n: usize, n_genes: usize) -> Result<Values> {
    Values::read(data, &[start, 0], &[n, n_genes])
}
