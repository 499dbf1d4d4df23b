//! In which order the rows are seen, and which share a batch.

use std::cmp::Reverse;

use rand::{Rng, seq::SliceRandom};

use crate::random::{Purpose, stream};

/// Mega-batches hold at most this many batches.
const MAX_BATCHES_PER_MEGABATCH: usize = 50;

/// The batches of one epoch: every row once, rows of like length together.
pub(crate) fn epoch_batches(
    rows: &[usize],
    length: impl Fn(usize) -> usize,
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = rows.iter().map(|&row| length(row)).collect();
    let order = length_grouped(&lengths, batch_size, &mut stream(seed, Purpose::Order, epoch, 0));
    order.chunks(batch_size).map(|batch| batch.iter().map(|&i| rows[i]).collect()).collect()
}

/// A random order of `0..lengths.len()` in which neighbours have like lengths.
///
/// As `get_length_grouped_indices` of transformers (`trainer_pt_utils.py`), which
/// the reference's `GeneformerPretrainer` uses: the rows are shuffled and cut into
/// mega-batches of min(n / (4·`batch_size`), 50) batches; each is sorted, longest
/// first, and the longest row of all is moved to the very front, so that a run out
/// of memory happens at once. The shuffle is ours (ChaCha instead of torch).
///
/// ```
/// use rand::SeedableRng;
///
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let order = gf_train::length_grouped(&[5, 900, 7, 30], 2, &mut rng);
/// assert_eq!(order[0], 1);
/// ```
pub fn length_grouped(lengths: &[usize], batch_size: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(rng);
    let batch_size = batch_size.clamp(1, lengths.len().max(1));
    let n_batches = (lengths.len() / (4 * batch_size)).clamp(1, MAX_BATCHES_PER_MEGABATCH);
    let megabatch_size = n_batches * batch_size;
    for megabatch in order.chunks_mut(megabatch_size) {
        megabatch.sort_by_key(|&row| Reverse(lengths[row]));
    }
    let fronts = (0..order.len()).step_by(megabatch_size);
    if let Some(longest) = fronts.min_by_key(|&front| Reverse(lengths[order[front]])) {
        order.swap(0, longest);
    }
    order
}
