//! A table of the file: obs, var or raw/var.

use rust_hdf5::DatatypeMessage;

use super::{super::hdf5::H5, column::Column, compound};
use crate::error::{Error, Result};

/// Where anndata 0.7 keeps the labels of categorical columns.
const CATEGORIES: &str = "__categories";

/// An index and named columns of the same length.
pub(super) struct Frame {
    pub(super) index: Vec<String>,
    pub(super) columns: Vec<(String, Column)>,
    /// Columns stored in a way that is not read.
    pub(super) unread: Vec<String>,
}

impl Frame {
    pub(super) fn read(h5: &H5, object: &str) -> Result<Self> {
        if !h5.has(object) {
            return Err(h5.encoding(object, "nothing", "a table"));
        }
        let frame =
            if h5.is_group(object) { read_group(h5, object)? } else { compound::read(h5, object)? };
        let expected = frame.index.len() as u64;
        for (name, column) in &frame.columns {
            let found = column.len() as u64;
            if found != expected {
                let what = format!("rows of {object}/{name} against its index");
                return Err(Error::Length { path: h5.path().to_owned(), what, found, expected });
            }
        }
        Ok(frame)
    }
}

fn read_group(h5: &H5, object: &str) -> Result<Frame> {
    let index_name = h5.attribute(object, "_index").unwrap_or_else(|| "_index".to_owned());
    let index_object = format!("{object}/{index_name}");
    let Some(index) = Column::read(h5, &index_object)? else {
        return Err(h5.encoding(&index_object, "another encoding", "a vector of strings"));
    };
    let index = (0..index.len()).map(|row| index.get(row).unwrap_or_default()).collect();
    let mut frame = Frame { index, columns: Vec::new(), unread: Vec::new() };
    for name in h5.children(object) {
        if name == index_name || name == CATEGORIES {
            continue;
        }
        match read_column(h5, object, &name)? {
            Some(column) => frame.columns.push((name, column)),
            None => frame.unread.push(name),
        }
    }
    Ok(frame)
}

fn read_column(h5: &H5, object: &str, name: &str) -> Result<Option<Column>> {
    let column = format!("{object}/{name}");
    let labels = format!("{object}/{CATEGORIES}/{name}");
    if !h5.is_group(&column) && h5.has(&labels) {
        let codes = h5.dataset(&column)?;
        if matches!(codes.kind, DatatypeMessage::FixedPoint { .. }) {
            return Column::categorical(h5, &codes, &labels);
        }
    }
    Column::read(h5, &column)
}
