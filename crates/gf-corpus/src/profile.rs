//! What a cell's counts look like, small enough to compare all cells of a corpus.
//!
//! The genes are dealt into [`GROUPS`] groups by a hash of their id; a cell has
//! one hash a group over its (gene, count) pairs there. It does not depend on
//! the order of the genes, on how the file names them or on the barcode. A copy
//! of which a few genes were lost on the way (an old symbol, a filter of rare
//! genes) still agrees in the groups those genes are not in.

use std::path::{Path, PathBuf};

use arrow2::{
    array::{Array, PrimitiveArray},
    datatypes::{DataType, Field, Schema},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    error::Result,
    gene::Gene,
    shard::{ArrowReader, ArrowWriter, Stored, numbers},
};

/// Groups of genes. With 32, a copy of which forty genes went astray agrees in
/// nine groups on average, and a corpus of 10^8 cells sorts 3 × 10^9 marks.
pub(crate) const GROUPS: usize = 32;
/// Groups for small cells, each made of [`GROUPS`] / 8 of the others.
pub(crate) const COARSE_GROUPS: usize = 8;
/// Columns before the hashes.
const N_FIXED: usize = 2;
const N_COLUMNS: usize = N_FIXED + 2 * GROUPS;
const FILE: &str = "profiles.arrow";

/// The hash of a cell's id, and of its counts in each group of genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) id: u64,
    pub(crate) hashes: [u64; GROUPS],
    /// Detected genes in each group.
    pub(crate) n_genes: [u32; GROUPS],
    /// The sum of the counts.
    pub(crate) counts: u64,
}

impl Profile {
    fn empty(id: u64, counts: u64) -> Self {
        Self { id, hashes: [0; GROUPS], n_genes: [0; GROUPS], counts }
    }
}

/// One group of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) hash: u64,
    /// Detected genes in it.
    pub(crate) n_genes: u32,
}

impl Profile {
    /// The groups.
    pub(crate) fn fine(&self) -> impl Iterator<Item = Group> {
        let groups = self.hashes.iter().zip(self.n_genes);
        groups.map(|(&hash, n_genes)| Group { hash, n_genes })
    }

    /// The same in fewer and larger groups: as hashes are sums, so are these.
    pub(crate) fn coarse(&self) -> impl Iterator<Item = Group> {
        (0..COARSE_GROUPS).map(|first| {
            let parts = self.fine().skip(first).step_by(COARSE_GROUPS);
            parts.fold(Group { hash: 0, n_genes: 0 }, |sum, part| Group {
                hash: sum.hash.wrapping_add(part.hash),
                n_genes: sum.n_genes + part.n_genes,
            })
        })
    }
}

/// Makes profiles of cells over the genes of a study.
pub(crate) struct Profiler {
    /// Hash of each gene's id.
    genes: Vec<u64>,
}

impl Profiler {
    pub(crate) fn new(genes: &[Gene]) -> Self {
        let hash = |gene: &Gene| xxh3_64(gene.id.to_string().as_bytes());
        Self { genes: genes.iter().map(hash).collect() }
    }

    pub(crate) fn profile(&self, id: &str, (genes, counts): (&[u32], &[u32])) -> Profile {
        let sum = counts.iter().map(|&count| u64::from(count)).sum();
        let mut profile = Profile::empty(id_hash(id), sum);
        for (&gene, &count) in genes.iter().zip(counts) {
            let hash = self.genes[gene as usize];
            let group = (hash % GROUPS as u64) as usize;
            let mut pair = [0; 12];
            pair[..8].copy_from_slice(&hash.to_le_bytes());
            pair[8..].copy_from_slice(&count.to_le_bytes());
            // A sum of hashes does not depend on the order of the pairs.
            profile.hashes[group] = profile.hashes[group].wrapping_add(xxh3_64(&pair));
            profile.n_genes[group] += 1;
        }
        profile
    }
}

pub(crate) fn id_hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// Writes the profiles of a study's cells, in their order.
pub(crate) struct ProfileWriter(ArrowWriter);

