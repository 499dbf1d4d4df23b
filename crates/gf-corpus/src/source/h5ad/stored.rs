//! Where a column of a table lies in the file, and windows of it.

use rust_hdf5::{ByteOrder, DatatypeMessage};

use super::{
    super::hdf5::{Data, H5},
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
    Vector { data: Data, kind: DatatypeMessage, labels: Option<Labels> },
    /// A vector and a vector that is true where its values are missing.
    Masked { values: Data, kind: DatatypeMessage, mask: Data },
    /// A part of the rows of a compound table.
    Member { offset: usize, kind: DatatypeMessage, labels: Option<Labels> },
}

impl Stored {
    /// Finds a column stored as a data set or group; `None` if its encoding is
    /// not one of those anndata writes for a plain column. Labels take their
    /// bytes from `room`.
    pub(super) fn open(h5: &H5, object: &str, room: &mut usize) -> Result<Option<Self>> {
        if !h5.is_group(object) {
            let data = h5.dataset(object)?;
            let is_vector = data.shape().len() == 1;
            let kind = in_host_order(data.kind.clone());
            return Ok(is_vector.then_some(Self::Vector { data, kind, labels: None }));
        }
        let part = |name: &str| format!("{object}/{name}");
        match h5.attribute(object, "encoding-type").as_deref() {
            Some("categorical") => {
                let codes = h5.dataset(&part("codes"))?;
                Self::categorical(h5, codes, &part("categories"), room)
            }
            Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
                let (values, mask) = (h5.dataset(&part("values"))?, h5.dataset(&part("mask"))?);
                let are_vectors = values.shape().len() == 1 && values.shape() == mask.shape();
                let kind = in_host_order(values.kind.clone());
                Ok(are_vectors.then_some(Self::Masked { values, kind, mask }))
            }
            _ => Ok(None),
        }
    }

    /// Codes with the labels stored under another name.
    pub(super) fn categorical(
        h5: &H5,
        codes: Data,
        categories: &str,
        room: &mut usize,
    ) -> Result<Option<Self>> {
        let is_codes = matches!(codes.kind, DatatypeMessage::FixedPoint { .. });
        if !is_codes || codes.shape().len() != 1 {
            return Ok(None);
        }
        let Some(labels) = read_labels(h5, categories, room)? else { return Ok(None) };
        let kind = in_host_order(codes.kind.clone());
        Ok(Some(Self::Vector { data: codes, kind, labels: Some(labels) }))
    }

    /// What its values are as metadata.
    pub(super) fn metadata_kind(&self) -> MetadataKind {
        let kind = match self {
            Self::Vector { labels: Some(_), .. } | Self::Member { labels: Some(_), .. } => {
                return MetadataKind::Text;
            }
            Self::Vector { kind, .. } | Self::Masked { kind, .. } | Self::Member { kind, .. } => {
                kind
            }
        };
        match kind {
            // Some need more than the 63 bits of a whole number.
            DatatypeMessage::FixedPoint { size: 8, signed: false, .. } => MetadataKind::Text,
            DatatypeMessage::FixedPoint { .. } => MetadataKind::Integer,
            DatatypeMessage::FloatingPoint { .. } => MetadataKind::Float,
            DatatypeMessage::Enum { .. } => MetadataKind::Boolean,
            _ => MetadataKind::Text,
        }
    }

    /// The column of that name, as metadata.
    pub(super) fn metadata_field(&self, name: &str) -> MetadataField {
        let (Self::Vector { kind, .. } | Self::Masked { kind, .. } | Self::Member { kind, .. }) =
            self;
        let is_single = matches!(kind, DatatypeMessage::FloatingPoint { size: 4, .. });
        MetadataField { is_single, ..MetadataField::new(name, self.metadata_kind()) }
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
        let vector = |data: &Data, kind| {
            let bytes = data.stored(start, n)?;
            Column::decode(data, kind, bytes.chunks_exact(data.width().max(1)))
        };
        let (column, labels) = match self {
            Self::Vector { data, kind, labels } => (vector(data, kind)?, labels),
            Self::Masked { values, kind, mask } => {
                let Some(values) = vector(values, kind)? else { return Ok(None) };
                let bytes = mask.stored(start, n)?;
                let mask = bytes.chunks_exact(mask.width().max(1));
                let mask = mask.map(|cell| cell.iter().any(|&byte| byte != 0)).collect();
                return Ok(Some(Column::Masked { values: Box::new(values), mask }));
            }
            Self::Member { offset, kind, labels } => {
                let Some((data, bytes)) = rows else { return Ok(None) };
                let cells = bytes.chunks_exact(data.width().max(1));
                let cells = cells.map(|row| row.get(*offset..).unwrap_or_default());
                (Column::decode(data, kind, cells)?, labels)
            }
        };
        Ok(match labels {
            Some(labels) => column.map(|column| column.labelled(labels.clone())),
            None => column,
        })
    }
}

/// All labels under a name; `None` if they are too many or no plain column.
pub(super) fn read_labels(h5: &H5, object: &str, room: &mut usize) -> Result<Option<Labels>> {
    // Labels of labels do not exist, and a file that links them to itself has no end.
    if h5.has(&format!("{object}/categories")) {
        return Ok(None);
    }
    let Some(stored) = Stored::open(h5, object, room)? else { return Ok(None) };
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

/// The type of a vector's values once they are read, when the reader has
/// turned foreign numbers into the machine's order.
fn in_host_order(mut kind: DatatypeMessage) -> DatatypeMessage {
    if let DatatypeMessage::FixedPoint { byte_order, .. }
    | DatatypeMessage::FloatingPoint { byte_order, .. } = &mut kind
    {
        *byte_order = ByteOrder::LittleEndian;
    }
    kind
}
