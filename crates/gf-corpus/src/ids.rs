//! Cell ids: each once in a file, and once in a corpus.

use std::path::Path;

use bytemuck::{Pod, Zeroable};

use crate::{
    error::{Error, Result},
    profile::id_hash,
    sort::ExternalSort,
    source::CountSource,
    study_cells::BLOCK_CELLS,
};

/// A cell's id and its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
struct Id {
    hash: u64,
    place: u64,
}

/// Looks for an id that comes twice in a file.
pub(crate) struct IdCheck {
    ids: ExternalSort<Id>,
    n_cells: u64,
}

impl IdCheck {
    pub(crate) fn new() -> Self {
        Self { ids: ExternalSort::new(), n_cells: 0 }
    }

    pub(crate) fn push(&mut self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.ids.push(Id { hash: id_hash(id), place: self.n_cells })?;
            self.n_cells += 1;
        }
        Ok(())
    }

    /// Fails if an id came twice; `reopen` finds what it says.
    pub(crate) fn finish(
        self,
        path: &Path,
        reopen: impl FnOnce() -> Result<Box<dyn CountSource>>,
    ) -> Result<()> {
        let mut last: Option<Id> = None;
        for id in self.ids.finish()? {
            let id = id?;
            if let Some(first) = last.filter(|last| last.hash == id.hash) {
                return Err(Error::DuplicateCell {
                    path: path.to_owned(),
                    cell: nth_id(reopen()?.as_mut(), id.place)?,
                    first: first.place,
                    second: id.place,
                });
            }
            last = Some(id);
        }
        Ok(())
    }
}

fn nth_id(source: &mut dyn CountSource, place: u64) -> Result<String> {
    let mut start = 0;
    while let Some(mut block) = source.next_block(BLOCK_CELLS)? {
        let n_cells = block.cell_ids.len() as u64;
        if place < start + n_cells {
            return Ok(block.cell_ids.swap_remove((place - start) as usize));
        }
        start += n_cells;
    }
    Ok(String::new())
}

/// Finds the studies of which an earlier one has an id.
pub(crate) struct IdCollisions {
    ids: ExternalSort<Id>,
    n_studies: usize,
}

impl IdCollisions {
    pub(crate) fn new() -> Self {
        Self { ids: ExternalSort::new(), n_studies: 0 }
    }

    /// From here on, ids are those of the next study.
    pub(crate) fn next_study(&mut self) {
        self.n_studies += 1;
    }

    /// Adds an id of the current study by its hash.
    pub(crate) fn push(&mut self, hash: u64) -> Result<()> {
        self.ids.push(Id { hash, place: self.n_studies as u64 - 1 })
    }

    /// For each study, whether an earlier one has one of its ids.
    pub(crate) fn finish(self) -> Result<Vec<bool>> {
        let mut collides = vec![false; self.n_studies];
        let mut first: Option<Id> = None;
        for id in self.ids.finish()? {
            let id = id?;
            match first {
                Some(first) if first.hash == id.hash => {
                    collides[id.place as usize] |= id.place != first.place;
                }
                _ => first = Some(id),
            }
        }
        Ok(collides)
    }
}
