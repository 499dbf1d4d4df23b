//! The count matrix of an `.h5ad` file: CSR, CSC or dense, any number type.
//!
//! CSR and dense matrices are read block by block. CSC is stored gene by
//! gene, so it is turned once through buckets of cells in bounded memory (12
//! bytes a stored value on disk).

use std::ops::Range;

use super::{
    super::{
        Layout, SourceGene, Storage,
        tree::{Array, Tree},
        turned::Entry,
        values::{Numbers, Values, is_narrow},
    },
    ahead::Ahead,
    buckets::{Buckets, Census, MAX_BUCKET},
    compressed::{Compressed, Counts, MAX_VALUES},
    dense::Dense,
    table::Table,
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
};

/// Stored values looked at to tell raw counts from other numbers.
const PROBED: usize = 1 << 16;
/// Stored values of a CSC matrix read at a time, if its chunks are no larger.
const CHUNK: usize = 1 << 18;
/// Most bytes of a dense matrix read for one block; at least one cell is read.
const MAX_DENSE: usize = 32 << 20;

/// What errors call the rows and columns.
pub(super) struct Names<'a> {
    pub(super) cells: &'a Table,
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
    Csr { stored: Compressed, ahead: Ahead },
    Csc { stored: Compressed, turned: Option<Buckets> },
    Dense(Dense),
}

impl Matrix {
    pub(super) fn open(tree: Tree, layer: &str, n_cells: usize, n_genes: usize) -> Result<Self> {
        let format = tree
            .attribute(layer, "encoding-type")
            .or_else(|| tree.attribute(layer, "h5sparse_format"));
        let store = match format.as_deref() {
            Some("csr_matrix" | "csr") if tree.is_group(layer) => {
                let stored = Compressed::open(tree, layer, n_cells, n_genes)?;
                Store::Csr { stored, ahead: Ahead::default() }
            }
            Some("csc_matrix" | "csc") if tree.is_group(layer) => {
                let stored = Compressed::open(tree, layer, n_genes, n_cells)?;
                Store::Csc { stored, turned: None }
            }
            _ if !tree.is_group(layer) => Store::Dense(Dense::open(tree, layer, n_cells, n_genes)?),
            other => {
                let found = format!("encoding {:?}", other.unwrap_or("none"));
                return Err(tree.encoding(layer, found, "csr_matrix, csc_matrix or a dense array"));
            }
        };
        Ok(Self { layer: layer.to_owned(), n_cells, n_genes, store })
    }

    pub(super) fn layer(&self) -> &str {
        &self.layer
    }

    pub(super) fn storage(&self) -> Storage {
        let (layout, data) = match &self.store {
            Store::Csr { stored, .. } | Store::Csc { stored, .. } => {
                (Layout::Sparse, stored.data())
            }
            Store::Dense(dense) => (Layout::Dense, &dense.data),
        };
        Storage { layout, is_narrow: is_narrow(data) }
    }

    /// Whether the first stored values are raw counts.
    pub(super) fn probe(&self, names: &Names) -> Result<()> {
        let refusal = Refusal { layer: &self.layer, names };
        match &self.store {
            Store::Csr { stored, .. } | Store::Csc { stored, .. } => {
                let n = PROBED.min(stored.n_values());
                let Err((at, found)) = Values::read(stored.data(), &[0], &[n])?.counts() else {
                    return Ok(());
                };
                let major = stored.row_of(at)?;
                let minor = stored.read_indices(at, 1)?[0] as usize;
                let is_csr = matches!(self.store, Store::Csr { .. });
                let (cell, gene) = if is_csr { (major, minor) } else { (minor, major) };
                Err(refusal.value(cell, gene, found))
            }
            Store::Dense(dense) => {
                let n_genes = self.n_genes.max(1);
                let n = PROBED.div_ceil(n_genes).min(self.n_cells);
                dense
                    .first_rows(n)?
                    .map(|_| ())
                    .map_err(|(at, found)| refusal.value(at / n_genes, at % n_genes, found))
            }
        }
    }

    /// Where a block of cells ends that begins at `start` and fits in memory:
    /// at `end` if it may, but after one cell at least.
    pub(super) fn block_end(&mut self, start: usize, end: usize) -> Result<usize> {
        match &mut self.store {
            Store::Csc { .. } => Ok(end),
            Store::Dense(dense) => {
                let n = MAX_DENSE / (dense.data.width().max(4) * self.n_genes.max(1));
                Ok(end.min(start + n.max(1)))
            }
            Store::Csr { stored, .. } => {
                let from = stored.offset(start)?;
                for cell in start..end {
                    if stored.offset(cell + 1)? - from > MAX_VALUES {
                        return if cell > start {
                            Ok(cell)
                        } else {
                            Err(too_full(stored, cell, MAX_VALUES as u64))
                        };
                    }
                }
                Ok(end)
            }
        }
    }

