//! The reference's choice and order of cells (`downsample_and_sort` of its
//! `perturber_utils.py`, REFERENCE.md §5.2).

use gf_tokenize::Dataset;

use crate::{Error, numpy_permutation};

/// The seed with which the reference shuffles.
const SEED: u64 = 42;

/// The rows that the reference takes of `rows`, in its order: of more than `max_cells`
/// the first so many after a shuffle; then the longest cells first, equals as they came.
///
/// # Errors
///
/// There is no such row; its batch is corrupt.
pub fn reference_order(
    dataset: &Dataset,
    rows: &[usize],
    max_cells: Option<usize>,
) -> Result<Vec<usize>, Error> {
    let chosen = match max_cells.filter(|&most| most < rows.len()) {
        None => rows.to_vec(),
        Some(most) => {
            let order = numpy_permutation(rows.len() as u32, SEED);
            order.into_iter().take(most).map(|place| rows[place]).collect()
        }
    };
    Ok(dataset.longest_first(chosen)?)
}
