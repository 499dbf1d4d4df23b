//! Trees that say where chunks lie: whether one visits its nodes over and over.
//!
//! rust-hdf5 follows every entry of a version 1 tree down to 256 levels and
//! keeps what it finds. Three nodes whose 64 entries all point at the next one
//! cost it a minute, a fourth an hour, in a file of 25 kB. It does not tell
//! where a tree begins, so all nodes in the file are looked at.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use memchr::memmem;
use rust_hdf5::format::btree_v1::ChunkBTreeV1Node;

use crate::error::{Error, Result};

/// Longest file that is looked through, in bytes: reading it costs some 20 ms.
const MAX_SCANNED: u64 = 64 << 20;
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
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(MAX_SCANNED).read_to_end(&mut bytes).map_err(Error::io(path))?;
    let most = MIN_VISITS + len / BYTES_PER_VISIT;
    let inner = memmem::find_iter(&bytes, MARK);
    let inner = inner.filter(|at| bytes.get(at + MARK.len()).is_some_and(|&level| level > 0));
    let nodes: Vec<usize> = inner.take(most as usize + 1).collect();
    let is_sane = nodes.len() as u64 <= most
        && RANKS.iter().all(|&rank| {
            ADDRESS_SIZES.iter().all(|&n_address| {
                let unseen = nodes.iter().map(|&at| (at as u64, None)).collect();
                let mut trees = Trees { bytes: &bytes, base, rank, n_address, visits: unseen };
                nodes.iter().all(|&at| trees.visits(at as u64, 0) <= most)
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

/// The inner nodes of a file, read as those of data sets of some rank.
struct Trees<'a> {
    bytes: &'a [u8],
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
        let node = &self.bytes[at as usize..];
        let node = ChunkBTreeV1Node::decode(node, self.n_address, self.rank, MAX_ENTRIES);
        let mut sum = 1u64;
        for child in node.map(|node| node.children).unwrap_or_default() {
            sum = sum.saturating_add(self.visits(child.saturating_add(self.base), depth + 1));
        }
        self.visits.insert(at, Some(sum));
        sum
    }
}
