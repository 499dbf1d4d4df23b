//! Choosing rows of a data set: by a value, by length. Rows are lists of 0-based numbers.

use gf_corpus::{MetadataKind, MetadataValue};

use super::reader::Dataset;
use crate::{
    error::{Error, Result},
    lengths::Lengths,
};

impl Dataset {
    /// The rows whose value in a column is one of `values`, in order.
    ///
    /// A wanted text is read as what the column holds: `31` finds the number 31, `True` or `true` the
    /// truth value. Whole numbers and numbers are compared by value; a wanted missing value finds
    /// missing ones.
    ///
    /// # Errors
    /// As [`filter_rows`](Self::filter_rows).
    pub fn filter(&self, column: &str, values: &[MetadataValue<'_>]) -> Result<Vec<usize>> {
        self.filter_rows(0..self.len(), column, values)
    }

    /// Those of `rows` whose value in a column is one of `values`, in their order.
    ///
    /// # Errors
    /// There is no such column, or it is not read; a wanted text cannot be read as what the column
    /// holds; there is no such row; its batch is corrupt.
    pub fn filter_rows(
        &self,
        rows: impl IntoIterator<Item = usize>,
        column: &str,
        values: &[MetadataValue<'_>],
    ) -> Result<Vec<usize>> {
        let column = self.column(column)?;
        let read = |value: &MetadataValue<'_>| match as_kind(value, column.kind()) {
            Some(_) => Ok(()),
            None => Err(Error::WantedValue {
                path: self.path().to_owned(),
                column: column.name().to_owned(),
                found: value.text().unwrap_or_default(),
                expected: column.kind(),
            }),
        };
        values.iter().try_for_each(read)?;
        let wanted: Vec<_> =
            values.iter().filter_map(|value| as_kind(value, column.kind())).collect();
        let mut found = Vec::new();
        for row in rows {
            let value = column.get(row)?;
            if wanted.iter().any(|wanted| equal(wanted, &value)) {
                found.push(row);
            }
        }
        Ok(found)
    }

    /// `rows` by falling length, equals in their order, as the reference sorts before it batches
    /// (`perturber_utils.downsample_and_sort`). This does not read the tokens.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn longest_first(&self, rows: impl IntoIterator<Item = usize>) -> Result<Vec<usize>> {
        let with_length = |row| Ok((self.length(row)?, row));
        let mut rows = rows.into_iter().map(with_length).collect::<Result<Vec<_>>>()?;
        rows.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// How many of `rows` have which length.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn lengths(&self, rows: impl IntoIterator<Item = usize>) -> Result<Lengths> {
        let mut lengths = Lengths::default();
        for row in rows {
            lengths.add(self.length(row)?);
        }
        Ok(lengths)
    }
}

/// A wanted value as a column holds it; nothing if its text cannot be read so.
fn as_kind<'a>(value: &MetadataValue<'a>, kind: MetadataKind) -> Option<MetadataValue<'a>> {
    let MetadataValue::Text(text) = value else { return Some(*value) };
    match kind {
        MetadataKind::Text => Some(*value),
        MetadataKind::Integer => text.parse().ok().map(MetadataValue::Integer),
        MetadataKind::Float => text.parse().ok().map(MetadataValue::Float),
        MetadataKind::Boolean => text.to_ascii_lowercase().parse().ok().map(MetadataValue::Boolean),
    }
}

fn equal(wanted: &MetadataValue<'_>, value: &MetadataValue<'_>) -> bool {
    match (wanted, value) {
        (MetadataValue::Integer(a), MetadataValue::Float(b))
        | (MetadataValue::Float(b), MetadataValue::Integer(a)) => *a as f64 == *b,
        (wanted, value) => wanted == value,
    }
}