    /// The cells from `start` to before `end`; ask for ascending cells.
    pub(super) fn read(&mut self, start: usize, end: usize, names: &Names) -> Result<CountMatrix> {
        let mut counts = CountMatrix::new(self.n_genes);
        let refusal = Refusal { layer: &self.layer, names };
        match &mut self.store {
            Store::Csr { stored, ahead } => {
                read_csr(stored, ahead, start..end, &refusal, &mut counts)?;
            }
            Store::Dense(dense) => {
                for cell in start..end {
                    let refuse = |cell, gene, found| refusal.value(cell, gene, found);
                    let (genes, values) = dense.row(cell, refuse)?;
                    counts.push_slices(genes, values)?;
                }
            }
            Store::Csc { stored, turned } => {
                let turned = match turned {
                    Some(turned) => turned,
                    None => turned.insert(turn(stored, self.n_cells, &refusal)?),
                };
                for cell in start..end {
                    let (genes, values) = turned.row(cell)?;
                    counts.push_slices(genes, values)?;
                }
            }
        }
        Ok(counts)
    }
}

fn read_csr(
    stored: &mut Compressed,
    ahead: &mut Ahead,
    cells: Range<usize>,
    refusal: &Refusal,
    counts: &mut CountMatrix,
) -> Result<()> {
    let offsets = cells.clone().chain([cells.end]).map(|cell| stored.offset(cell));
    let offsets = offsets.collect::<Result<Vec<_>>>()?;
    let (from, to) = (offsets[0], offsets[cells.len()]);
    let chunk = chunk_len(stored.data()).unwrap_or(1);
    let refuse = |at, gene: u32, found| match stored.row_of(at) {
        Ok(cell) => refusal.value(cell, gene as usize, found),
        Err(error) => error,
    };
    let (genes, values) = ahead.values(from..to, chunk, stored, refuse)?;
    counts.reserve(to - from);
    for span in offsets.windows(2) {
        let span = span[0] - from..span[1] - from;
        counts.push_slices(&genes[span.clone()], &values[span])?;
    }
    Ok(())
}

/// Deals a gene-by-gene matrix into buckets of cells, in bounded memory.
fn turn(stored: &mut Compressed, n_cells: usize, refusal: &Refusal) -> Result<Buckets> {
    let n_values = stored.n_values();
    let piece = chunk_len(stored.data()).unwrap_or(CHUNK).clamp(CHUNK, MAX_VALUES);
    let pieces = (0..n_values).step_by(piece).map(|from| (from, piece.min(n_values - from)));
    let mut census = Census::new(n_cells);
    let mut coming = None;
    for (from, n) in pieces.clone() {
        let next = stored.begin_indices(from, n);
        if let Some(before) = coming.replace(next) {
            census.add(&before.wait()?);
        }
    }
    if let Some(last) = coming {
        census.add(&last.wait()?);
    }
    let mut buckets = census.buckets().map_err(|cell| too_full(stored, cell, MAX_BUCKET))?;
    let mut dealt = Dealt { gene: 0, end: stored.offset(0)? };
    let mut coming = None;
    for (from, n) in pieces {
        let next = (from, stored.begin(from, n));
        if let Some((from, before)) = coming.replace(next) {
            dealt.deal(stored, from, before.wait()?, &mut buckets, refusal)?;
        }
    }
    if let Some((from, last)) = coming {
        dealt.deal(stored, from, last.wait()?, &mut buckets, refusal)?;
    }
    Ok(buckets)
}

/// How far the stored values are dealt: into which gene, and where it ends.
struct Dealt {
    gene: usize,
    end: usize,
}

impl Dealt {
    fn deal(
        &mut self,
        stored: &mut Compressed,
        from: usize,
        (cells, counts): (Vec<u32>, Counts),
        buckets: &mut Buckets,
        refusal: &Refusal,
    ) -> Result<()> {
        let counts = match counts {
            Ok(counts) => counts,
            Err((at, found)) => {
                let gene = stored.row_of(from + at)?;
                return Err(refusal.value(cells[at] as usize, gene, found));
            }
        };
        for (at, (cell, count)) in (from..).zip(cells.into_iter().zip(counts)) {
            while self.end <= at {
                self.gene += 1;
                self.end = stored.offset(self.gene)?;
            }
            buckets.push(Entry { cell, row: self.gene as u32 - 1, count })?;
        }
        Ok(())
    }
}

/// What it takes to say which value is no count.
struct Refusal<'a> {
    layer: &'a str,
    names: &'a Names<'a>,
}

impl Refusal<'_> {
    fn value(&self, cell: usize, gene: usize, found: String) -> Error {
        Error::NotCounts {
            path: self.names.cells.path.clone(),
            layer: self.layer.to_owned(),
            cell: self.names.cells.name(cell),
            gene: self.names.genes.get(gene).map(|gene| gene.id.clone()).unwrap_or_default(),
            found,
        }
    }
}

fn too_full(stored: &Compressed, cell: usize, most: u64) -> Error {
    stored.data().encoding(&format!("at most {most} values of a cell, and cell {cell} has more"))
}

/// Values in each chunk of a vector.
fn chunk_len(data: &Array) -> Option<usize> {
    data.chunk_dims()?.first().copied()
}
