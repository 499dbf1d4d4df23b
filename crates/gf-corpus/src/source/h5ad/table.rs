//! A table of the file: obs, var or raw/var, read by windows of rows.

use std::path::PathBuf;

use super::{
    super::{hdf5::Data, tree::Tree, values::Numbers},
    compound,
    frame::Frame,
    stored::Stored,
};
use crate::error::{Error, Result};

/// Where anndata 0.7 keeps the labels of categorical columns.
const CATEGORIES: &str = "__categories";
/// Most bytes of labels that a table keeps in memory.
const MAX_LABEL_BYTES: usize = 64 << 20;
/// Most values of a table that is read whole.
const MAX_VALUES: usize = 1 << 24;
/// Rows at the beginning and the end that tell whether a column can be read.
const TRIED: usize = 64;

/// An index and named columns, as they lie in the file.
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) object: String,
    pub(super) n_rows: usize,
    /// The rows of a compound table.
    pub(super) rows: Option<Data>,
    pub(super) index: Stored,
    pub(super) columns: Vec<(String, Stored)>,
    /// Columns stored in a way that is not read, or that cannot be read.
    pub(super) unread: Vec<String>,
}

impl Table {
    pub(super) fn open(tree: Tree, object: &str) -> Result<Self> {
        if !tree.has(object) {
            return Err(tree.encoding(object, "nothing", "a table"));
        }
        let mut room = MAX_LABEL_BYTES;
        let mut table = match tree {
            Tree::Hdf5(h5) if !h5.is_group(object) => compound::open(h5, object, &mut room)?,
            _ => open_group(tree, object, &mut room)?,
        };
        table.set_unreadable_aside();
        let (first, last) = table.tried();
        for start in [first, last] {
            table.window(start, TRIED.min(table.n_rows), &[])?;
        }
        Ok(table)
    }

    /// Moves columns whose first or last rows cannot be read to `unread`.
    fn set_unreadable_aside(&mut self) {
        let (first, last) = self.tried();
        let mut kept = Vec::new();
        for (name, column) in std::mem::take(&mut self.columns) {
            let n = TRIED.min(self.n_rows);
            let is_whole = column.len().is_none_or(|n| n == self.n_rows);
            let column = [(name, column)];
            let can_read =
                |start| self.window(start, n, &column).is_ok_and(|f| f.columns.len() == 1);
            let is_read = is_whole && can_read(first) && can_read(last);
            let [(name, column)] = column;
            if is_read {
                kept.push((name, column));
            } else {
                self.unread.push(name);
            }
        }
        self.columns = kept;
    }

    /// Where the rows begin that are tried.
    fn tried(&self) -> (usize, usize) {
        (0, self.n_rows.saturating_sub(TRIED))
    }

    /// Leaves out columns beyond the values that a whole table may have.
    pub(super) fn limit_columns(&mut self) {
        self.columns.truncate(MAX_VALUES / self.n_rows.max(1));
    }

    /// Some rows, over all columns.
    pub(super) fn read(&self, start: usize, n: usize) -> Result<Frame> {
        self.window(start, n, &self.columns)
    }

    /// The id of a row; empty if it cannot be read.
    pub(super) fn name(&self, row: usize) -> String {
        let frame = self.window(row, 1, &[]);
        frame.ok().and_then(|mut frame| frame.index.pop()).unwrap_or_default()
    }

    fn window(&self, start: usize, n: usize, columns: &[(String, Stored)]) -> Result<Frame> {
        let bytes = match &self.rows {
            Some(rows) => Some((rows, rows.stored(start, n)?)),
            None => None,
        };
        let rows = bytes.as_ref().map(|(rows, bytes)| (*rows, bytes.as_slice()));
        let Some(index) = self.index.read(start, n, rows)? else {
            return Err(self.unread_index());
        };
        let index = (0..n).map(|row| index.get(row).unwrap_or_default()).collect();
        let mut frame = Frame { index, columns: Vec::new() };
        for (name, column) in columns {
            if let Some(column) = column.read(start, n, rows)? {
                frame.columns.push((name.clone(), column));
            }
        }
        Ok(frame)
    }

    fn unread_index(&self) -> Error {
        Error::Encoding {
            path: self.path.clone(),
            object: self.object.clone(),
            found: "another index".to_owned(),
            expected: "an index of strings or numbers".to_owned(),
        }
    }
}

fn open_group(tree: Tree, object: &str, room: &mut usize) -> Result<Table> {
    let index_name = tree.attribute(object, "_index").unwrap_or_else(|| "_index".to_owned());
    let index_object = format!("{object}/{index_name}");
    let Some(index) = Stored::open(tree, &index_object, room)? else {
        return Err(tree.encoding(&index_object, "another encoding", "a vector of strings"));
    };
    let mut table = Table {
        path: tree.path().to_owned(),
        object: object.to_owned(),
        n_rows: index.len().unwrap_or(0),
        rows: None,
        index,
        columns: Vec::new(),
        unread: Vec::new(),
    };
    for name in tree.children(object) {
        if name == index_name || name == CATEGORIES {
            continue;
        }
        match open_column(tree, object, &name, room) {
            Ok(Some(column)) => table.columns.push((name, column)),
            // What is only metadata does not keep a file's counts from being read.
            Ok(None) | Err(_) => table.unread.push(name),
        }
    }
    Ok(table)
}

fn open_column(tree: Tree, object: &str, name: &str, room: &mut usize) -> Result<Option<Stored>> {
    let column = format!("{object}/{name}");
    let labels = format!("{object}/{CATEGORIES}/{name}");
    if !tree.is_group(&column) && tree.has(&labels) {
        let codes = tree.array(&column)?;
        if codes.element().is_integer() {
            return Stored::categorical(tree, codes, &labels, room);
        }
    }
    Stored::open(tree, &column, room)
}
