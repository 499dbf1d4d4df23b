//! Where a column of a table lies in the file, and windows of it.

use rust_hdf5::DatatypeMessage;

use super::{
    super::{
        element::Element,
        hdf5::Data,
        tree::{Array, Tree},
        values::Numbers,
    },
    column::{Column, Labels},
};
use crate::{
    error::Result,
    metadata::{MetadataField, MetadataKind},
};

/// Most labels of a categorical column.
const MAX_LABELS: usize = 1 << 20;
/// Labels read at a time.
const LABEL_WINDOW: usize = 1 << 12;

/// A column in the file; what its values need of memory is read with them.
pub(super) enum Stored {
    /// A vector of strings, numbers or booleans; labels if these are codes.
    Vector { data: Array, labels: Option<Labels> },
    /// A vector and a vector that is true where its values are missing.
    Masked { values: Array, mask: Array },
    /// A part of the rows of a compound table.
    Member { offset: usize, kind: DatatypeMessage, labels: Option<Labels> },
}

impl Stored {
    /// Finds a column stored as an array or group; `None` if its encoding is
    /// not one of those anndata writes for a plain column. Labels take their
    /// bytes from `room`.
    pub(super) fn open(tree: Tree, object: &str, room: &mut usize) -> Result<Option<Self>> {
        if !tree.is_group(object) {
            let data = tree.array(object)?;
            let is_vector = data.shape().len() == 1;
            return Ok(is_vector.then_some(Self::Vector { data, labels: None }));
        }
        let part = |name: &str| format!("{object}/{name}");
        match tree.attribute(object, "encoding-type").as_deref() {
            Some("categorical") => {
                let codes = tree.array(&part("codes"))?;
                Self::categorical(tree, codes, &part("categories"), room)
            }
            Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
                let (values, mask) = (tree.array(&part("values"))?, tree.array(&part("mask"))?);
                let are_vectors = values.shape().len() == 1 && values.shape() == mask.shape();
                Ok(are_vectors.then_some(Self::Masked { values, mask }))
            }
            _ => Ok(None),
        }
    }

    /// Codes with the labels stored under another name.
    pub(super) fn categorical(
        tree: Tree,
        codes: Array,
        categories: &str,
        room: &mut usize,
    ) -> Result<Option<Self>> {
        if !codes.element().is_integer() || codes.shape().len() != 1 {
            return Ok(None);
        }
        let Some(labels) = read_labels(tree, categories, room)? else { return Ok(None) };
        Ok(Some(Self::Vector { data: codes, labels: Some(labels) }))
    }

    /// What its values are as metadata.
    pub(super) fn metadata_kind(&self) -> MetadataKind {
        if let Self::Vector { labels: Some(_), .. } | Self::Member { labels: Some(_), .. } = self {
            return MetadataKind::Text;
        }
        match self.element() {
            // Some need more than the 63 bits of a whole number.
            Element::Integer { size: 8, signed: false, .. } => MetadataKind::Text,
            Element::Integer { .. } => MetadataKind::Integer,
            Element::Float { .. } => MetadataKind::Float,
            Element::Boolean => MetadataKind::Boolean,
            Element::Text | Element::Other => MetadataKind::Text,
        }
    }

    /// The column of that name, as metadata.
    pub(super) fn metadata_field(&self, name: &str) -> MetadataField {
        let is_single = matches!(self.element(), Element::Float { size: 4, .. });
        MetadataField { is_single, ..MetadataField::new(name, self.metadata_kind()) }
    }

    fn element(&self) -> Element {
        match self {
            Self::Vector { data, .. } | Self::Masked { values: data, .. } => data.element(),
            Self::Member { kind, .. } => Element::of(kind),
        }
    }

    /// Number of values; `None` for a part of rows, which has as many as its table.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Vector { data, .. } | Self::Masked { values: data, .. } => Some(data.len()),
            Self::Member { .. } => None,
        }
    }

    /// `n` values from `start` on; `None` if their type is not read. `rows` is
    /// the compound table and its rows as stored.
    pub(super) fn read(
        &self,
        start: usize,
        n: usize,
        rows: Option<(&Data, &[u8])>,
    ) -> Result<Option<Column>> {
        let (column, labels) = match self {
            Self::Vector { data, labels } => (vector(data, start, n)?, labels),
            Self::Masked { values, mask } => {
                let Some(values) = vector(values, start, n)? else { return Ok(None) };
                let bytes = mask.stored(start, n)?;
                let mask = bytes.chunks_exact(mask.width().max(1));
                let mask = mask.map(|cell| cell.iter().any(|&byte| byte != 0)).collect();
                return Ok(Some(Column::Masked { values: Box::new(values), mask }));
            }
            Self::Member { offset, kind, labels } => {
                let Some((data, bytes)) = rows else { return Ok(None) };
                let cells = bytes.chunks_exact(data.width().max(1));
                let cells = cells.map(|row| row.get(*offset..).unwrap_or_default());
                (member(data, kind, cells)?, labels)
            }
        };
        Ok(match labels {
            Some(labels) => column.map(|column| column.labelled(labels.clone())),
            None => column,
        })
    }
}

/// All labels under a name; `None` if they are too many or no plain column.
pub(super) fn read_labels(tree: Tree, object: &str, room: &mut usize) -> Result<Option<Labels>> {
    // Labels of labels do not exist, and a file that links them to itself has no end.
    if tree.has(&format!("{object}/categories")) {
        return Ok(None);
    }
    let Some(stored) = Stored::open(tree, object, room)? else { return Ok(None) };
    let n = stored.len().unwrap_or(0);
    if n > MAX_LABELS {
        return Ok(None);
    }
    let mut labels = Vec::new();
    for start in (0..n).step_by(LABEL_WINDOW) {
        let n = LABEL_WINDOW.min(n - start);
        let Some(column) = stored.read(start, n, None)? else { return Ok(None) };
        for label in (0..n).map(|row| column.get(row)) {
            let n_bytes = size_of::<Option<String>>() + label.as_ref().map_or(0, String::len);
            let Some(left) = room.checked_sub(n_bytes) else { return Ok(None) };
            *room = left;
            labels.push(label);
        }
    }
    Ok(Some(labels.into()))
}

/// Some values of a vector; `None` if their type is not read.
fn vector(array: &Array, start: usize, n: usize) -> Result<Option<Column>> {
    let element = array.element().in_host_order();
    if element == Element::Text {
        return array.texts(start, n).map(Column::Text).map(Some);
    }
    let bytes = array.stored(start, n)?;
    Ok(Column::numbers(element, bytes.chunks_exact(array.width().max(1))))
}

/// The parts of rows of a compound table.
fn member<'a>(
    data: &Data,
    kind: &DatatypeMessage,
    cells: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Column>> {
    Ok(match Element::of(kind) {
        Element::Text => data.texts(kind, cells)?.map(Column::Text),
        element => Column::numbers(element, cells),
    })
}