impl ProfileWriter {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let field = |name: String, kind| Field::new(name, kind, false);
        let hashes = (0..GROUPS).map(|group| field(format!("hash_{group}"), DataType::UInt64));
        let genes = (0..GROUPS).map(|group| field(format!("genes_{group}"), DataType::UInt32));
        let fixed = ["cell_id_hash", "counts"];
        let fixed = fixed.into_iter().map(|name| field(name.to_owned(), DataType::UInt64));
        let fields: Vec<Field> = fixed.chain(hashes).chain(genes).collect();
        ArrowWriter::create(folder.join(FILE), Schema::from(fields)).map(Self)
    }

    pub(crate) fn write(&mut self, profiles: &[Profile]) -> Result<()> {
        let wide = |pick: &dyn Fn(&Profile) -> u64| {
            PrimitiveArray::from_vec(profiles.iter().map(pick).collect::<Vec<u64>>()).boxed()
        };
        let narrow = |pick: &dyn Fn(&Profile) -> u32| {
            PrimitiveArray::from_vec(profiles.iter().map(pick).collect::<Vec<u32>>()).boxed()
        };
        let mut arrays: Vec<Box<dyn Array>> =
            vec![wide(&|profile| profile.id), wide(&|profile| profile.counts)];
        arrays.extend((0..GROUPS).map(|group| wide(&|profile| profile.hashes[group])));
        arrays.extend((0..GROUPS).map(|group| narrow(&|profile| profile.n_genes[group])));
        self.0.write(arrays)
    }

    pub(crate) fn finish(self) -> Result<Stored> {
        self.0.finish()
    }
}

/// Reads the profiles of a study's cells, in their order.
pub(crate) struct Profiles {
    reader: ArrowReader,
    path: PathBuf,
}

impl Profiles {
    pub(crate) fn open(folder: &Path, stored: &Stored) -> Result<Self> {
        let reader = stored.open(folder)?;
        let path = reader.path().to_owned();
        Ok(Self { reader, path })
    }

    /// The next profiles; `None` after the last.
    pub(crate) fn next_block(&mut self) -> Result<Option<Vec<Profile>>> {
        let Some(chunk) = self.reader.next_chunk(N_COLUMNS)? else { return Ok(None) };
        let arrays = chunk.arrays();
        let ids: Vec<u64> = numbers(&self.path, arrays[0].as_ref())?;
        let counts: Vec<u64> = numbers(&self.path, arrays[1].as_ref())?;
        let cells = ids.into_iter().zip(counts);
        let mut profiles: Vec<Profile> =
            cells.map(|(id, counts)| Profile::empty(id, counts)).collect();
        for group in 0..GROUPS {
            let hashes: Vec<u64> = numbers(&self.path, arrays[N_FIXED + group].as_ref())?;
            let n_genes: Vec<u32> = numbers(&self.path, arrays[N_FIXED + GROUPS + group].as_ref())?;
            for (profile, (hash, n)) in profiles.iter_mut().zip(hashes.into_iter().zip(n_genes)) {
                profile.hashes[group] = hash;
                profile.n_genes[group] = n;
            }
        }
        Ok(Some(profiles))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::gene::Biotype;

    #[test]
    fn profiles_do_not_depend_on_the_order_of_genes() {
        let gene = |n: u32| Gene {
            id: format!("ENSG{n:011}").parse().unwrap(),
            symbol: String::new(),
            biotype: Biotype::ProteinCoding,
        };
        let forwards: Vec<Gene> = (0..50).map(gene).collect();
        let backwards: Vec<Gene> = forwards.iter().rev().cloned().collect();
        let a = Profiler::new(&forwards).profile("a", (&[3, 17, 40], &[1, 2, 3]));
        let b = Profiler::new(&backwards).profile("b-1", (&[9, 32, 46], &[3, 2, 1]));
        assert_eq!((a.hashes, a.n_genes), (b.hashes, b.n_genes));
        let c = Profiler::new(&forwards).profile("a", (&[3, 17, 40], &[1, 2, 4]));
        assert_ne!(a.hashes, c.hashes);
        assert_eq!(a.n_genes.iter().sum::<u32>(), 3);
    }
}
