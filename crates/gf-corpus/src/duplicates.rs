//! Cells that are in the corpus twice, found by their content.
//!
//! Two cells whose [`Profile`]s agree in groups that together hold at least
//! [`MIN_SHARED_GENES`] detected genes and an eighth of the genes of the later
//! one are the same cell: different cells do not have the same counts in whole
//! groups of genes by chance, save among cells with next to nothing in them.
//! Those are compared in fewer groups, so that a group holds enough of theirs.
//! The cell that comes first in the
//! corpus stays. Everything is sorted on disk, so memory does not grow with
//! the corpus (one bit a cell apart).

use std::{collections::BTreeMap, path::Path};

use arrow2::{
    array::PrimitiveArray,
    datatypes::{DataType, Field, Schema},
};
use bytemuck::{Pod, Zeroable};

use crate::{
    error::Result,
    profile::{Group, Profile},
    shard::{ArrowWriter, Stored, broken, numbers},
    sort::ExternalSort,
};

/// Detected genes with equal counts that make two cells one.
pub const MIN_SHARED_GENES: u32 = 20;
/// The part of a cell's detected genes that must agree: one in so many.
const MIN_SHARE: u32 = 8;
/// A group of fewer detected genes says nothing by itself and fills the sort.
const MIN_GROUP_GENES: u32 = 3;
/// Cells of at most so many detected genes are compared in coarse groups.
const SMALL_CELL: u32 = 300;
/// Cells of at least so many are compared in fine groups. Between the two in
/// both, for a copy may have lost genes.
const LARGE_CELL: u32 = 200;
/// Rows of the table written at a time.
const CHUNK: usize = 1 << 16;

/// One group of one cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
struct Mark {
    hash: u64,
    cell: u64,
    n_genes: u32,
    n_genes_of_cell: u32,
}

/// A group, or groups of one kind, in which a cell agrees with an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
struct Agreement {
    cell: u64,
    earlier: u64,
    /// [`FINE`] or [`COARSE`], which are not added up: they hold the same genes.
    kind: u64,
    n_genes: u32,
    n_genes_of_cell: u32,
}

/// Kinds of groups: the lowest bit of a mark's hash.
const FINE: u64 = 0;
const COARSE: u64 = 1;

/// Compares the cells of a corpus, given in their order.
pub(crate) struct DuplicateSearch {
    marks: ExternalSort<Mark>,
    n_cells: u64,
}

impl DuplicateSearch {
    pub(crate) fn new() -> Self {
        Self { marks: ExternalSort::new(), n_cells: 0 }
    }

    /// Adds the next cell.
    pub(crate) fn push(&mut self, profile: &Profile) -> Result<()> {
        let n_genes_of_cell = profile.n_genes.iter().sum();
        let cell = self.n_cells;
        self.n_cells += 1;
        let mark = |group: Group, kind: u64| Mark {
            hash: group.hash & !1 | kind,
            cell,
            n_genes: group.n_genes,
            n_genes_of_cell,
        };
        if n_genes_of_cell >= LARGE_CELL {
            self.push_all(profile.fine().map(|group| mark(group, FINE)))?;
        }
        if (MIN_SHARED_GENES..=SMALL_CELL).contains(&n_genes_of_cell) {
            self.push_all(profile.coarse().map(|group| mark(group, COARSE)))?;
        }
        Ok(())
    }

    fn push_all(&mut self, marks: impl Iterator<Item = Mark>) -> Result<()> {
        let mut telling = marks.filter(|mark| mark.n_genes >= MIN_GROUP_GENES);
        telling.try_for_each(|mark| self.marks.push(mark))
    }

    /// Hands every later copy and the cell it is a copy of to `found`, ascending.
    pub(crate) fn finish(self, mut found: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let mut agreements = agreements(self.marks)?.finish()?;
        let mut open: Option<Agreement> = None;
        let mut last = None;
        loop {
            let next = agreements.next().transpose()?;
            match (&mut open, next) {
                (Some(sum), Some(next)) if sum.is_of_the_same(&next) => {
                    sum.n_genes += next.n_genes;
                    continue;
                }
                (Some(sum), _) if sum.is_copy() && last != Some(sum.cell) => {
                    last = Some(sum.cell);
                    found(sum.cell, sum.earlier)?;
                }
                _ => {}
            }
            if next.is_none() {
                return Ok(());
            }
            open = next;
        }
    }
}

impl Agreement {
    fn is_of_the_same(&self, next: &Self) -> bool {
        (self.cell, self.earlier, self.kind) == (next.cell, next.earlier, next.kind)
    }

    fn is_copy(&self) -> bool {
        self.n_genes >= MIN_SHARED_GENES && MIN_SHARE * self.n_genes >= self.n_genes_of_cell
    }
}

/// For every group that several cells share, each later cell with the first.
fn agreements(marks: ExternalSort<Mark>) -> Result<ExternalSort<Agreement>> {
    let mut agreements = ExternalSort::new();
    let mut first: Option<Mark> = None;
    for mark in marks.finish()? {
        let mark = mark?;
        match first {
            Some(Mark { hash, cell: earlier, .. }) if hash == mark.hash => {
                let Mark { cell, n_genes, n_genes_of_cell, .. } = mark;
                let kind = hash & 1;
                agreements.push(Agreement { cell, earlier, kind, n_genes, n_genes_of_cell })?;
            }
            _ => first = Some(mark),
        }
    }
    Ok(agreements)
}

