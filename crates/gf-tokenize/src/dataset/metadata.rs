//! One column of metadata, read value by value.

use std::sync::OnceLock;

use gf_corpus::{MetadataKind, MetadataValue};

use super::{
    column::Column,
    reader::{Dataset, checked},
};
use crate::error::Result;

/// A column of a [`Dataset`]. A batch of it is checked when its first value is asked for.
#[derive(Debug)]
pub struct DatasetColumn<'a> {
    dataset: &'a Dataset,
    name: String,
    kind: MetadataKind,
    /// The names behind the numbers of a `ClassLabel`; empty for other columns.
    class_names: Vec<String>,
    batches: Vec<OnceLock<Option<Column>>>,
}

impl<'a> DatasetColumn<'a> {
    pub(super) fn new(
        dataset: &'a Dataset,
        name: String,
        kind: MetadataKind,
        class_names: Vec<String>,
    ) -> Self {
        let batches = (0..dataset.n_batches()).map(|_| OnceLock::new()).collect();
        Self { dataset, name, kind, class_names, batches }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds. A `ClassLabel` holds text.
    pub fn kind(&self) -> MetadataKind {
        self.kind
    }

    /// The value of a cell. A `ClassLabel` gives its name, a number beyond its names that number; a
    /// NaN is missing.
    ///
    /// # Errors
    /// There is no such row; its batch is corrupt.
    pub fn get(&self, row: usize) -> Result<MetadataValue<'_>> {
        let (batch, in_batch) = self.dataset.locate(row)?;
        let read = || self.dataset.read_column(batch, &self.name);
        let Some(column) = checked(&self.batches[batch], read)? else {
            return Ok(MetadataValue::Missing);
        };
        Ok(self.named(column.value(self.dataset.bytes(batch), in_batch)))
    }

    /// All values in order.
    ///
    /// # Errors
    /// Of each value as [`get`](Self::get).
    pub fn iter(&self) -> impl Iterator<Item = Result<MetadataValue<'_>>> {
        (0..self.dataset.len()).map(|row| self.get(row))
    }

    fn named<'s>(&'s self, value: MetadataValue<'s>) -> MetadataValue<'s> {
        let MetadataValue::Integer(class) = value else { return value };
        let name = usize::try_from(class).ok().and_then(|class| self.class_names.get(class));
        name.map_or(value, |name| MetadataValue::Text(name))
    }
}
