//! One column of obs or var, kept as compactly as the file has it.

use rust_hdf5::{ByteOrder, DatatypeMessage};

use super::super::hdf5::{Data, H5};
use crate::error::Result;

/// Values of a column; a missing one reads as `None`.
pub(super) enum Column {
    /// Strings, one a row.
    Text(Vec<String>),
    /// Indices into labels; negative is missing.
    Labels { codes: Vec<i64>, labels: Vec<Option<String>> },
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Numbers; NaN is missing. `single` prints as few digits as f32 needs.
    Floats { values: Vec<f64>, single: bool },
    /// Another column with some rows masked out.
    Masked { values: Box<Column>, mask: Vec<bool> },
}

impl Column {
    /// Reads a column stored as a data set or group; `None` if its encoding
    /// is not one of those anndata writes for a plain column.
    pub(super) fn read(h5: &H5, object: &str) -> Result<Option<Self>> {
        if !h5.is_group(object) {
            return Self::read_values(&h5.dataset(object)?);
        }
        let part = |name: &str| format!("{object}/{name}");
        match h5.attribute(object, "encoding-type").as_deref() {
            Some("categorical") => {
                let codes = h5.dataset(&part("codes"))?;
                Self::categorical(h5, &codes, &part("categories"))
            }
            Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
                let Some(values) = Self::read_values(&h5.dataset(&part("values"))?)? else {
                    return Ok(None);
                };
                let mask = h5.dataset(&part("mask"))?.bytes()?;
                let mask = mask.into_iter().map(|byte| byte != 0).collect();
                Ok(Some(Self::Masked { values: Box::new(values), mask }))
            }
            _ => Ok(None),
        }
    }

    /// Codes with the labels stored under another name.
    pub(super) fn categorical(h5: &H5, codes: &Data, categories: &str) -> Result<Option<Self>> {
        // Labels of labels do not exist, and a file that links them to itself has no end.
        let is_nested = h5.has(&format!("{categories}/categories"));
        let Some(labels) = (if is_nested { None } else { Self::read(h5, categories)? }) else {
            return Ok(None);
        };
        let labels = (0..labels.len()).map(|i| labels.get(i)).collect();
        let codes = codes.integers(0, codes.len())?;
        Ok(Some(Self::Labels { codes, labels }))
    }

    /// A vector of strings, numbers or booleans.
    fn read_values(data: &Data) -> Result<Option<Self>> {
        if data.shape().len() != 1 {
            return Ok(None);
        }
        let n = data.len();
        Ok(Some(match &data.kind {
            DatatypeMessage::VarLenString { .. } | DatatypeMessage::FixedString { .. } => {
                Self::Text(data.strings()?)
            }
            DatatypeMessage::Enum { .. } => {
                Self::booleans(data.bytes()?.into_iter().map(i64::from).collect())
            }
            DatatypeMessage::FixedPoint { .. } => Self::Integers(data.integers(0, n)?),
            DatatypeMessage::FloatingPoint {
                size, byte_order: ByteOrder::LittleEndian, ..
            } => {
                let values = match size {
                    4 => data.slice::<f32>(&[0], &[n])?.into_iter().map(f64::from).collect(),
                    8 => data.slice(&[0], &[n])?,
                    _ => return Ok(None),
                };
                Self::Floats { values, single: *size == 4 }
            }
            _ => return Ok(None),
        }))
    }

    /// Truth values, written as pandas writes them.
    pub(super) fn booleans(codes: Vec<i64>) -> Self {
        let labels = ["False", "True"].map(|label| Some(label.to_owned()));
        Self::Labels { codes, labels: labels.to_vec() }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Labels { codes, .. } => codes.len(),
            Self::Integers(values) => values.len(),
            Self::Floats { values, .. } => values.len(),
            Self::Masked { values, mask } => values.len().min(mask.len()),
        }
    }

    /// Whether its values are words rather than numbers.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::Text(_) | Self::Labels { .. } => true,
            Self::Masked { values, .. } => values.is_text(),
            Self::Integers(_) | Self::Floats { .. } => false,
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
            Self::Integers(values) => values.get(row).map(i64::to_string),
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
