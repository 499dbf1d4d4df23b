//! Rows waiting to become an Arrow batch: one growing array a column.

use arrow2::{
    array::{
        Array, ListArray, MutableArray, MutableBooleanArray, MutablePrimitiveArray,
        MutableUtf8Array, PrimitiveArray, TryPush,
    },
    chunk::Chunk,
    offset::Offsets,
    types::NativeType,
};
use bytemuck::{cast_slice, cast_slice_mut};
use gf_corpus::{MetadataKind, MetadataValue};

use super::writer::WriterOptions;
use crate::{
    error::{Error, Result},
    token::TokenId,
};

/// One cell to be written.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) cell_id: &'a str,
    pub(super) tokens: &'a [TokenId],
    /// One per token where the data set keeps counts, else none.
    pub(super) counts: &'a [f64],
    pub(super) metadata: &'a [MetadataValue<'a>],
}

/// The rows of a batch, column by column, in the order of the schema.
pub(super) struct Rows {
    offsets: Offsets<i32>,
    tokens: Vec<i32>,
    cell_ids: MutableUtf8Array<i32>,
    counts: Option<Vec<f64>>,
    metadata: Vec<Values>,
    lengths: Vec<i64>,
}

enum Values {
    Text(MutableUtf8Array<i32>),
    Integers(MutablePrimitiveArray<i64>),
    Floats(MutablePrimitiveArray<f64>),
    Booleans(MutableBooleanArray),
}

impl Rows {
    pub(super) fn new(options: &WriterOptions) -> Self {
        Self {
            offsets: Offsets::new(),
            tokens: Vec::new(),
            cell_ids: MutableUtf8Array::new(),
            counts: options.counts.then(Vec::new),
            metadata: options.columns.iter().map(|&(_, kind)| Values::new(kind)).collect(),
            lengths: Vec::new(),
        }
    }

    /// None yet, with room for as many as these have: batches are alike.
    pub(super) fn alike(&self, options: &WriterOptions) -> Self {
        let mut rows = Self::new(options);
        rows.tokens.reserve(self.tokens.len());
        rows.counts.iter_mut().zip(&self.counts).for_each(|(new, old)| new.reserve(old.len()));
        rows
    }

    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Adds a row that fits the columns ([`check`]).
    pub(super) fn push(&mut self, row: &Row<'_>) -> arrow2::error::Result<()> {
        let n_tokens = row.tokens.len();
        self.offsets.try_push_usize(n_tokens)?;
        let first = self.tokens.len();
        self.tokens.resize(first + n_tokens, 0);
        let place = &mut self.tokens[first..];
        cast_slice_mut::<i32, u32>(place).copy_from_slice(cast_slice(row.tokens));
        self.cell_ids.try_push(Some(row.cell_id))?;
        if let Some(counts) = &mut self.counts {
            counts.extend(row.counts);
        }
        for (column, value) in self.metadata.iter_mut().zip(row.metadata) {
            column.push(value)?;
        }
        self.lengths.push(n_tokens as i64);
        Ok(())
    }

    /// The rows as one batch.
    pub(super) fn into_chunk(self) -> Chunk<Box<dyn Array>> {
        let mut columns = vec![list(&self.offsets, self.tokens)];
        columns.push({ self.cell_ids }.as_box());
        columns.extend(self.counts.map(|counts| list(&self.offsets, counts)));
        columns.extend(self.metadata.into_iter().map(Values::into_array));
        columns.push(PrimitiveArray::from_vec(self.lengths).boxed());
        Chunk::new(columns)
    }
}

impl Values {
    fn new(kind: MetadataKind) -> Self {
        match kind {
            MetadataKind::Text => Self::Text(MutableUtf8Array::new()),
            MetadataKind::Integer => Self::Integers(MutablePrimitiveArray::new()),
            MetadataKind::Float => Self::Floats(MutablePrimitiveArray::new()),
            MetadataKind::Boolean => Self::Booleans(MutableBooleanArray::new()),
        }
    }

    fn push(&mut self, value: &MetadataValue<'_>) -> arrow2::error::Result<()> {
        match self {
            Self::Text(texts) => match value {
                MetadataValue::Text(text) => texts.try_push(Some(*text)),
                other => texts.try_push(other.text()),
            },
            Self::Integers(numbers) => numbers.try_push(match value {
                MetadataValue::Integer(number) => Some(*number),
                _ => None,
            }),
            Self::Floats(numbers) => numbers.try_push(match value {
                MetadataValue::Float(number) => Some(*number).filter(|number| !number.is_nan()),
                MetadataValue::Integer(number) => Some(*number as f64),
                _ => None,
            }),
            Self::Booleans(values) => values.try_push(match value {
                MetadataValue::Boolean(value) => Some(*value),
                _ => None,
            }),
        }
    }

    fn into_array(self) -> Box<dyn Array> {
        match self {
            Self::Text(mut texts) => texts.as_box(),
            Self::Integers(mut numbers) => numbers.as_box(),
            Self::Floats(mut numbers) => numbers.as_box(),
            Self::Booleans(mut values) => values.as_box(),
        }
    }
}

/// Refuses a row that does not fit the columns: nothing is converted but what the column's kind
/// holds without loss (whole numbers among numbers, anything as text).
pub(super) fn check(row: &Row<'_>, options: &WriterOptions) -> Result<()> {
    let cell_id = || row.cell_id.to_owned();
    let (found, expected) = (row.metadata.len(), options.columns.len());
    if found != expected {
        return Err(Error::RowWidth { cell_id: cell_id(), found, expected });
    }
    let (found, expected) = (row.counts.len(), if options.counts { row.tokens.len() } else { 0 });
    if found != expected {
        return Err(Error::RowCounts { cell_id: cell_id(), found, expected });
    }
    let mut pairs = options.columns.iter().zip(row.metadata);
    match pairs.find(|((_, kind), value)| !fits(value, *kind)) {
        None => Ok(()),
        Some(((column, expected), value)) => Err(Error::ValueKind {
            cell_id: cell_id(),
            column: column.clone(),
            found: format!("{value:?}"),
            expected: *expected,
        }),
    }
}

fn fits(value: &MetadataValue<'_>, kind: MetadataKind) -> bool {
    let own = match value {
        MetadataValue::Missing => return true,
        MetadataValue::Text(_) => MetadataKind::Text,
        MetadataValue::Integer(_) => MetadataKind::Integer,
        MetadataValue::Float(_) => MetadataKind::Float,
        MetadataValue::Boolean(_) => MetadataKind::Boolean,
    };
    own.common(kind) == kind
}

fn list<T: NativeType>(offsets: &Offsets<i32>, values: Vec<T>) -> Box<dyn Array> {
    let values = PrimitiveArray::from_vec(values).boxed();
    let kind = ListArray::<i32>::default_datatype(values.data_type().clone());
    ListArray::new(kind, offsets.clone().into(), values, None).boxed()
}
