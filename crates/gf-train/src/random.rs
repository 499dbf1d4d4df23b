//! One independent random stream per purpose, epoch and row.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// What random numbers are drawn for; no two purposes share a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Which rows are held out.
    Split = 1,
    /// The order of the rows in one epoch.
    Order = 2,
    /// Which positions of a row are masked in one epoch.
    Mask = 3,
    /// Which positions of a held-out row are masked.
    HeldOutMask = 4,
    /// The seed of a device's own generator: initial weights.
    Weights = 5,
    /// The seed of a device's own generator: dropout of one micro-batch.
    Dropout = 6,
}

/// The stream numbered `index` of a purpose in an epoch; the numbers drawn from
/// it depend on these four and on nothing else.
pub(crate) fn stream(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    rng
}
