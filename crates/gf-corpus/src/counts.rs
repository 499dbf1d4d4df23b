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

    /// Adds a cell; entries may come in any order, several of one gene are
    /// summed, zeros are left out.
    ///
    /// # Errors
    /// [`Error::Counts`] for a gene out of range or a sum above `u32::MAX`.
    pub fn push_row(&mut self, entries: Vec<(u32, u32)>) -> Result<()> {
        self.indices.extend(entries.iter().map(|&(gene, _)| gene));
        self.values.extend(entries.iter().map(|&(_, count)| count));
        self.end_row()
    }

    /// Adds a cell given as genes and as many counts, like
    /// [`push_row`](Self::push_row); quick where the genes ascend.
    ///
    /// # Errors
    /// [`Error::Counts`] for a gene out of range or a sum above `u32::MAX`.
    pub(crate) fn push_slices(&mut self, genes: &[u32], counts: &[u32]) -> Result<()> {
        self.push_part(genes, counts);
        self.end_row()
    }

    /// Adds entries of a cell that [`end_row`](Self::end_row) will end.
    pub(crate) fn push_part(&mut self, genes: &[u32], counts: &[u32]) {
        self.indices.extend_from_slice(genes);
        self.values.extend_from_slice(counts);
    }

    /// Makes a cell of the entries since the last one, like [`push_row`](Self::push_row).
    ///
    /// # Errors
    /// [`Error::Counts`] for a gene out of range or a sum above `u32::MAX`.
    pub(crate) fn end_row(&mut self) -> Result<()> {
        let start = self.indptr.last().copied().unwrap_or_default();
        let row = (&mut self.indices[start..], &mut self.values[start..]);
        let tidied = tidy(row, self.n_genes);
        let end = start + tidied.as_ref().copied().unwrap_or_default();
        self.indices.truncate(end);
        self.values.truncate(end);
        let cell = self.n_cells();
        self.indptr.extend(tidied.is_ok().then_some(end));
        tidied.map(drop).map_err(|reason| Error::Counts { cell, reason })
    }

    /// The rows of its cells, `n_cells` at a time.
    pub(crate) fn rows_mut(&mut self, n_cells: usize) -> Vec<RowsMut<'_>> {
        let (mut indices, mut values) = (&mut self.indices[..], &mut self.values[..]);
        let mut all = Vec::new();
        for first in (0..self.indptr.len() - 1).step_by(n_cells) {
            let end = self.indptr.len().min(first + n_cells + 1);
            let indptr = &self.indptr[first..end];
            let n_entries = indptr[indptr.len() - 1] - indptr[0];
            let (its_indices, its_values);
            (its_indices, indices) = indices.split_at_mut(n_entries);
            (its_values, values) = values.split_at_mut(n_entries);
            all.push(RowsMut { indptr, indices: its_indices, values: its_values });
        }
        all
    }

    /// The first so many entries of each cell, as a matrix over `n_genes` genes; cells without a
    /// number are left out.
    pub(crate) fn shortened(
        mut self,
        lengths: impl IntoIterator<Item = Option<usize>>,
        n_genes: usize,
    ) -> Self {
        let (mut indptr, mut end) = (vec![0], 0);
        for (&start, length) in self.indptr.iter().zip(lengths) {
            let Some(length) = length else { continue };
            if end < start {
                self.indices.copy_within(start..start + length, end);
                self.values.copy_within(start..start + length, end);
            }
            end += length;
            indptr.push(end);
        }
        self.indices.truncate(end);
        self.values.truncate(end);
        Self { indptr, n_genes, ..self }
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
    pub(crate) fn retain(self, kept: &[bool]) -> Self {
        let lengths = self.rows().zip(kept).map(|((genes, _), kept)| kept.then_some(genes.len()));
        let (lengths, n_genes) = (lengths.collect::<Vec<_>>(), self.n_genes);
        self.shortened(lengths, n_genes)
    }

    /// The same cells with gene `i` called `places[i]`, over `n_genes` genes.
    ///
    /// # Errors
    /// [`Error::Counts`] if a place is out of range.
    pub(crate) fn with_genes(mut self, places: &[u32], n_genes: usize) -> Result<Self> {
        let is_same = places.iter().enumerate().all(|(gene, &place)| gene == place as usize);
        if is_same {
            return Ok(Self { n_genes, ..self });
        }
        self.indices.iter_mut().for_each(|gene| *gene = places[*gene as usize]);
        let n_cells = self.n_cells();
        let mut lengths = Vec::with_capacity(n_cells);
        for mut rows in self.rows_mut(n_cells.max(1)) {
            for cell in 0..n_cells {
                let length = tidy(rows.row(cell), n_genes);
                lengths.push(Some(length.map_err(|reason| Error::Counts { cell, reason })?));
            }
        }
        Ok(self.shortened(lengths, n_genes))
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

/// The rows of some cells, to be written anew in their places.
pub(crate) struct RowsMut<'a> {
    indptr: &'a [usize],
    indices: &'a mut [u32],
    values: &'a mut [u32],
}

impl RowsMut<'_> {
    /// Gene indices and counts of the `idx`th of these cells.
    pub(crate) fn row(&mut self, idx: usize) -> (&mut [u32], &mut [u32]) {
        let span = self.indptr[idx] - self.indptr[0]..self.indptr[idx + 1] - self.indptr[0];
        (&mut self.indices[span.clone()], &mut self.values[span])
    }
}

