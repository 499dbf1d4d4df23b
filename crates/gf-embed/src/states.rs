//! One vector per state of cells, such as a disease: what perturbations are measured
//! against (`get_state_embs` of the reference's `emb_extractor.py`, REFERENCE.md §5.4).

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;
use ndarray::{ArrayView1, ArrayView2};

use crate::Error;

/// How the cells of a state become one vector, dimension by dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateSummary {
    /// The mean, summed in 64 bits: the reference's `exact_mean`.
    #[default]
    Mean,
    /// The lower of the two middle values, as `torch.median`: the reference's
    /// `exact_median`.
    Median,
}

impl StateSummary {
    /// The summary of some numbers; NaN of none.
    ///
    /// ```
    /// use gf_embed::StateSummary;
    /// assert_eq!(StateSummary::Mean.of(vec![1.0, 2.0, 6.0]), 3.0);
    /// assert_eq!(StateSummary::Median.of(vec![4.0, 1.0, 3.0, 2.0]), 2.0);
    /// ```
    pub fn of(self, mut numbers: Vec<f32>) -> f32 {
        if numbers.is_empty() {
            return f32::NAN;
        }
        match self {
            Self::Mean => {
                let sum: f64 = numbers.iter().copied().map(f64::from).sum();
                (sum / numbers.len() as f64) as f32
            }
            Self::Median => {
                let middle = (numbers.len() - 1) / 2;
                *numbers.select_nth_unstable_by(middle, f32::total_cmp).1
            }
        }
    }
}

/// The embedding of each state, by its name; all of one width, every number finite.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateEmbeddings(BTreeMap<String, Vec<f32>>);

impl StateEmbeddings {
    /// Summarises the rows of each state. Rows without a state take no part.
    ///
    /// # Errors
    ///
    /// There is not one state per row, or a state's embedding is not finite.
    ///
    /// # Shapes
    ///
    /// - `cells` `[n_cells, d_model]`
    pub fn summarise(
        cells: ArrayView2<'_, f32>,
        states: &[Option<&str>],
        summary: StateSummary,
    ) -> Result<Self, Error> {
        if states.len() != cells.nrows() {
            return Err(Error::RowCount { found: states.len(), expected: cells.nrows() });
        }
        let mut rows = BTreeMap::<&str, Vec<usize>>::new();
        for (row, state) in states.iter().enumerate() {
            if let Some(state) = state {
                rows.entry(state).or_default().push(row);
            }
        }
        let of = |column: ArrayView1<'_, f32>, rows: &[usize]| {
            summary.of(rows.iter().map(|&row| column[row]).collect())
        };
        let vector = |rows: &[usize]| cells.columns().into_iter().map(|c| of(c, rows)).collect();
        let states = rows.into_iter().map(|(state, rows)| (state.to_owned(), vector(&rows)));
        Self::new(states.collect())
    }

    /// Takes vectors by name.
    ///
    /// # Errors
    ///
    /// They differ in width, or a number is not finite.
    pub fn new(states: BTreeMap<String, Vec<f32>>) -> Result<Self, Error> {
        let expected = states.values().next().map_or(0, Vec::len);
        for (state, vector) in &states {
            let (state, found) = (|| state.clone(), vector.len());
            if found != expected {
                return Err(Error::StateWidth { state: state(), found, expected });
            }
            if let Some(dimension) = vector.iter().position(|x| !x.is_finite()) {
                return Err(Error::StateNotFinite { state: state(), dimension });
            }
        }
        Ok(Self(states))
    }

    /// The embedding of a state, `[d_model]`.
    ///
    /// # Errors
    ///
    /// There is no such state.
    pub fn get(&self, state: &str) -> Result<&[f32], Error> {
        self.0.get(state).map(Vec::as_slice).ok_or_else(|| Error::NoSuchState {
            state: state.to_owned(),
            available: self.0.keys().cloned().collect(),
        })
    }

    /// The states with their embeddings, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.0.iter().map(|(state, vector)| (state.as_str(), vector.as_slice()))
    }

    /// Reads a JSON object of lists of numbers.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is none such; see [`new`](Self::new).
    pub fn read_json(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        Self::new(serde_json::from_str(&text).map_err(Error::json(path))?)
    }

    /// Writes a JSON object, one list of numbers per state, each with the digits that
    /// give back the same f32; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<(), Error> {
        let file = AtomicWriteFile::open(path).map_err(Error::io(path))?;
        let mut buffer = BufWriter::new(&*file);
        serde_json::to_writer(&mut buffer, &self.0).map_err(Error::json(path))?;
        buffer.flush().map_err(Error::io(path))?;
        drop(buffer);
        file.commit().map_err(Error::io(path))
    }
}
