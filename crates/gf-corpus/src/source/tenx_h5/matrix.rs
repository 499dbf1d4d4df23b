//! The vectors of a 10x matrix, read forwards by windows of whole chunks.
//!
//! Cell Ranger writes chunks of 80,000 entries; rhdf5, through which R's
//! DropletUtils writes, makes one of a whole vector. Either way a chunk is
//! unpacked once, rows on one thread and counts on another.

use super::super::{
    hdf5::{Data, H5},
    values::Values,
};
use crate::error::{Error, Result};

/// Entries read at a time, about.
const WINDOW: usize = 1 << 19;

/// A matrix stored cell by cell.
pub(super) struct Matrix {
    pub(super) group: String,
    pub(super) n_cells: usize,
    n_rows: usize,
    indptr: Data,
    indices: Data,
    data: Data,
    /// Windows begin at multiples of this.
    step: usize,
    window: Window,
}

/// Some entries in the order of the file.
#[derive(Default)]
struct Window {
    start: usize,
    rows: Vec<u32>,
    /// As many as rows, or fewer if the next value is no count.
    counts: Vec<u32>,
    /// The first value that is no count.
    bad: String,
}

impl Matrix {
    pub(super) fn open(h5: &H5, group: &str, n_rows: usize, n_cells: usize) -> Result<Self> {
        let part = |name: &str| h5.vector(&format!("{group}/{name}"));
        let (indptr, indices) = (part("indptr")?, part("indices")?);
        // An open file reads for one thread at a time, so the counts have their own.
        let data = h5.twin()?.vector(&format!("{group}/data"))?;
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
        let end = |at: usize| indptr.integers::<u64>(at, 1).map(|ends| ends[0] as usize);
        agree("indptr: the first offset", end(0)?, 0)?;
        agree("data: stored values against the last offset", data.len(), end(n_cells)?)?;
        let chunk = |data: &Data| data.chunk_dims().map_or(1, |dims| dims.iter().product());
        let step = WINDOW.next_multiple_of(chunk(&indices).max(chunk(&data)).max(1));
        let (group, window) = (group.to_owned(), Window::default());
        Ok(Self { group, n_cells, n_rows, indptr, indices, data, step, window })
    }

    /// Where the entries of some cells start, and where the last ones end.
    pub(super) fn offsets(&self, start: usize, end: usize) -> Result<Vec<usize>> {
        let offsets: Vec<u64> = self.indptr.integers(start, end - start + 1)?;
        let offsets: Vec<usize> = offsets.into_iter().map(|offset| offset as usize).collect();
        // Without duplicates a cell has an entry a row at most.
        let sound =
            |pair: &[usize]| (pair[0]..=pair[0].saturating_add(self.n_rows)).contains(&pair[1]);
        let wrong = offsets.windows(2).position(|pair| !sound(pair));
        let beyond = offsets.iter().position(|&end| end > self.data.len());
        let Some(at) = wrong.or(beyond) else { return Ok(offsets) };
        let pair = &offsets[at..offsets.len().min(at + 2)];
        let found = format!("{pair:?} from {} on", start + at);
        let (most, end) = (self.n_rows, self.data.len());
        let expected = format!("offsets that ascend by at most {most} up to {end}");
        Err(unexpected(&self.indptr, found, expected))
    }

    /// Calls `take` with rows and counts of a span, in one part or several; gives the row
    /// and value of the first that is no count.
    pub(super) fn each(
        &mut self,
        [mut at, to]: [usize; 2],
        mut take: impl FnMut(&[u32], &[u32]),
    ) -> Result<Option<(u32, String)>> {
        while at < to {
            self.load(at)?;
            let Window { start, rows, counts, bad } = &self.window;
            let end = to.min(start + rows.len());
            let rows = &rows[at - start..end - start];
            let counts = counts.get(at - start..).unwrap_or_default();
            let n_good = rows.len().min(counts.len());
            take(&rows[..n_good], &counts[..n_good]);
            if let Some(&row) = rows.get(counts.len()) {
                return Ok(Some((row, bad.clone())));
            }
            at = end;
        }
        Ok(None)
    }

    /// Sees to it that the window has the entry at `at`.
    fn load(&mut self, at: usize) -> Result<()> {
        let Window { start, rows, .. } = &self.window;
        if (*start..start + rows.len()).contains(&at) {
            return Ok(());
        }
        // What was served is let go before more is read.
        self.window = Window::default();
        let start = at - at % self.step;
        let n = self.step.min(self.data.len() - start);
        let (rows, counts) = rayon::join(|| self.rows(start, n), || self.counts(start, n));
        let (rows, (counts, bad)) = (rows?, counts?);
        self.window = Window { start, rows, counts, bad };
        Ok(())
    }

    fn rows(&self, from: usize, n: usize) -> Result<Vec<u32>> {
        let rows: Vec<u32> = self.indices.integers(from, n)?;
        let Some(at) = rows.iter().position(|&row| row as usize >= self.n_rows) else {
            return Ok(rows);
        };
        let found = format!("index {} at {}", rows[at], from + at);
        Err(unexpected(&self.indices, found, format!("indices below {}", self.n_rows)))
    }

    /// The counts before the first value that is none, and that value.
    fn counts(&self, from: usize, n: usize) -> Result<(Vec<u32>, String)> {
        match Values::read(&self.data, &[from], &[n])?.counts() {
            Ok(counts) => Ok((counts, String::new())),
            Err((good, bad)) => {
                let counts = Values::read(&self.data, &[from], &[good])?.counts();
                Ok((counts.unwrap_or_default(), bad))
            }
        }
    }
}

fn unexpected(data: &Data, found: String, expected: String) -> Error {
    let (path, object) = (data.path.clone(), data.object.clone());
    Error::Encoding { path, object, found, expected }
}