/// Where each study's cells begin in the corpus.
pub(crate) struct Places {
    /// First cell of each study, and the end.
    starts: Vec<u64>,
}

impl Places {
    pub(crate) fn new(n_cells: impl IntoIterator<Item = u64>) -> Self {
        let mut starts = vec![0];
        starts.extend(n_cells.into_iter().scan(0, |end, n| {
            *end += n;
            Some(*end)
        }));
        Self { starts }
    }

    pub(crate) fn study(&self, cell: u64) -> usize {
        self.starts.partition_point(|&start| start <= cell) - 1
    }
}

/// The table of copies of a corpus: `cell` and `copy_of`, places in its order.
pub(crate) struct DuplicateWriter {
    writer: ArrowWriter,
    rows: [Vec<u64>; 2],
    /// Copies by the study of the cell and of the one it is a copy of.
    pub(crate) by_study: BTreeMap<(usize, usize), u64>,
}

impl DuplicateWriter {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let field = |name: &str| Field::new(name, DataType::UInt64, false);
        let schema = Schema::from(vec![field("cell"), field("copy_of")]);
        let writer = ArrowWriter::create(path.to_owned(), schema)?;
        Ok(Self { writer, rows: [Vec::new(), Vec::new()], by_study: BTreeMap::new() })
    }

    pub(crate) fn push(&mut self, cell: u64, copy_of: u64, places: &Places) -> Result<()> {
        let studies = (places.study(cell), places.study(copy_of));
        *self.by_study.entry(studies).or_default() += 1;
        self.rows[0].push(cell);
        self.rows[1].push(copy_of);
        if self.rows[0].len() == CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows[0].is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.writer.write(rows.map(|row| PrimitiveArray::from_vec(row).boxed()).to_vec())
    }

    pub(crate) fn finish(mut self) -> Result<Stored> {
        self.flush()?;
        self.writer.finish()
    }
}

/// Which cells of a corpus are copies: one bit a cell.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<u64>);

impl Copies {
    pub(crate) fn read(folder: &Path, stored: &Stored, n_cells: u64) -> Result<Self> {
        let mut reader = stored.open(folder)?;
        let mut bits = vec![0u64; n_cells.div_ceil(64) as usize];
        while let Some(chunk) = reader.next_chunk(2)? {
            for cell in numbers::<u64>(reader.path(), chunk.arrays()[0].as_ref())? {
                let Some(word) = bits.get_mut((cell / 64) as usize) else {
                    let reason = format!("found cell {cell}, expected below {n_cells}");
                    return Err(broken(reader.path(), reason));
                };
                *word |= 1 << (cell % 64);
            }
        }
        Ok(Self(bits))
    }

    pub(crate) fn contains(&self, cell: u64) -> bool {
        self.0.get((cell / 64) as usize).is_some_and(|word| word >> (cell % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::profile::GROUPS;

    fn copies(profiles: &[Profile]) -> Vec<(u64, u64)> {
        let mut search = DuplicateSearch::new();
        profiles.iter().for_each(|profile| search.push(profile).unwrap());
        let mut found = Vec::new();
        let note = |cell, earlier| {
            found.push((cell, earlier));
            Ok(())
        };
        search.finish(note).unwrap();
        found
    }

    fn profile(hashes: [u64; GROUPS], n_genes: u32) -> Profile {
        Profile { id: 0, hashes, n_genes: [n_genes; GROUPS], counts: 0 }
    }

    #[test]
    fn agreeing_groups_must_hold_enough_genes() {
        // The first groups as in `a`, the others of its own.
        let like_a = |n: usize, own: u64| -> [u64; GROUPS] {
            std::array::from_fn(|group| group as u64 * 1_000 + if group < n { 2 } else { own })
        };
        let (a, four, three, two) = (like_a(GROUPS, 2), like_a(4, 4), like_a(3, 6), like_a(2, 8));
        let check = |hashes: &[[u64; GROUPS]], n_genes, expected: &[(u64, u64)]| {
            let profiles: Vec<Profile> = hashes.iter().map(|&h| profile(h, n_genes)).collect();
            assert_eq!(copies(&profiles), expected, "{n_genes} genes a group");
        };
        check(&[a, a, a], 100, &[(1, 0), (2, 0)]);
        check(&[a, four], 10, &[(1, 0)]);
        check(&[a, three], 10, &[]);
        check(&[a, two], 100, &[]);
        check(&[a, four], 5, &[]);
        // Between the bounds of large and small cells both kinds are looked at.
        check(&[a, four], 8, &[(1, 0)]);
        check(&[a, a], 1, &[(1, 0)]);
        check(&[a, a], 0, &[]);
        check(&[], 100, &[]);
    }

    #[test]
    fn coarse_groups_are_sums_of_the_fine() {
        let profile =
            Profile { hashes: std::array::from_fn(|group| 1 << group), ..profile([0; GROUPS], 3) };
        let coarse: Vec<Group> = profile.coarse().collect();
        assert!(coarse.iter().all(|group| group.n_genes == 12));
        assert_eq!(coarse[1].hash, 1 << 1 | 1 << 9 | 1 << 17 | 1 << 25);
        assert_eq!(coarse.iter().map(|group| group.hash).sum::<u64>(), (1 << 32) - 1);
    }

    #[test]
    fn places_find_their_study() {
        let places = Places::new([3, 0, 2]);
        let studies: Vec<usize> = (0..5).map(|cell| places.study(cell)).collect();
        assert_eq!(studies, [0, 0, 0, 2, 2]);
    }
}
