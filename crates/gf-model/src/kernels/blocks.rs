//! Tokens shared out among threads.

use rayon::prelude::*;

/// Most tokens that one thread takes at a time: whole tiles of 5, 6 and 12 rows.
const MAX_TOKENS: usize = 120;

/// Calls `run` with the numbers `[n_tokens, d_input]` of some tokens at a time and the
/// place `[n_tokens, d_output]` of what becomes of them.
pub fn for_each_block(
    (x, d_input): (&[f32], usize),
    (y, d_output): (&mut [f32], usize),
    run: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let n_tokens = x.len() / d_input;
    let n = n_tokens.div_ceil(rayon::current_num_threads()).clamp(1, MAX_TOKENS);
    let blocks = y.par_chunks_mut(n * d_output).zip(x.par_chunks(n * d_input));
    blocks.for_each(|(y, x)| run(x, y));
}
