//! One embedding for each state of cells.

use gf_embed::{Spool, StateEmbeddings};
use ndarray::{Array2, Axis};

use super::{Embedding, rows::labels};
use crate::failure::Failure;

impl Embedding<'_> {
    pub(super) fn write_states(&self, spool: &Spool, width: usize) -> Result<(), Failure> {
        let mut cells = Array2::zeros((0, width));
        for block in spool.blocks()? {
            cells.append(Axis(0), block?.view())?;
        }
        let column = self.args.states.as_deref().unwrap_or_default();
        let states = labels(&self.dataset, column, &self.rows)?;
        let n_without = states.iter().filter(|state| state.is_none()).count();
        if n_without > 0 {
            self.shell.say(format!("{n_without} cells without a {column} take no part"))?;
        }
        let states: Vec<Option<&str>> = states.iter().map(Option::as_deref).collect();
        let states = StateEmbeddings::summarise(cells.view(), &states, self.args.summary.into())?;
        Ok(states.write_json(&self.args.output)?)
    }
}
