//! Chunks kept after unpacking, for the windows that follow.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Most bytes of the chunks kept of one folder; a larger one is kept alone.
const MAX_HELD: usize = 64 << 20;

/// An unpacked chunk.
pub(super) type Chunk = Arc<Vec<u8>>;

/// Chunks by array and place, the one used last at the end.
#[derive(Default)]
pub(super) struct Held(Mutex<VecDeque<(String, Vec<u64>, Chunk)>>);

impl Held {
    pub(super) fn get(&self, object: &str, at: &[u64]) -> Option<Chunk> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = held.iter().position(|(of, place, _)| of == object && place == at)?;
        let found = held.remove(place)?;
        let chunk = found.2.clone();
        held.push_back(found);
        Some(chunk)
    }

    /// Keeps a chunk, and lets go what was not used for the longest time.
    pub(super) fn put(&self, object: &str, at: &[u64], chunk: &Chunk) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.iter().any(|(of, place, _)| of == object && place == at) {
            return;
        }
        held.push_back((object.to_owned(), at.to_vec(), chunk.clone()));
        let mut n_bytes: usize = held.iter().map(|(_, _, chunk)| chunk.len()).sum();
        while n_bytes > MAX_HELD && held.len() > 1 {
            let Some((_, _, chunk)) = held.pop_front() else { return };
            n_bytes -= chunk.len();
        }
    }
}
