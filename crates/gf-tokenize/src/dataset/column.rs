//! One column of one batch, checked once and then read without doubt.
//!
//! A `Column` holds places in the mapped file, not copies. It exists only if its buffers lie inside
//! their message and are long enough and aligned, its offsets ascend within the values, its texts
//! are UTF-8 and its dictionary keys point into the dictionary. All later access relies on that.

use std::{sync::Arc, vec};

use bytemuck::{AnyBitPattern, cast_slice, pod_read_unaligned};
use gf_corpus::MetadataValue;

use super::{
    layout::{IntWidth, Layout},
    stream::{PartLists, Span},
    tokens::TokenLists,
};
use crate::error::ArrowFault;

/// Values of some rows, as places in the file.
#[derive(Debug)]
pub(super) struct Column {
    n_rows: usize,
    /// One bit a row, 1 = present; none if nothing is missing.
    validity: Option<Span>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null,
    Bool(Span),
    Int(IntWidth, Span),
    Float32(Span),
    Float64(Span),
    Text(Offsets, Span),
    List(Offsets, Box<Column>),
    Dictionary(Box<Column>, Arc<Column>),
    /// Not looked at.
    Other,
}

/// Where each row's values start and end.
#[derive(Clone, Debug)]
pub(super) enum Offsets {
    /// As numbers of 32 or 64 bits in the file.
    Stored { span: Span, large: bool },
    /// Every row has so many.
    Fixed(usize),
}

/// What is left of a batch's arrays and buffers while a column is read.
pub(super) struct Parts<'a> {
    bytes: &'a [u8],
    body: Span,
    nodes: vec::IntoIter<(i64, i64)>,
    buffers: vec::IntoIter<(i64, i64)>,
    name: &'a str,
    first_row: usize,
}

impl Column {
    /// Reads and checks a column of `n_rows` values.
    pub(super) fn read(
        mut parts: Parts<'_>,
        layout: &Layout,
        n_rows: usize,
        dictionary: &dyn Fn(i64) -> Result<Arc<Self>, ArrowFault>,
    ) -> Result<Self, ArrowFault> {
        let column = parts.column(layout, dictionary)?;
        if column.n_rows != n_rows {
            return Err(parts.wrong_length(column.n_rows as i64, n_rows));
        }
        match column.wide_integer(parts.bytes) {
            None => Ok(column),
            Some((row, found)) => Err(ArrowFault::WideInteger {
                column: parts.name.into(),
                row: parts.first_row + row,
                found,
            }),
        }
    }

    /// The first whole number that does not fit 64 bits with a sign.
    fn wide_integer(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        let Values::Int(IntWidth { bytes: 8, signed: false }, span) = &self.values else {
            return None;
        };
        let numbers: &[u64] = cast_slice(&bytes[span.clone()]);
        let is_wide =
            |&(row, &n): &(usize, &u64)| i64::try_from(n).is_err() && self.is_present(bytes, row);
        numbers.iter().enumerate().find(is_wide).map(|(row, &n)| (row, n))
    }

    /// A value. Lists and types we do not know have none.
    pub(super) fn value<'a>(&self, bytes: &'a [u8], row: usize) -> MetadataValue<'a> {
        if !self.is_present(bytes, row) {
            return MetadataValue::Missing;
        }
        match &self.values {
            Values::Bool(span) => MetadataValue::Boolean(bit(bytes, span, row)),
            Values::Int(width, span) => {
                MetadataValue::Integer(integer(bytes, *width, span, row) as i64)
            }
            Values::Float32(span) => float(number::<f32>(bytes, span, row).into()),
            Values::Float64(span) => float(number(bytes, span, row)),
            Values::Text(offsets, span) => {
                let (start, end) = offsets.get(bytes, row);
                let text = std::str::from_utf8(&bytes[span.clone()][start..end]);
                text.map_or(MetadataValue::Missing, MetadataValue::Text)
            }
            Values::Dictionary(keys, values) => match keys.integer(bytes, row) {
                Some(key) => values.value(bytes, key as usize),
                None => MetadataValue::Missing,
            },
            Values::Null | Values::List(..) | Values::Other => MetadataValue::Missing,
        }
    }

    /// An integer value; nothing where it is missing or the column holds none.
    pub(super) fn integer(&self, bytes: &[u8], row: usize) -> Option<i128> {
        match &self.values {
            Values::Int(width, span) if self.is_present(bytes, row) => {
                Some(integer(bytes, *width, span, row))
            }
            _ => None,
        }
    }

    /// Takes a column of token lists.
    pub(super) fn into_tokens(
        self,
        layout: &Layout,
        name: &str,
        first_row: usize,
    ) -> Result<TokenLists, ArrowFault> {
        let Values::List(offsets, items) = self.values else {
            return Err(not_tokens(name, layout));
        };
        if self.validity.is_some() || items.validity.is_some() {
            return Err(ArrowFault::Nulls { column: name.to_owned(), row: first_row });
        }
        let Values::Int(width, span) = items.values else {
            return Err(not_tokens(name, layout));
        };
        Ok(TokenLists { n_rows: self.n_rows, offsets, width, span })
    }

    fn is_present(&self, bytes: &[u8], row: usize) -> bool {
        self.validity.as_ref().is_none_or(|span| bit(bytes, span, row))
    }
}

