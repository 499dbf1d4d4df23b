//! Trees that say where chunks lie: whether one visits its nodes over and over.
//!
//! rust-hdf5 follows every entry of a version 1 tree down to 256 levels and
//! keeps what it finds. Three nodes whose 64 entries all point at the next one
//! cost it a minute, a fourth an hour, in a file of 25 kB. It does not tell
//! where a tree begins, so all nodes in the file are looked at.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use memchr::memmem;
use rust_hdf5::format::btree_v1::ChunkBTreeV1Node;

use crate::error::{Error, Result};

/// Longest file that is looked through, in bytes: it costs some 10 ms.
const MAX_SCANNED: u64 = 64 << 20;
/// Bytes looked through at a time.
const WINDOW: usize = 1 << 18;
/// What a node of chunks begins with.
const MARK: &[u8] = b"TREE\x01";
/// Bytes of the file for each visit that it may cost (HDF5's nodes have 2,096 or more).
const BYTES_PER_VISIT: u64 = 512;
/// Visits any file may cost.
const MIN_VISITS: u64 = 64;
/// Dimensions of the data sets that are read.
const RANKS: [usize; 2] = [1, 2];
/// Bytes of an address.
const ADDRESS_SIZES: [usize; 2] = [4, 8];
/// Bytes before a node's entries, with addresses of 8 bytes.
const HEADER: u64 = 24;
/// Bytes of an entry, at most: its key and address.
const ENTRY: u64 = 48;
/// Levels that rust-hdf5 descends.
const MAX_DEPTH: usize = 256;
/// Entries of a node, at most: whatever their number's 16 bits can say.
const MAX_ENTRIES: u16 = u16::MAX;

/// Refuses a file whose trees cost far more visits than it has room for nodes.
/// A file beyond [`MAX_SCANNED`] is let through.
pub(super) fn check(path: &Path, base: u64, len: u64) -> Result<()> {
    if len > MAX_SCANNED {
        return Ok(());
    }
    let mut file = File::open(path).map_err(Error::io(path))?;
    let most = MIN_VISITS + len / BYTES_PER_VISIT;
    let nodes = inner_nodes(&mut file, most as usize + 1).map_err(Error::io(path))?;
    // Each entry of an inner node needs a node elsewhere, so that all of them are far smaller than
    // the file unless they overlap.
    let bytes = match nodes.len() as u64 <= most {
        true => read_nodes(&mut file, &nodes, len).map_err(Error::io(path))?,
        false => None,
    };
    let is_sane = bytes.as_ref().is_some_and(|bytes| {
        RANKS.iter().all(|&rank| {
            ADDRESS_SIZES.iter().all(|&n_address| {
                let unseen = nodes.iter().map(|&at| (at as u64, None)).collect();
                let mut trees = Trees { bytes, base, rank, n_address, visits: unseen };
                nodes.iter().all(|&at| trees.visits(at as u64, 0) <= most)
            })
        })
    });
    if is_sane {
        return Ok(());
    }
    Err(Error::Encoding {
        path: path.to_owned(),
        object: "/".to_owned(),
        found: "a tree of chunks that visits its nodes over and over".to_owned(),
        expected: format!("at most {most} visits in such a short file"),
    })
}

/// Where the inner nodes of a file begin, at most so many of them.
fn inner_nodes(file: &mut impl Read, most: usize) -> io::Result<Vec<usize>> {
    let (mut window, mut n_held, mut start) = (vec![0; WINDOW], 0, 0);
    let mut nodes = Vec::new();
    while nodes.len() < most {
        let n_read = file.read(&mut window[n_held..])?;
        if n_read == 0 {
            break;
        }
        let n_bytes = n_held + n_read;
        let marks = memmem::find_iter(&window[..n_bytes], MARK);
        let inner =
            marks.filter(|at| window[..n_bytes].get(at + MARK.len()).is_some_and(|&l| l > 0));
        nodes.extend(inner.map(|at| start + at));
        // A mark and its level may begin in this window and end in the next one.
        n_held = n_bytes.min(MARK.len());
        window.copy_within(n_bytes - n_held..n_bytes, 0);
        start += n_bytes - n_held;
    }
    nodes.truncate(most);
    Ok(nodes)
}

/// Nodes by their place; `None` if they have more than so many bytes together.
fn read_nodes(
    file: &mut (impl Read + Seek),
    nodes: &[usize],
    mut room: u64,
) -> io::Result<Option<HashMap<u64, Vec<u8>>>> {
    let mut read = HashMap::new();
    for &at in nodes {
        file.seek(SeekFrom::Start(at as u64))?;
        let mut node = Vec::new();
        file.take(HEADER).read_to_end(&mut node)?;
        let n_entries = node.get(6..8).map_or(0, |n| u16::from_le_bytes([n[0], n[1]]));
        // Behind the last entry stands one key more.
        file.take(ENTRY * (u64::from(n_entries) + 1)).read_to_end(&mut node)?;
        let Some(left) = room.checked_sub(node.len() as u64) else { return Ok(None) };
        room = left;
        read.insert(at as u64, node);
    }
    Ok(Some(read))
}

/// The inner nodes of a file, read as those of data sets of some rank.
struct Trees<'a> {
    /// By their place in the file.
    bytes: &'a HashMap<u64, Vec<u8>>,
    base: u64,
    rank: usize,
    n_address: usize,
    /// By their place in the file, what a visit costs, once it is known.
    visits: HashMap<u64, Option<u64>>,
}

impl Trees<'_> {
    /// Nodes visited from one on; what is no inner node counts as one.
    fn visits(&mut self, at: u64, depth: usize) -> u64 {
        match self.visits.get(&at) {
            None => return 1,
            Some(Some(known)) => return *known,
            Some(None) => {}
        }
        if depth > MAX_DEPTH {
            return u64::MAX;
        }
        // On a way that leads back here, rust-hdf5 gives up at its last level.
        self.visits.insert(at, Some(1));
        let node = self.bytes.get(&at).map(Vec::as_slice).unwrap_or_default();
        let node = ChunkBTreeV1Node::decode(node, self.n_address, self.rank, MAX_ENTRIES);
        let mut sum = 1u64;
        for child in node.map(|node| node.children).unwrap_or_default() {
            sum = sum.saturating_add(self.visits(child.saturating_add(self.base), depth + 1));
        }
        self.visits.insert(at, Some(sum));
        sum
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Gives one to three bytes at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = (1 + self.0.len() % 3).min(buffer.len());
            self.0.read(&mut buffer[..n])
        }
    }

    #[test]
    fn marks_are_found_across_windows() {
        let mut bytes = vec![b'T'; 3 * WINDOW];
        let places =
            [0, 17, WINDOW - 9, WINDOW - 3, 2 * WINDOW - 11, 2 * WINDOW - 5, 3 * WINDOW - 6];
        for at in places {
            bytes[at..at + 6].copy_from_slice(b"TREE\x01\x01");
        }
        // A leaf, and a mark whose level is missing.
        bytes[100..106].copy_from_slice(b"TREE\x01\x00");
        bytes.extend_from_slice(MARK);
        assert_eq!(inner_nodes(&mut bytes.as_slice(), 99).unwrap(), places);
        assert_eq!(inner_nodes(&mut Trickle(&bytes), 99).unwrap(), places);
        assert_eq!(inner_nodes(&mut bytes.as_slice(), 2).unwrap(), places[..2]);
    }
}
