//! Pure edits of a cell's tokens (REFERENCE.md §6.3).

use std::ops::Range;

/// The cell without the token at `position`; later genes move up by one rank, and
/// nothing else is re-ranked.
pub fn delete(tokens: &[i32], position: usize) -> Vec<i32> {
    let kept = tokens.iter().enumerate().filter(|(i, _)| *i != position);
    kept.map(|(_, &token)| token).collect()
}

/// Positions of the genes of a cell: all but a leading CLS and, where there is
/// one, a closing EOS.
///
/// ```
/// assert_eq!(gf_perturb::perturbation::gene_positions(&[2, 71, 44, 3], Some(3)), 1..3);
/// ```
pub fn gene_positions(tokens: &[i32], eos: Option<i32>) -> Range<usize> {
    let has_eos = tokens.len() > 1 && tokens.last().copied() == eos;
    1..tokens.len().max(1) - usize::from(has_eos)
}
