//! Some rows of a table in memory.

use super::{super::tree::Tree, column::Column, table::Table};
use crate::error::Result;

/// An index and named columns of the same length.
pub(super) struct Frame {
    pub(super) index: Vec<String>,
    pub(super) columns: Vec<(String, Column)>,
}

impl Frame {
    /// A whole table, for one that describes genes.
    pub(super) fn read(tree: Tree, object: &str, max_rows: usize) -> Result<Self> {
        let mut table = Table::open(tree, object)?;
        if table.n_rows > max_rows {
            let found = format!("{} rows", table.n_rows);
            return Err(tree.encoding(object, found, &format!("at most {max_rows} rows")));
        }
        table.limit_columns();
        table.read(0, table.n_rows)
    }
}
