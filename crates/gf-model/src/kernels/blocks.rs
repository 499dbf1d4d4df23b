//! Tokens shared out among threads.

use rayon::prelude::*;

/// Tokens of whole tiles, of 4, 6 or 12 rows.
const TILES: usize = 12;
/// Most tokens that one thread takes at a time.
const MAX_TOKENS: usize = 11 * TILES;

/// Calls `run` with the numbers of some of the tokens at a time and the places of what
/// becomes of them.
///
/// # Shapes
///
/// - x `[n_tokens, d_input]`; each of the outputs `[n_tokens, d_output]`, with its own
///   `d_output`
pub fn for_each_block<const N: usize>(
    n_tokens: usize,
    x: &[f32],
    outputs: [&mut [f32]; N],
    run: impl Fn(&[f32], [&mut [f32]; N]) + Sync,
) {
    let n_threads = rayon::current_num_threads();
    let n_blocks = n_tokens.div_ceil(MAX_TOKENS).next_multiple_of(n_threads).max(1);
    let n = n_tokens.div_ceil(n_blocks).next_multiple_of(TILES);
    let length = |numbers: &[f32]| (numbers.len() / n_tokens.max(1) * n).max(1);
    let mut outputs = outputs.map(|y| y.chunks_mut(length(y)));
    let mut places = || outputs.each_mut().map(|blocks| blocks.next().unwrap_or_default());
    let blocks: Vec<_> = x.chunks(length(x)).map(|x| (x, places())).collect();
    blocks.into_par_iter().for_each(|(x, outputs)| run(x, outputs));
}
