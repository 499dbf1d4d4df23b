//! Which cells are perturbed.

use gf_tokenize::{Dataset, MetadataValue};
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// A choice among the cells of a data set.
#[derive(Debug, Clone, Default)]
pub struct CellChoice {
    /// Column and value a cell must have; all of them.
    pub filters: Vec<(String, String)>,
    /// At most so many of the cells that pass, drawn at random.
    pub max_cells: Option<usize>,
    /// Seed of the draw; the same seed draws the same cells.
    pub seed: u64,
}

/// The chosen rows of the data set, ascending.
///
/// # Errors
///
/// A column does not exist, or no cell passes the filters.
pub fn choose_cells(dataset: &Dataset, choice: &CellChoice) -> Result<Vec<usize>, Error> {
    let mut rows: Vec<usize> = (0..dataset.len()).collect();
    for (column, value) in &choice.filters {
        rows = dataset.filter_rows(rows, column, &[MetadataValue::Text(value)])?;
    }
    if rows.is_empty() {
        let filters = choice.filters.clone();
        return Err(Error::NoCells { path: dataset.path().to_owned(), filters });
    }
    match choice.max_cells {
        Some(n) if n < rows.len() => Ok(draw(&rows, n, choice.seed)),
        _ => Ok(rows),
    }
}

fn draw(rows: &[usize], n: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: Vec<usize> = sample(&mut rng, rows.len(), n).iter().map(|i| rows[i]).collect();
    drawn.sort_unstable();
    drawn
}
