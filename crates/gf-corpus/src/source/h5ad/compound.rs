//! Tables as anndata 0.6 and earlier wrote them: one HDF5 compound data set,
//! the labels of categorical columns in `uns/NAME_categories`.

use rust_hdf5::DatatypeMessage;

use super::{
    super::{hdf5::H5, tree::Tree},
    column::Labels,
    stored::{Stored, read_labels},
    table::Table,
};
use crate::error::Result;

/// The members of a compound data set; the first is the index.
pub(super) fn open(h5: &H5, object: &str, room: &mut usize) -> Result<Table> {
    let rows = h5.dataset(object)?;
    let DatatypeMessage::Compound { size, members } = &rows.kind else {
        return Err(rows.encoding("a table"));
    };
    if *size == 0 || rows.shape().len() != 1 {
        return Err(rows.encoding("a table"));
    }
    let mut columns = Vec::new();
    for member in members {
        let labels = match member.datatype {
            DatatypeMessage::FixedPoint { .. } => {
                labels(h5, &format!("uns/{}_categories", member.name), room)
            }
            _ => None,
        };
        let (offset, kind) = (member.offset as usize, member.datatype.clone());
        columns.push((member.name.clone(), Stored::Member { offset, kind, labels }));
    }
    if columns.is_empty() {
        return Err(rows.encoding("a table with an index"));
    }
    let (_, index) = columns.remove(0);
    Ok(Table {
        path: h5.path().to_owned(),
        object: object.to_owned(),
        n_rows: rows.len(),
        rows: Some(rows),
        index,
        columns,
        unread: Vec::new(),
    })
}

/// Labels of a column of codes, where the file has them and they can be read.
fn labels(h5: &H5, object: &str, room: &mut usize) -> Option<Labels> {
    if h5.has(object) { read_labels(Tree::Hdf5(h5), object, room).ok().flatten() } else { None }
}
