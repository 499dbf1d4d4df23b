//! Which cells are embedded, in which order, and what is known of them.

use std::{fs, path::Path, time::UNIX_EPOCH};

use clap::{Args, ValueEnum};
use gf_embed::{numpy_permutation, reference_order};
use gf_tokenize::{Dataset, MetadataValue};

use crate::failure::Failure;

/// Cells that the reference takes where nothing else is said.
const REFERENCE_MAX_CELLS: usize = 1_000;

/// Arguments that choose cells.
#[derive(Debug, Args)]
pub struct RowArgs {
    /// Only cells whose column has one of the values, as COLUMN=A,B; may be given again.
    #[arg(long, value_name = "COLUMN=VALUES", value_parser = parse_filter)]
    filter: Vec<(String, Vec<String>)>,
    /// At most so many cells, drawn at random [default: all; 1000 with --compat reference].
    ///
    /// The first of numpy's default_rng(SEED).permutation, which the reference takes with seed
    /// 42; `gf perturb` draws others.
    #[arg(long, value_name = "N")]
    max_cells: Option<usize>,
    /// The Python reference's choice (seed 42) and order of cells and its columns.
    #[arg(long, value_enum)]
    compat: Option<Compat>,
}

/// Whose habits are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compat {
    /// Those of the Python package.
    Reference,
}

impl RowArgs {
    /// Whether the table is to be that of the reference.
    pub fn is_reference(&self) -> bool {
        self.compat.is_some()
    }

    /// The rows of the data set, in the order of the table.
    ///
    /// # Errors
    ///
    /// There is no such column; no cell is left.
    pub fn choose(&self, dataset: &Dataset, seed: u64) -> Result<Vec<usize>, Failure> {
        let mut rows: Vec<usize> = (0..dataset.len()).collect();
        for (column, values) in &self.filter {
            let values: Vec<_> = values.iter().map(|value| MetadataValue::Text(value)).collect();
            rows = dataset.filter_rows(rows, column, &values)?;
        }
        if rows.is_empty() {
            let data = dataset.path().display();
            return Err(Failure::Error(format!("{data}: no cell is left to embed").into()));
        }
        if self.is_reference() {
            let most = self.max_cells.unwrap_or(REFERENCE_MAX_CELLS);
            return Ok(reference_order(dataset, &rows, Some(most))?);
        }
        Ok(drawn(rows, self.max_cells, seed))
    }
}

/// At most so many of the rows, in their order.
fn drawn(rows: Vec<usize>, most: Option<usize>, seed: u64) -> Vec<usize> {
    let Some(most) = most.filter(|&most| most < rows.len()) else { return rows };
    let order = numpy_permutation(rows.len() as u32, seed);
    let mut chosen: Vec<usize> = order.into_iter().take(most).map(|place| rows[place]).collect();
    chosen.sort_unstable();
    chosen
}

fn parse_filter(text: &str) -> Result<(String, Vec<String>), String> {
    let (column, values) =
        text.split_once('=').ok_or_else(|| format!("found {text}, expected COLUMN=A,B"))?;
    Ok((column.to_owned(), values.split(',').map(str::to_owned).collect()))
}

/// The values of a column for some rows; missing ones are `None`.
///
/// # Errors
///
/// There is no such column.
pub fn labels(
    dataset: &Dataset,
    column: &str,
    rows: &[usize],
) -> Result<Vec<Option<String>>, Failure> {
    let column = dataset.column(column)?;
    rows.iter().map(|&row| Ok(column.get(row)?.text())).collect()
}

/// Names, sizes and times of the files in a folder: whether it is the one of an earlier run.
///
/// # Errors
///
/// It cannot be read.
pub fn fingerprint(folder: &Path) -> Result<Vec<(String, u64, u128)>, Failure> {
    let error =
        |error: std::io::Error| Failure::Error(format!("{}: {error}", folder.display()).into());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let metadata = fs::metadata(entry.path()).map_err(error)?;
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((name, metadata.len(), time.unwrap_or_default().as_nanos()));
    }
    files.sort();
    Ok(files)
}
