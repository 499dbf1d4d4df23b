//! How an Arrow type lies in a batch: which arrays and buffers, of which width.

use std::fmt;

use arrow_format::ipc::{self, FieldRef, IntRef, TypeRef, planus};
use gf_corpus::MetadataKind;

/// Types nested deeper than any data set's: a corrupt header is not followed further.
const MAX_DEPTH: usize = 16;

/// Views and run-end encodings: how many buffers such a column has cannot be told.
const NEWER_TYPE: &str = "of a type that is newer than Arrow 12, such as a view";

/// The physical layout of a column. Types that are not read are only counted, so that they can
/// be stepped over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Null,
    Bool,
    Int(IntWidth),
    Float32,
    Float64,
    Text { large: bool },
    List { large: bool, item: Box<Layout> },
    FixedList { length: usize, item: Box<Layout> },
    Dictionary { id: i64, keys: IntWidth, values: Box<Layout> },
    Other { name: &'static str, size: Size },
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IntWidth {
    pub(super) bytes: usize,
    pub(super) signed: bool,
}

/// How many entries a column takes in the lists of a batch's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) buffers: usize,
}

/// Why a type has no layout.
pub(super) enum LayoutError {
    Header(planus::Error),
    Unsupported(&'static str),
}

impl From<planus::Error> for LayoutError {
    fn from(error: planus::Error) -> Self {
        match error.error_kind {
            planus::errors::ErrorKind::UnknownUnionTag { .. } => Self::Unsupported(NEWER_TYPE),
            _ => Self::Header(error),
        }
    }
}

impl Layout {
    /// The layout of a field of a schema.
    pub(super) fn of(field: FieldRef<'_>) -> Result<Self, LayoutError> {
        Self::nested(field, MAX_DEPTH)
    }

    fn nested(field: FieldRef<'_>, depth: usize) -> Result<Self, LayoutError> {
        let depth =
            depth.checked_sub(1).ok_or(LayoutError::Unsupported("of a deeply nested type"))?;
        let values = Self::undictionaried(field, depth)?;
        let Some(encoding) = field.dictionary()? else {
            return Ok(values);
        };
        let keys = match encoding.index_type()? {
            Some(int) => int_width(int)?,
            None => IntWidth { bytes: 4, signed: true },
        };
        Ok(Self::Dictionary { id: encoding.id()?, keys, values: Box::new(values) })
    }

    fn undictionaried(field: FieldRef<'_>, depth: usize) -> Result<Self, LayoutError> {
        let kind = field.type_()?.ok_or(LayoutError::Unsupported("without a type"))?;
        Ok(match kind {
            TypeRef::Null(_) => Self::Null,
            TypeRef::Bool(_) => Self::Bool,
            TypeRef::Int(int) => Self::Int(int_width(int)?),
            TypeRef::FloatingPoint(float) => match float.precision()? {
                ipc::Precision::Half => Self::other("float16", 2),
                ipc::Precision::Single => Self::Float32,
                ipc::Precision::Double => Self::Float64,
            },
            TypeRef::Utf8(_) => Self::Text { large: false },
            TypeRef::LargeUtf8(_) => Self::Text { large: true },
            TypeRef::List(_) => Self::list(field, false, depth)?,
            TypeRef::LargeList(_) => Self::list(field, true, depth)?,
            TypeRef::Binary(_) | TypeRef::LargeBinary(_) => Self::other("binary", 3),
            TypeRef::FixedSizeBinary(_) => Self::other("fixed_size_binary", 2),
            TypeRef::Decimal(_) => Self::other("decimal", 2),
            TypeRef::Date(_) => Self::other("date", 2),
            TypeRef::Time(_) => Self::other("time", 2),
            TypeRef::Timestamp(_) => Self::other("timestamp", 2),
            TypeRef::Interval(_) => Self::other("interval", 2),
            TypeRef::Duration(_) => Self::other("duration", 2),
            TypeRef::Struct(_) => Self::parent("struct", 1, field, depth)?,
            TypeRef::FixedSizeList(list) => {
                let length = usize::try_from(list.list_size()?);
                let length = length
                    .map_err(|_| LayoutError::Unsupported("of lists of a negative length"))?;
                Self::FixedList { length, item: Self::item(field, depth)? }
            }
            TypeRef::Map(_) => Self::parent("map", 2, field, depth)?,
            TypeRef::Union(_) => return Err(LayoutError::Unsupported("a union")),
        })
    }