impl Offsets {
    /// Start and end of a row's values. Negative numbers were refused when the column was read.
    pub(super) fn get(&self, bytes: &[u8], row: usize) -> (usize, usize) {
        let (start, end) = self.raw(bytes, row);
        (start as usize, end as usize)
    }

    fn raw(&self, bytes: &[u8], row: usize) -> (i64, i64) {
        match self {
            Self::Stored { span, large: true } => {
                let offsets: &[i64] = cast_slice(&bytes[span.clone()]);
                (offsets[row], offsets[row + 1])
            }
            Self::Stored { span, large: false } => {
                let offsets: &[i32] = cast_slice(&bytes[span.clone()]);
                (offsets[row].into(), offsets[row + 1].into())
            }
            Self::Fixed(n) => {
                let number = |row: usize| i64::try_from(row.saturating_mul(*n)).unwrap_or(i64::MAX);
                (number(row), number(row + 1))
            }
        }
    }
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        body: Span,
        (nodes, buffers): PartLists,
        name: &'a str,
        first_row: usize,
    ) -> Self {
        Self {
            bytes,
            body,
            nodes: nodes.into_iter(),
            buffers: buffers.into_iter(),
            name,
            first_row,
        }
    }

    fn column(
        &mut self,
        layout: &Layout,
        dictionary: &dyn Fn(i64) -> Result<Arc<Column>, ArrowFault>,
    ) -> Result<Column, ArrowFault> {
        let (n_rows, n_nulls) = self.node()?;
        if *layout == Layout::Null {
            return Ok(Column { n_rows, validity: None, values: Values::Null });
        }
        let validity = self.validity(n_rows, n_nulls)?;
        let values = match layout {
            Layout::Bool => Values::Bool(self.buffer(n_rows.div_ceil(8), 1)?),
            Layout::Int(width) => Values::Int(*width, self.numbers(n_rows, width.bytes)?),
            Layout::Float32 => Values::Float32(self.numbers(n_rows, 4)?),
            Layout::Float64 => Values::Float64(self.numbers(n_rows, 8)?),
            Layout::Text { large } => self.texts(n_rows, *large)?,
            Layout::List { large, item } => {
                let offsets = self.offsets(n_rows, *large)?;
                let items = self.column(item, dictionary)?;
                self.check_offsets(&offsets, n_rows, items.n_rows)?;
                Values::List(offsets, Box::new(items))
            }
            Layout::FixedList { length, item } => {
                let offsets = Offsets::Fixed(*length);
                let items = self.column(item, dictionary)?;
                self.check_offsets(&offsets, n_rows, items.n_rows)?;
                Values::List(offsets, Box::new(items))
            }
            Layout::Dictionary { id, keys, .. } => {
                let keys = Column {
                    n_rows,
                    validity: validity.clone(),
                    values: Values::Int(*keys, self.numbers(n_rows, keys.bytes)?),
                };
                let values = dictionary(*id)?;
                self.check_keys(&keys, values.n_rows)?;
                Values::Dictionary(Box::new(keys), values)
            }
            Layout::Null | Layout::Other { .. } => Values::Other,
        };
        Ok(Column { n_rows, validity, values })
    }

    fn texts(&mut self, n_rows: usize, large: bool) -> Result<Values, ArrowFault> {
        let offsets = self.offsets(n_rows, large)?;
        let span = self.buffer(0, 1)?;
        self.check_offsets(&offsets, n_rows, span.len())?;
        let values = &self.bytes[span.clone()];
        let is_text = |row: &usize| {
            let (start, end) = offsets.get(self.bytes, *row);
            std::str::from_utf8(&values[start..end]).is_ok()
        };
        match (0..n_rows).find(|row| !is_text(row)) {
            Some(row) => {
                Err(ArrowFault::Utf8 { column: self.name.into(), row: self.first_row + row })
            }
            None => Ok(Values::Text(offsets, span)),
        }
    }

    fn node(&mut self) -> Result<(usize, i64), ArrowFault> {
        let (length, n_nulls) = self.nodes.next().ok_or_else(|| self.missing_part())?;
        let n_rows = usize::try_from(length).map_err(|_| self.wrong_length(length, 0))?;
        Ok((n_rows, n_nulls))
    }

    fn validity(&mut self, n_rows: usize, n_nulls: i64) -> Result<Option<Span>, ArrowFault> {
        match n_nulls {
            0 => self.buffer(0, 1).map(|_| None),
            _ => self.buffer(n_rows.div_ceil(8), 1).map(Some),
        }
    }

    fn numbers(&mut self, n_rows: usize, width: usize) -> Result<Span, ArrowFault> {
        let n_bytes = n_rows.saturating_mul(width);
        let span = self.buffer(n_bytes, width)?;
        Ok(span.start..span.start + n_bytes)
    }

    fn offsets(&mut self, n_rows: usize, large: bool) -> Result<Offsets, ArrowFault> {
        let width = if large { 8 } else { 4 };
        // An array without rows may leave its single offset out.
        let n_offsets = if n_rows == 0 { 0 } else { n_rows.saturating_add(1) };
        Ok(Offsets::Stored { span: self.numbers(n_offsets, width)?, large })
    }

    /// The next buffer, of at least `expected` bytes; cut to them unless `expected` is 0.
    fn buffer(&mut self, expected: usize, align: usize) -> Result<Span, ArrowFault> {
        let (start, found) = self.buffers.next().ok_or_else(|| self.missing_part())?;
        let fault = || ArrowFault::Buffer {
            column: self.name.into(),
            row: self.first_row,
            start,
            found,
            expected,
        };
        let (first, length) =
            usize::try_from(start).ok().zip(usize::try_from(found).ok()).ok_or_else(fault)?;
        let inside = first.checked_add(length).is_some_and(|end| end <= self.body.len());
        if !inside || length < expected {
            return Err(fault());
        }
        let span = self.body.start + first
            ..self.body.start + first + if expected > 0 { expected } else { length };
        let aligned = self.bytes[span.clone()].as_ptr().addr().is_multiple_of(align);
        if aligned { Ok(span) } else { Err(fault()) }
    }

    fn check_offsets(
        &self,
        offsets: &Offsets,
        n_rows: usize,
        n_values: usize,
    ) -> Result<(), ArrowFault> {
        let sound = |(start, end): (i64, i64)| {
            0 <= start && start <= end && usize::try_from(end).is_ok_and(|end| end <= n_values)
        };
        match (0..n_rows).find(|&row| !sound(offsets.raw(self.bytes, row))) {
            None => Ok(()),
            Some(row) => {
                let (start, end) = offsets.raw(self.bytes, row);
                Err(ArrowFault::Offsets {
                    column: self.name.into(),
                    row: self.first_row + row,
                    start,
                    end,
                    n_values,
                })
            }
        }
    }

    fn check_keys(&self, keys: &Column, n_values: usize) -> Result<(), ArrowFault> {
        let outside =
            |key: &(usize, i128)| usize::try_from(key.1).map_or(true, |key| key >= n_values);
        let present =
            (0..keys.n_rows).filter_map(|row| Some((row, keys.integer(self.bytes, row)?)));
        match present.into_iter().find(outside) {
            None => Ok(()),
            Some((row, key)) => Err(ArrowFault::DictionaryKey {
                column: self.name.into(),
                row: self.first_row + row,
                found: i64::try_from(key).unwrap_or(i64::MAX),
                n_values,
            }),
        }
    }

    fn missing_part(&self) -> ArrowFault {
        ArrowFault::MissingPart { column: self.name.into(), row: self.first_row }
    }

    fn wrong_length(&self, found: i64, expected: usize) -> ArrowFault {
        ArrowFault::ArrayLength { column: self.name.into(), row: self.first_row, found, expected }
    }
}

