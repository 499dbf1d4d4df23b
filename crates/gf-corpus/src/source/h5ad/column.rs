//! The values of a column for some rows, as compactly as the file has them.

use std::sync::Arc;

use super::super::element::{Element, Order, integer};
use crate::metadata::{MetadataColumn, MetadataKind};

/// Labels of a categorical column; one can be missing.
pub(super) type Labels = Arc<[Option<String>]>;

/// Values of a column; a missing one reads as `None`.
pub(super) enum Column {
    /// Strings, one a row.
    Text(Vec<String>),
    /// Indices into labels; negative is missing.
    Labels { codes: Vec<i128>, labels: Labels },
    /// Truth values; `None` is neither.
    Booleans(Vec<Option<bool>>),
    /// Whole numbers.
    Integers(Vec<i128>),
    /// Numbers; NaN is missing. `single` prints as few digits as f32 needs.
    Floats { values: Vec<f64>, single: bool },
    /// Another column with some rows masked out.
    Masked { values: Box<Column>, mask: Vec<bool> },
}

impl Column {
    /// Numbers or truth values from the bytes of each; `None` if the type is
    /// not one that anndata writes for a plain column.
    pub(super) fn numbers<'a>(
        element: Element,
        cells: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let order = Order::Little;
        Some(match element {
            Element::Boolean => {
                Self::Booleans(cells.map(|cell| truth(integer(cell, 1, false))).collect())
            }
            Element::Integer { size, signed, order: of }
                if of == order && (1..=8).contains(&size) =>
            {
                Self::Integers(cells.map(|cell| integer(cell, size, signed)).collect())
            }
            Element::Float { size: size @ (4 | 8), order: of } if of == order => {
                let values = cells.map(|cell| float(cell, size)).collect();
                Self::Floats { values, single: size == 4 }
            }
            _ => return None,
        })
    }

    /// Puts labels on a column of codes.
    pub(super) fn labelled(self, labels: Labels) -> Self {
        match self {
            Self::Integers(codes) => Self::Labels { codes, labels },
            column => column,
        }
    }

    /// Whether its values are words rather than numbers.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::Text(_) | Self::Labels { .. } | Self::Booleans(_) => true,
            Self::Masked { values, .. } => values.is_text(),
            Self::Integers(_) | Self::Floats { .. } => false,
        }
    }

    /// The values as metadata of the kind that [`Stored::metadata_kind`] tells.
    ///
    /// [`Stored::metadata_kind`]: super::stored::Stored::metadata_kind
    pub(super) fn into_metadata(self, kind: MetadataKind) -> MetadataColumn {
        match self {
            Self::Text(values) => MetadataColumn::Text(values.into_iter().map(Some).collect()),
            Self::Labels { ref codes, .. } => {
                MetadataColumn::Text((0..codes.len()).map(|row| self.get(row)).collect())
            }
            Self::Integers(ref values) if kind == MetadataKind::Text => {
                MetadataColumn::Text((0..values.len()).map(|row| self.get(row)).collect())
            }
            Self::Booleans(values) => MetadataColumn::Booleans(values),
            Self::Integers(values) => {
                let number = |value| i64::try_from(value).ok();
                MetadataColumn::Integers(values.into_iter().map(number).collect())
            }
            Self::Floats { values, .. } => {
                let number = |value: f64| (!value.is_nan()).then_some(value);
                MetadataColumn::Floats(values.into_iter().map(number).collect())
            }
            Self::Masked { values, mask } => values.into_metadata(kind).masked(&mask),
        }
    }

    /// The value of a row, as text.
    pub(super) fn get(&self, row: usize) -> Option<String> {
        match self {
            Self::Text(values) => values.get(row).cloned(),
            Self::Labels { codes, labels } => {
                let code = usize::try_from(*codes.get(row)?).ok()?;
                labels.get(code).cloned().flatten()
            }
            Self::Booleans(values) => {
                let truth = values.get(row).copied().flatten();
                truth.map(|truth| if truth { "True" } else { "False" }.to_owned())
            }
            Self::Integers(values) => values.get(row).map(i128::to_string),
            Self::Floats { values, single } => {
                let value = values.get(row).copied().filter(|value| !value.is_nan())?;
                Some(if *single { (value as f32).to_string() } else { value.to_string() })
            }
            Self::Masked { values, mask } => {
                mask.get(row).is_some_and(|m| !m).then(|| values.get(row))?
            }
        }
    }
}

/// As anndata stores truth values.
fn truth(code: i128) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn float(cell: &[u8], size: usize) -> f64 {
    let wide = integer(cell, size, false) as u64;
    if size == 4 { f64::from(f32::from_bits(wide as u32)) } else { f64::from_bits(wide) }
}
