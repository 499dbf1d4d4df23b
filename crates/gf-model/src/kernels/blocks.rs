//! Tokens shared out among threads.

use std::{cell::Cell, iter, mem, ops::Range};

use rayon::prelude::*;

/// Tokens of one row that are computed together: two whole tiles, of 4, 6 or 12 rows.
pub const GROUP: usize = 24;
/// Most tokens that one thread takes at a time.
const MAX_TOKENS: usize = 6 * GROUP;

/// Calls `run` with some whole groups of tokens at a time: which tokens, their numbers and
/// the places of what becomes of them.
///
/// # Shapes
///
/// - x `[n_rows, seq_length, d_input]`; each of the outputs `[n_rows, seq_length, d_output]`,
///   with its own `d_output`
pub fn for_each_block<const N: usize>(
    [n_rows, seq_length]: [usize; 2],
    mut x: &[f32],
    mut outputs: [&mut [f32]; N],
    run: impl Fn(Range<usize>, &[f32], [&mut [f32]; N]) + Sync,
) {
    let n_tokens = n_rows * seq_length;
    let n_blocks = n_tokens.div_ceil(MAX_TOKENS).next_multiple_of(rayon::current_num_threads());
    let groups = groups(0..n_tokens, seq_length);
    let cut =
        |i: usize| groups.get(i * groups.len() / n_blocks).map_or(n_tokens, |group| group.start);
    let width = |numbers: &[f32]| numbers.len() / n_tokens.max(1);
    let (d_input, d_outputs) = (width(x), outputs.each_ref().map(|y| width(y)));
    let blocks = (0..n_blocks).map(|i| cut(i)..cut(i + 1)).filter(|tokens| !tokens.is_empty());
    let blocks = blocks.map(|tokens| {
        let n = tokens.len();
        let x = x.split_off(..n * d_input).unwrap_or_default();
        let mut widths = d_outputs.into_iter();
        let places = outputs
            .each_mut()
            .map(|y| y.split_off_mut(..n * widths.next().unwrap_or_default()).unwrap_or_default());
        (tokens, x, places)
    });
    let blocks: Vec<_> = blocks.collect();
    blocks.into_par_iter().for_each(|(tokens, x, outputs)| run(tokens, x, outputs));
}

/// The groups of some tokens of rows of `seq_length`; a group starts with the first of them.
pub fn groups(tokens: Range<usize>, seq_length: usize) -> Vec<Range<usize>> {
    let end = |first: usize| (first + GROUP).min((first / seq_length + 1) * seq_length);
    let from = |first: usize| (first < tokens.end).then(|| first..end(first));
    iter::successors(from(tokens.start), |group| from(group.end)).collect()
}

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Numbers that a thread keeps from one block to the next, whatever was written there before:
/// clearing what lies between two layers takes a hundredth of the time.
pub struct Room {
    kept: Vec<f32>,
    n: usize,
}

impl Room {
    /// Room for `n` numbers.
    pub fn new(n: usize) -> Self {
        let mut kept = KEPT.take();
        kept.resize(kept.len().max(n), 0.0);
        Self { kept, n }
    }

    /// What is to be written before it is read.
    pub fn numbers(&mut self) -> &mut [f32] {
        &mut self.kept[..self.n]
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        KEPT.set(mem::take(&mut self.kept));
    }
}