    fn other(name: &'static str, buffers: usize) -> Self {
        Self::Other { name, size: Size { nodes: 1, buffers } }
    }

    fn list(field: FieldRef<'_>, large: bool, depth: usize) -> Result<Self, LayoutError> {
        Ok(Self::List { large, item: Self::item(field, depth)? })
    }

    fn item(field: FieldRef<'_>, depth: usize) -> Result<Box<Self>, LayoutError> {
        let item = children(field, depth)?.pop().map(Box::new);
        item.ok_or(LayoutError::Unsupported("of lists without a type of their items"))
    }

    fn parent(
        name: &'static str,
        buffers: usize,
        field: FieldRef<'_>,
        depth: usize,
    ) -> Result<Self, LayoutError> {
        let own = Size { nodes: 1, buffers };
        let size = children(field, depth)?.iter().fold(own, |sum, child| sum + child.size());
        Ok(Self::Other { name, size })
    }

    /// The entries this column takes in the header of a batch.
    pub(super) fn size(&self) -> Size {
        let leaf = |buffers| Size { nodes: 1, buffers };
        match self {
            Self::Null => leaf(0),
            Self::Bool | Self::Int(_) | Self::Float32 | Self::Float64 | Self::Dictionary { .. } => {
                leaf(2)
            }
            Self::Text { .. } => leaf(3),
            Self::List { item, .. } => leaf(2) + item.size(),
            Self::FixedList { item, .. } => leaf(1) + item.size(),
            Self::Other { size, .. } => *size,
        }
    }

    /// What the values are as metadata; nothing for lists and types that are not read.
    pub(super) fn kind(&self) -> Option<MetadataKind> {
        match self {
            Self::Bool => Some(MetadataKind::Boolean),
            Self::Int(_) => Some(MetadataKind::Integer),
            Self::Float32 | Self::Float64 => Some(MetadataKind::Float),
            Self::Null | Self::Text { .. } => Some(MetadataKind::Text),
            Self::Dictionary { values, .. } => values.kind(),
            Self::List { .. } | Self::FixedList { .. } | Self::Other { .. } => None,
        }
    }

    /// Whether these are lists of whole numbers, of any width.
    pub(super) fn is_tokens(&self) -> bool {
        match self {
            Self::List { item, .. } | Self::FixedList { item, .. } => {
                matches!(**item, Self::Int(_))
            }
            _ => false,
        }
    }
}

impl std::ops::Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, buffers: self.buffers + other.buffers }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let large = |large: &bool| if *large { "large_" } else { "" };
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int(width) => width.fmt(f),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Text { large: l } => write!(f, "{}string", large(l)),
            Self::List { large: l, item } => write!(f, "{}list<{item}>", large(l)),
            Self::FixedList { length, item } => write!(f, "fixed_size_list<{item}>[{length}]"),
            Self::Dictionary { keys, values, .. } => write!(f, "dictionary<{keys}, {values}>"),
            Self::Other { name, .. } => f.write_str(name),
        }
    }
}

impl fmt::Display for IntWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.signed { "" } else { "u" };
        write!(f, "{sign}int{}", 8 * self.bytes)
    }
}

fn children(field: FieldRef<'_>, depth: usize) -> Result<Vec<Layout>, LayoutError> {
    let children = field.children()?.into_iter().flatten();
    children.map(|child| Layout::nested(child?, depth)).collect()
}

fn int_width(int: IntRef<'_>) -> Result<IntWidth, LayoutError> {
    match int.bit_width()? {
        bits @ (8 | 16 | 32 | 64) => {
            Ok(IntWidth { bytes: bits as usize / 8, signed: int.is_signed()? })
        }
        _ => {
            Err(LayoutError::Unsupported("of integers of a width other than 8, 16, 32 or 64 bits"))
        }
    }
}
