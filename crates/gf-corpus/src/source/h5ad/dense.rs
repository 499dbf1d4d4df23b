//! Rows of a matrix that is stored with its zeros.

use super::super::{
    tree::{Array, Tree},
    values::{Numbers, Values},
};
use crate::{counts::CountMatrix, error::Result};

/// Values of a piece, if chunks are no larger.
const PIECE: usize = 1 << 20;
/// Most values of a piece; of larger rows it has one.
const MAX_PIECE: usize = 1 << 23;

/// An open dense matrix, cells × genes.
pub(super) struct Dense {
    pub(super) data: Array,
    /// A second handle, for one handle reads for one thread at a time.
    twin: Array,
    n_cells: usize,
    n_genes: usize,
    /// Rows of a piece: of whole chunks, unless those are too large.
    piece: usize,
    /// The cells read last, from `first` on.
    held: CountMatrix,
    first: usize,
}

impl Dense {
    pub(super) fn open(tree: Tree, layer: &str, n_cells: usize, n_genes: usize) -> Result<Self> {
        let data = tree.array(layer)?;
        if data.shape() != [n_cells, n_genes] {
            let expected = format!("an array of shape [{n_cells}, {n_genes}]");
            return Err(data.encoding(&expected));
        }
        let twin = tree.twin(layer)?;
        let row = n_genes.max(1);
        let chunk = data.chunk_dims().and_then(|dims| dims.first().copied()).unwrap_or(1).max(1);
        let piece = PIECE.div_ceil(row).next_multiple_of(chunk).min(MAX_PIECE / row).max(1);
        let held = CountMatrix::new(n_genes);
        Ok(Self { data, twin, n_cells, n_genes, piece, held, first: 0 })
    }

    /// The first rows as counts, or where the first other value stands.
    pub(super) fn first_rows(&self, n: usize) -> Result<Result<Vec<u32>, (usize, String)>> {
        Values::read(&self.data, &[0, 0], &[n, self.n_genes]).map(Values::counts)
    }

    /// Genes and counts of a cell; ask for ascending cells. `refuse` says what
    /// is wrong with a value given by cell and gene.
    pub(super) fn row(
        &mut self,
        cell: usize,
        refuse: impl Fn(usize, usize, String) -> crate::Error + Sync,
    ) -> Result<(&[u32], &[u32])> {
        if cell >= self.first + self.held.n_cells() {
            let start = cell - cell % self.piece;
            let middle = self.n_cells.min(start + self.piece);
            let end = self.n_cells.min(middle + self.piece);
            self.held = CountMatrix::new(self.n_genes);
            let (one, other) = rayon::join(
                || self.counts(&self.data, start, middle, &refuse),
                || self.counts(&self.twin, middle, end, &refuse),
            );
            (self.held, self.first) = (one?, start);
            self.held.append(&other?);
        }
        Ok(self.held.row(cell - self.first))
    }

    fn counts(
        &self,
        data: &Array,
        start: usize,
        end: usize,
        refuse: impl Fn(usize, usize, String) -> crate::Error,
    ) -> Result<CountMatrix> {
        if start == end || self.n_genes == 0 {
            return CountMatrix::from_parts(vec![0; end - start + 1], vec![], vec![], self.n_genes);
        }
        let values = Values::read(data, &[start, 0], &[end - start, self.n_genes])?;
        let (offsets, genes, counts) = values
            .present(self.n_genes)
            .map_err(|(at, found)| refuse(start + at / self.n_genes, at % self.n_genes, found))?;
        CountMatrix::from_parts(offsets, genes, counts, self.n_genes)
    }
}
