//! Sparse raw counts, cells × genes.

use crate::error::{Error, Result};

/// Raw counts of some cells: compressed sparse rows, one row a cell.
///
/// Within a row the gene indices ascend and are unique, and every stored
/// count is above zero; only checked constructors make one.
///
/// ```
/// use gf_corpus::CountMatrix;
///
/// let mut counts = CountMatrix::new(5);
/// counts.push_row(vec![(4, 1), (2, 3), (4, 2), (0, 0)])?;
/// assert_eq!(counts.row(0), (&[2, 4][..], &[3, 3][..]));
/// # Ok::<(), gf_corpus::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountMatrix {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<u32>,
    n_genes: usize,
}

impl CountMatrix {
    /// No cells yet, over `n_genes` genes.
    #[must_use]
    pub fn new(n_genes: usize) -> Self {
        Self { indptr: vec![0], indices: Vec::new(), values: Vec::new(), n_genes }
    }

    /// Takes finished parts.
    ///
    /// # Errors
    /// [`Error::Counts`] where they break a promise of this type.
    pub fn from_parts(
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<u32>,
        n_genes: usize,
    ) -> Result<Self> {
        let wrong = |cell, reason: &str| Err(Error::Counts { cell, reason: reason.to_owned() });
        if indptr.first() != Some(&0) || indptr.last() != Some(&indices.len()) {
            return wrong(0, "row offsets do not span the entries");
        }
        if indices.len() != values.len() {
            return wrong(0, "as many genes as counts were expected");
        }
        for (cell, span) in indptr.windows(2).enumerate() {
            if span[0] > span[1] || span[1] > indices.len() {
                return wrong(cell, "row offsets descend");
            }
            let genes = &indices[span[0]..span[1]];
            if genes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return wrong(cell, "gene indices do not ascend");
            }
            if genes.last().is_some_and(|&gene| gene as usize >= n_genes) {
                return wrong(cell, "a gene index is out of range");
            }
        }
        if let Some(at) = values.iter().position(|&count| count == 0) {
            return wrong(indptr.partition_point(|&end| end <= at) - 1, "a stored count is zero");
        }
        Ok(Self { indptr, indices, values, n_genes })
    }

    /// Makes room for as many entries more.
    pub(crate) fn reserve(&mut self, n_entries: usize) {
        self.indices.reserve(n_entries);
        self.values.reserve(n_entries);
    }

    /// Takes the last cell away, if there is one.
    pub(crate) fn pop_row(&mut self) {
        if self.n_cells() > 0 {
            self.indptr.pop();
            self.truncate_row();
        }
    }

    /// Adds a cell; entries may come in any order, several of one gene are
    /// summed, zeros are left out.
    ///
    /// # Errors
    /// [`Error::Counts`] for a gene out of range or a sum above `u32::MAX`.
    pub fn push_row(&mut self, mut entries: Vec<(u32, u32)>) -> Result<()> {
        let cell = self.n_cells();
        entries.retain(|&(_, count)| count > 0);
        let is_distinct = entries.is_sorted_by(|a, b| a.0 < b.0);
        if !is_distinct {
            // Mostly few are out of order, which the stable sort makes use of.
            entries.sort_by_key(|&(gene, _)| gene);
        }
        if let Some(&(gene, _)) = entries.last().filter(|&&(gene, _)| gene as usize >= self.n_genes)
        {
            let reason = format!("gene {gene} is out of range, expected below {}", self.n_genes);
            return Err(Error::Counts { cell, reason });
        }
        if is_distinct {
            self.indices.extend(entries.iter().map(|&(gene, _)| gene));
            self.values.extend(entries.iter().map(|&(_, count)| count));
        } else {
            self.push_sums(&entries)?;
        }
        self.indptr.push(self.indices.len());
        Ok(())
    }

    /// Adds a cell given as genes and as many counts, like
    /// [`push_row`](Self::push_row); quick where the genes ascend.
    ///
    /// # Errors
    /// [`Error::Counts`] for a gene out of range or a sum above `u32::MAX`.
    pub(crate) fn push_slices(&mut self, genes: &[u32], counts: &[u32]) -> Result<()> {
        let is_finished = genes.is_sorted_by(|a, b| a < b)
            && genes.last().is_none_or(|&gene| (gene as usize) < self.n_genes)
            && !counts.contains(&0);
        if !is_finished {
            let entries = genes.iter().copied().zip(counts.iter().copied());
            return self.push_row(entries.collect());
        }
        self.indices.extend_from_slice(genes);
        self.values.extend_from_slice(counts);
        self.indptr.push(self.indices.len());
        Ok(())
    }

    /// Adds sorted entries of which several may be of one gene.
    fn push_sums(&mut self, entries: &[(u32, u32)]) -> Result<()> {
        for run in entries.chunk_by(|a, b| a.0 == b.0) {
            let sum: u64 = run.iter().map(|&(_, count)| u64::from(count)).sum();
            let Ok(sum) = u32::try_from(sum) else {
                self.truncate_row();
                let cell = self.n_cells();
                let reason = format!("gene {}: counts sum to {sum}, above 4294967295", run[0].0);
                return Err(Error::Counts { cell, reason });
            };
            self.indices.push(run[0].0);
            self.values.push(sum);
        }
        Ok(())
    }

    /// Takes back the entries of a cell that was not finished.
    fn truncate_row(&mut self) {
        let end = self.indptr.last().copied().unwrap_or_default();
        self.indices.truncate(end);
        self.values.truncate(end);
    }

    /// Adds the cells of another matrix over the same genes.
    ///
    /// # Panics
    /// Never for matrices of one corpus; in debug builds if the gene numbers differ.
    pub fn append(&mut self, other: &Self) {
        debug_assert_eq!(self.n_genes, other.n_genes);
        let base = self.indices.len();
        self.indptr.extend(other.indptr[1..].iter().map(|end| base + end));
        self.indices.extend_from_slice(&other.indices);
        self.values.extend_from_slice(&other.values);
    }

    /// The cells for which `kept` is true.
    pub(crate) fn retain(&self, kept: &[bool]) -> Self {
        let mut some = Self::new(self.n_genes);
        for ((genes, counts), _) in self.rows().zip(kept).filter(|(_, kept)| **kept) {
            some.indices.extend_from_slice(genes);
            some.values.extend_from_slice(counts);
            some.indptr.push(some.indices.len());
        }
        some
    }

    /// The same cells with gene `i` called `places[i]`, over `n_genes` genes.
    ///
    /// # Errors
    /// [`Error::Counts`] if a place is out of range.
    pub(crate) fn with_genes(self, places: &[u32], n_genes: usize) -> Result<Self> {
        let is_same = places.iter().enumerate().all(|(gene, &place)| gene == place as usize);
        if is_same {
            return Ok(Self { n_genes, ..self });
        }
        let mut renamed = Self::new(n_genes);
        for (genes, counts) in self.rows() {
            let genes = genes.iter().map(|&gene| places[gene as usize]);
            renamed.push_row(genes.zip(counts.iter().copied()).collect())?;
        }
        Ok(renamed)
    }

    /// Number of cells.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of genes a cell could have.
    #[must_use]
    pub fn n_genes(&self) -> usize {
        self.n_genes
    }

    /// Number of stored counts.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.values.len()
    }

    /// Gene indices and counts of one cell, the genes ascending.
    ///
    /// # Panics
    /// If `cell` is not below [`n_cells`](Self::n_cells), as slices do.
    #[must_use]
    pub fn row(&self, cell: usize) -> (&[u32], &[u32]) {
        let span = self.indptr[cell]..self.indptr[cell + 1];
        (&self.indices[span.clone()], &self.values[span])
    }

    /// All cells in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u32], &[u32])> {
        (0..self.n_cells()).map(|cell| self.row(cell))
    }

    /// Where each row starts, and the end: `n_cells + 1` offsets.
    #[must_use]
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// Gene indices of all cells, one after the other.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Counts of all cells, one after the other.
    #[must_use]
    pub fn values(&self) -> &[u32] {
        &self.values
    }
}