/// Calls gene `i` of a row `places[i]` and puts the row in order; gives its length then. What has
/// a place beyond the genes is left out and given to `left_out`, place and count.
pub(crate) fn rename(
    (genes, counts): (&mut [u32], &mut [u32]),
    places: &[u32],
    n_genes: usize,
    mut left_out: impl FnMut(u32, u32),
) -> Result<usize, String> {
    genes.iter_mut().for_each(|gene| *gene = places[*gene as usize]);
    let mut end = genes.len();
    if genes.iter().any(|&place| place as usize >= n_genes) {
        end = 0;
        for at in 0..genes.len() {
            let (place, count) = (genes[at], counts[at]);
            if (place as usize) < n_genes {
                (genes[end], counts[end]) = (place, count);
                end += 1;
            } else {
                left_out(place, count);
            }
        }
    }
    tidy((&mut genes[..end], &mut counts[..end]), n_genes)
}

/// Puts a row in order: genes ascend, several counts of one are summed, zeros are left out. Gives
/// its length then, or what is wrong with it.
fn tidy((genes, counts): (&mut [u32], &mut [u32]), n_genes: usize) -> Result<usize, String> {
    let is_tidy = genes.is_sorted_by(|a, b| a < b) && !counts.contains(&0);
    let mut end = genes.len();
    if !is_tidy {
        let entries = genes.iter().copied().zip(counts.iter().copied());
        let mut entries: Vec<(u32, u32)> = entries.filter(|&(_, count)| count > 0).collect();
        // Mostly few are out of order, which the stable sort makes use of.
        entries.sort_by_key(|&(gene, _)| gene);
        end = 0;
        for run in entries.chunk_by(|a, b| a.0 == b.0) {
            let sum: u64 = run.iter().map(|&(_, count)| u64::from(count)).sum();
            let too_large =
                |_| format!("gene {}: counts sum to {sum}, above {}", run[0].0, u32::MAX);
            (genes[end], counts[end]) = (run[0].0, u32::try_from(sum).map_err(too_large)?);
            end += 1;
        }
    }
    match genes[..end].last() {
        Some(&gene) if gene as usize >= n_genes => {
            Err(format!("gene {gene} is out of range, expected below {n_genes}"))
        }
        _ => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Places beyond are no genes'.
    const N_GENES: usize = 6;

    proptest! {
        /// Rows renamed in place are the sums of their counts by place, and nothing is lost.
        #[test]
        fn renamed_rows_are_sums(
            places in vec(0u32..9, 12),
            rows in vec((vec((0u32..12, 0u32..5), 0..15), any::<bool>()), 0..9),
            n_at_once in 1usize..5,
        ) {
            let mut counts = CountMatrix::new(places.len());
            for (row, _) in &rows {
                counts.push_row(row.clone()).unwrap();
            }
            let (mut lengths, mut left) = (Vec::new(), 0);
            for (part, mut some) in counts.rows_mut(n_at_once).into_iter().enumerate() {
                for (idx, (_, kept)) in rows.iter().skip(part * n_at_once).take(n_at_once).enumerate() {
                    let left_out = |_, count: u32| left += u64::from(count);
                    let length = rename(some.row(idx), &places, N_GENES, left_out).unwrap();
                    lengths.push(kept.then_some(length));
                }
            }
            let found = counts.shortened(lengths, N_GENES);
            let (mut expected, mut all_left) = (CountMatrix::new(N_GENES), 0);
            for (row, kept) in &rows {
                let mut sums = BTreeMap::new();
                for &(gene, count) in row {
                    *sums.entry(places[gene as usize]).or_insert(0) += count;
                }
                all_left += sums.split_off(&(N_GENES as u32)).values().map(|&n| u64::from(n)).sum::<u64>();
                if *kept {
                    expected.push_row(sums.into_iter().collect()).unwrap();
                }
            }
            prop_assert_eq!((found, left), (expected, all_left));
        }
    }
}
