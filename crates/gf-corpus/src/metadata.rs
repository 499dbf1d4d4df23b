//! What is known of cells beside their counts: columns of text, numbers or truth values.

use serde::{Deserialize, Serialize};

/// What a column of metadata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataKind {
    /// Words; what is of several kinds becomes words.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// True or false.
    Boolean,
}

impl MetadataKind {
    /// The kind that values of both can be read as: whole numbers among numbers
    /// are numbers, any other mixture is text.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            _ => Self::Text,
        }
    }
}

/// A column of metadata: its name and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MetadataField {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: MetadataKind,
    /// Whether the file keeps its numbers as floats of 32 bits.
    pub is_single: bool,
}

impl MetadataField {
    /// A column of that name and kind.
    pub fn new(name: impl Into<String>, kind: MetadataKind) -> Self {
        Self { name: name.into(), kind, is_single: false }
    }
}

/// A value of a metadata column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetadataValue<'a> {
    /// The file has none for this cell.
    Missing,
    /// A word.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number, never NaN (which is [`Missing`](Self::Missing)).
    Float(f64),
    /// A truth value.
    Boolean(bool),
}

impl MetadataValue<'_> {
    /// The value as pandas would print it; nothing for a missing one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Text(text) => Some((*text).to_owned()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Boolean(true) => Some("True".to_owned()),
            Self::Boolean(false) => Some("False".to_owned()),
        }
    }
}

/// Values of a metadata column for some cells, in order; a missing one is `None`.
///
/// ```
/// use gf_corpus::{MetadataColumn, MetadataKind, MetadataValue};
/// let ages = MetadataColumn::Integers(vec![Some(31), None]);
/// assert_eq!(ages.get(0), MetadataValue::Integer(31));
/// assert_eq!(ages.get(1), MetadataValue::Missing);
/// let words = ages.into_kind(MetadataKind::Text);
/// assert_eq!(words, MetadataColumn::Text(vec![Some("31".to_owned()), None]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataColumn {
    /// Words.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Numbers without NaN.
    Floats(Vec<Option<f64>>),
    /// Truth values.
    Booleans(Vec<Option<bool>>),
}

/// The same expression over the values of a column, whatever they are.
macro_rules! each {
    ($column:expr, $values:ident => $does:expr) => {
        match $column {
            MetadataColumn::Text($values) => $does,
            MetadataColumn::Integers($values) => $does,
            MetadataColumn::Floats($values) => $does,
            MetadataColumn::Booleans($values) => $does,
        }
    };
}

impl MetadataColumn {
    /// `n` missing values.
    #[must_use]
    pub fn missing(kind: MetadataKind, n: usize) -> Self {
        match kind {
            MetadataKind::Text => Self::Text(vec![None; n]),
            MetadataKind::Integer => Self::Integers(vec![None; n]),
            MetadataKind::Float => Self::Floats(vec![None; n]),
            MetadataKind::Boolean => Self::Booleans(vec![None; n]),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> MetadataKind {
        match self {
            Self::Text(_) => MetadataKind::Text,
            Self::Integers(_) => MetadataKind::Integer,
            Self::Floats(_) => MetadataKind::Float,
            Self::Booleans(_) => MetadataKind::Boolean,
        }
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether it is of no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a cell.
    ///
    /// # Panics
    /// If `cell` is not below [`len`](Self::len), as slices do.
    #[must_use]
    pub fn get(&self, cell: usize) -> MetadataValue<'_> {
        let value = match self {
            Self::Text(values) => values[cell].as_deref().map(MetadataValue::Text),
            Self::Integers(values) => values[cell].map(MetadataValue::Integer),
            Self::Floats(values) => values[cell].map(MetadataValue::Float),
            Self::Booleans(values) => values[cell].map(MetadataValue::Boolean),
        };
        value.unwrap_or(MetadataValue::Missing)
    }

    /// The values without those for which `mask` is true.
    pub(crate) fn masked(mut self, mask: &[bool]) -> Self {
        each!(&mut self, values => {
            for (value, _) in values.iter_mut().zip(mask).filter(|(_, is_missing)| **is_missing) {
                *value = None;
            }
        });
        self
    }

    /// The cells for which `kept` is true.
    pub(crate) fn retain(&mut self, kept: &[bool]) {
        let mut kept = kept.iter();
        each!(self, values => values.retain(|_| kept.next() == Some(&true)));
    }

    /// The values as those of another kind, which has to be
    /// [`common`](MetadataKind::common) to theirs; others become missing.
    #[must_use]
    pub fn into_kind(self, kind: MetadataKind) -> Self {
        if self.kind() == kind {
            return self;
        }
        match (kind, self) {
            (MetadataKind::Float, Self::Integers(values)) => {
                Self::Floats(values.into_iter().map(|value| value.map(|v| v as f64)).collect())
            }
            (MetadataKind::Text, column) => {
                Self::Text((0..column.len()).map(|cell| column.get(cell).text()).collect())
            }
            (kind, column) => Self::missing(kind, column.len()),
        }
    }
}