/// What is never NaN.
fn float(number: f64) -> MetadataValue<'static> {
    if number.is_nan() { MetadataValue::Missing } else { MetadataValue::Float(number) }
}

fn bit(bytes: &[u8], span: &Span, row: usize) -> bool {
    bytes[span.clone()][row / 8] >> (row % 8) & 1 == 1
}

fn number<T: AnyBitPattern>(bytes: &[u8], span: &Span, row: usize) -> T {
    let width = size_of::<T>();
    pod_read_unaligned(&bytes[span.clone()][row * width..][..width])
}

pub(super) fn integer(bytes: &[u8], width: IntWidth, span: &Span, row: usize) -> i128 {
    match (width.bytes, width.signed) {
        (1, true) => number::<i8>(bytes, span, row).into(),
        (1, false) => number::<u8>(bytes, span, row).into(),
        (2, true) => number::<i16>(bytes, span, row).into(),
        (2, false) => number::<u16>(bytes, span, row).into(),
        (4, true) => number::<i32>(bytes, span, row).into(),
        (4, false) => number::<u32>(bytes, span, row).into(),
        (_, true) => number::<i64>(bytes, span, row).into(),
        (_, false) => number::<u64>(bytes, span, row).into(),
    }
}

pub(super) fn not_tokens(name: &str, layout: &Layout) -> ArrowFault {
    ArrowFault::ColumnType {
        column: name.to_owned(),
        found: layout.to_string(),
        expected: "lists of whole numbers",
    }
}
