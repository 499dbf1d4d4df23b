//! Which droplets of a study are cells: told by passes over its file before its
//! cells are read.

use crate::{
    counts::CountMatrix,
    droplets::{CellRanger22, DropletPlan, EmptyDrops, Role},
    error::Result,
    ingest::IngestOptions,
    ledger::DropletTest,
    source::CountSource,
    study::Study,
    study_cells::{BLOCK_CELLS, open},
};

/// How cells are told from empty droplets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallCells {
    /// Who is a cell by its total alone.
    pub by_totals: CellRanger22,
    /// Tests the droplets below, as Cell Ranger 3 does; needs the droplets that
    /// are surely empty in the file, and tests nothing without them.
    pub by_genes: Option<EmptyDrops>,
}

/// The droplets of a study that are cells.
pub(crate) struct CalledCells {
    pub(crate) min_counts: u64,
    pub(crate) test: Option<DropletTest>,
    /// Cells of fewer counts, 0-based, ascending.
    below: Vec<usize>,
}

impl CalledCells {
    /// Calls the cells of a study; reads its totals, and its rows for the test.
    pub(crate) fn of(study: &Study, options: &IngestOptions) -> Result<Option<Self>> {
        let Some(CallCells { by_totals, by_genes }) = options.droplets else { return Ok(None) };
        let expected_cells = study.expected_cells.unwrap_or(by_totals.expected_cells);
        let mut totals = Vec::new();
        read(open(study, options)?, |block| {
            totals.extend(block.rows().map(|(_, counts)| total(counts)));
            Ok(())
        })?;
        let threshold = CellRanger22 { expected_cells, ..by_totals }.threshold(&totals)?;
        let mut called = Self { min_counts: threshold.min_counts, test: None, below: Vec::new() };
        if let Some(test) = by_genes {
            called.add_by_genes(test.plan(&totals, threshold)?, study, options)?;
        }
        Ok(Some(called))
    }

    fn add_by_genes(
        &mut self,
        plan: DropletPlan,
        study: &Study,
        options: &IngestOptions,
    ) -> Result<()> {
        let n_ambient = plan.count(Role::Ambient) as u64;
        let n_candidates = plan.count(Role::Candidate) as u64;
        if n_ambient > 0 && n_candidates > 0 {
            let source = open(study, options)?;
            let mut rows = plan.rows(source.genes().len());
            read(source, |block| block.rows().try_for_each(|row| rows.push(row)))?;
            let cells = rows.finish()?.into_iter().filter(|call| call.is_cell);
            self.below = cells.map(|call| call.droplet).collect();
        }
        let n_cells = self.below.len() as u64;
        self.test = Some(DropletTest { n_ambient, n_candidates, n_cells });
        Ok(())
    }

    /// Whether a droplet is called, by its place in the file and its counts.
    pub(crate) fn calls(&self, droplet: usize, total: u64) -> bool {
        total >= self.min_counts || self.below.binary_search(&droplet).is_ok()
    }
}

/// One pass over the counts of a study.
fn read(
    mut source: Box<dyn CountSource>,
    mut see: impl FnMut(&CountMatrix) -> Result<()>,
) -> Result<()> {
    while let Some(block) = source.next_block(BLOCK_CELLS)? {
        see(&block.counts)?;
    }
    Ok(())
}

/// UMI counts of a droplet.
pub(crate) fn total(counts: &[u32]) -> u64 {
    counts.iter().map(|&count| u64::from(count)).sum()
}
