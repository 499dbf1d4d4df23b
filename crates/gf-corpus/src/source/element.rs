//! What the elements of an array are, wherever the array lies.

use rust_hdf5::{ByteOrder, DatatypeMessage};

/// The type of an element, as far as tables of cells have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// Whole numbers of so many bytes.
    Integer { size: usize, signed: bool, order: Order },
    /// Floating point of so many bytes.
    Float { size: usize, order: Order },
    /// Truth values of one byte.
    Boolean,
    /// Strings of any or of a fixed length.
    Text,
    /// Anything else.
    Other,
}

/// The order of a number's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Foreign,
}

impl Element {
    /// An element of an HDF5 data set.
    pub(super) fn of(kind: &DatatypeMessage) -> Self {
        use DatatypeMessage as Kind;
        let order =
            |order| if order == ByteOrder::LittleEndian { Order::Little } else { Order::Foreign };
        match *kind {
            Kind::VarLenString { .. } | Kind::FixedString { .. } => Self::Text,
            Kind::Enum { .. } if kind.element_size() == 1 => Self::Boolean,
            Kind::FixedPoint { size, signed, byte_order, .. } => {
                Self::Integer { size: size as usize, signed, order: order(byte_order) }
            }
            Kind::FloatingPoint { size, byte_order, .. } => {
                Self::Float { size: size as usize, order: order(byte_order) }
            }
            _ => Self::Other,
        }
    }

    /// The element once its bytes stand in the machine's order.
    pub(super) fn in_host_order(self) -> Self {
        let order = Order::Little;
        match self {
            Self::Integer { size, signed, .. } => Self::Integer { size, signed, order },
            Self::Float { size, .. } => Self::Float { size, order },
            element => element,
        }
    }

    /// Whether it is a whole number, which can stand for a label.
    pub(super) fn is_integer(self) -> bool {
        matches!(self, Self::Integer { .. })
    }
}

/// A whole number from its bytes, the lowest first.
pub(super) fn integer(cell: &[u8], size: usize, signed: bool) -> i128 {
    let cell = &cell[..cell.len().min(size)];
    let negative = signed && cell.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    for (to, from) in wide.iter_mut().zip(cell) {
        *to = *from;
    }
    i128::from_le_bytes(wide)
}
