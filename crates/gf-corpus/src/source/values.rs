//! Stored numbers of any type, and the raw counts they stand for.

use rust_hdf5::H5Type;

use super::{
    element::{Element, Order},
    hdf5::Data,
    raw_count,
};
use crate::error::{Error, Result};

/// An array that numbers can be read from.
pub(super) trait Numbers {
    /// The type of its elements.
    fn element(&self) -> Element;

    /// A box of it in its own type, row by row.
    fn slice<T: H5Type + bytemuck::Pod>(
        &self,
        starts: &[usize],
        counts: &[usize],
    ) -> Result<Vec<T>>;

    /// It is not stored as it should be.
    fn encoding(&self, expected: &str) -> Error;
}

impl Numbers for Data {
    fn element(&self) -> Element {
        Element::of(&self.kind)
    }

    fn slice<T: H5Type + bytemuck::Pod>(
        &self,
        starts: &[usize],
        counts: &[usize],
    ) -> Result<Vec<T>> {
        self.slice(starts, counts)
    }

    fn encoding(&self, expected: &str) -> Error {
        self.encoding(expected)
    }
}

/// Whether numpy computes with such numbers and 32-bit floats in 32-bit floats.
pub(super) fn is_narrow(numbers: &impl Numbers) -> bool {
    match numbers.element() {
        Element::Float { size, .. } => size <= 4,
        Element::Integer { size, .. } => size <= 2,
        _ => false,
    }
}

/// Stored numbers in the type the file has them.
pub(super) enum Values {
    Integers(Vec<i64>),
    /// By far the most common type: kept as narrow as it is.
    Words(Vec<i32>),
    Floats(Vec<f64>),
    Singles(Vec<f32>),
}

impl Values {
    /// A box of an array, row by row.
    pub(super) fn read(data: &impl Numbers, starts: &[usize], counts: &[usize]) -> Result<Self> {
        if counts.contains(&0) {
            return Ok(Self::Singles(Vec::new()));
        }
        macro_rules! integers {
            ($kind:ty) => {
                data.slice::<$kind>(starts, counts)?.into_iter().map(i64::from).collect()
            };
        }
        let element = data.element();
        let (Element::Integer { order, .. } | Element::Float { order, .. }) = element else {
            return Err(data.encoding("numbers"));
        };
        if order != Order::Little {
            return Err(data.encoding("little-endian numbers"));
        }
        Ok(match element {
            Element::Float { size: 4, .. } => Self::Singles(data.slice(starts, counts)?),
            Element::Float { size: 8, .. } => Self::Floats(data.slice(starts, counts)?),
            Element::Integer { size: 1, signed: true, .. } => Self::Integers(integers!(i8)),
            Element::Integer { size: 2, signed: true, .. } => Self::Integers(integers!(i16)),
            Element::Integer { size: 4, signed: true, .. } => {
                Self::Words(data.slice(starts, counts)?)
            }
            Element::Integer { size: 8, signed: true, .. } => Self::Integers(integers!(i64)),
            Element::Integer { size: 1, .. } => Self::Integers(integers!(u8)),
            Element::Integer { size: 2, .. } => Self::Integers(integers!(u16)),
            Element::Integer { size: 4, .. } => Self::Integers(integers!(u32)),
            // Above i64::MAX it becomes negative, which is refused as well.
            Element::Integer { size: 8, .. } => Self::Integers(
                data.slice::<u64>(starts, counts)?.into_iter().map(|v| v as i64).collect(),
            ),
            _ => return Err(data.encoding("integers of 1 to 8 bytes, f32 or f64")),
        })
    }

    /// All as counts, or where the first other value stands and what it is.
    pub(super) fn counts(self) -> Result<Vec<u32>, (usize, String)> {
        fn all<T: Copy + ToString>(
            values: Vec<T>,
            count: impl Fn(T) -> Option<u32>,
        ) -> Result<Vec<u32>, (usize, String)> {
            if let Some(at) = values.iter().position(|&value| count(value).is_none()) {
                return Err((at, values[at].to_string()));
            }
            // Values of four bytes become counts where they stand.
            Ok(values.into_iter().map(|value| count(value).unwrap_or_default()).collect())
        }
        match self {
            Self::Integers(values) => all(values, |value| u32::try_from(value).ok()),
            Self::Words(values) => all(values, |value| u32::try_from(value).ok()),
            Self::Floats(values) => all(values, raw_count),
            Self::Singles(values) => all(values, |value| raw_count(f64::from(value))),
        }
    }

    /// The counts above zero of rows of `n_columns` values: where each row
    /// starts and the last ends, columns, counts; or where the first value
    /// that is no count stands and what it is.
    pub(super) fn present(self, n_columns: usize) -> Result<Rows, (usize, String)> {
        match self {
            Self::Integers(values) => present(&values, n_columns, |v| u32::try_from(v).ok()),
            Self::Words(values) => present(&values, n_columns, |v| u32::try_from(v).ok()),
            Self::Floats(values) => present(&values, n_columns, raw_count),
            Self::Singles(values) => present(&values, n_columns, |v| raw_count(f64::from(v))),
        }
    }
}

/// Offsets, columns and counts of compressed rows.
pub(super) type Rows = (Vec<usize>, Vec<u32>, Vec<u32>);

/// Values looked at together: most are zeros, and a compiler tells in a few
/// instructions whether all of these are.
const LANE: usize = 16;

fn present<T: Copy + Default + PartialEq + ToString>(
    values: &[T],
    n_columns: usize,
    count: impl Fn(T) -> Option<u32>,
) -> Result<Rows, (usize, String)> {
    let (mut offsets, mut columns, mut counts) = (vec![0], Vec::new(), Vec::new());
    for (row, values) in values.chunks(n_columns).enumerate() {
        for (lane, values) in values.chunks(LANE).enumerate() {
            if values.iter().fold(true, |all, &value| all & (value == T::default())) {
                continue;
            }
            for (column, &value) in (lane * LANE..).zip(values) {
                let refused = || (row * n_columns + column, value.to_string());
                let count = count(value).ok_or_else(refused)?;
                if count > 0 {
                    columns.push(column as u32);
                    counts.push(count);
                }
            }
        }
        offsets.push(counts.len());
    }
    Ok((offsets, columns, counts))
}
