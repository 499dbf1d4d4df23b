//! Which rows are trained on, which validate, which test.

use std::collections::HashMap;

use rand::{Rng, seq::SliceRandom};

use crate::{
    dataset::Dataset,
    error::{Error, Result},
};

/// Shares of the rows that are held out; the rest is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fractions {
    /// Rows to choose a model by.
    pub valid: f64,
    /// Rows to judge it by.
    pub test: f64,
}

/// Rows in three parts, each ascending, together every row once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Rows that are trained on.
    pub train: Vec<usize>,
    /// Rows to choose a model by.
    pub valid: Vec<usize>,
    /// Rows to judge it by.
    pub test: Vec<usize>,
}

impl Fractions {
    /// Rows of each held-out part, rounded to the nearest whole number.
    fn of(self, n_rows: usize) -> Result<[usize; 2]> {
        let Self { valid, test } = self;
        let sound = valid >= 0.0 && test >= 0.0 && valid + test <= 1.0;
        if !sound {
            return Err(Error::Fractions { valid, test });
        }
        let rows = |fraction: f64| (n_rows as f64 * fraction).round() as usize;
        let n_valid = rows(valid).min(n_rows);
        Ok([n_valid, rows(test).min(n_rows - n_valid)])
    }
}

impl Split {
    /// Draws rows of `0..n_rows`, each by itself. The same state of `rng` draws the same.
    ///
    /// ```
    /// use gf_tokenize::{Fractions, Split};
    /// use rand::SeedableRng;
    /// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(42);
    /// let split = Split::by_row(559, Fractions { valid: 0.1, test: 0.2 }, &mut rng)?;
    /// assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (391, 56, 112));
    /// # Ok::<(), gf_tokenize::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fraction is negative, or they are more than 1 together.
    pub fn by_row(n_rows: usize, fractions: Fractions, rng: &mut impl Rng) -> Result<Self> {
        let [n_valid, n_test] = fractions.of(n_rows)?;
        let mut valid: Vec<usize> = (0..n_rows).collect();
        valid.shuffle(rng);
        let mut test = valid.split_off(n_valid);
        let train = test.split_off(n_test);
        Ok(Self { train, valid, test }.sorted())
    }

    /// Draws whole groups: rows with the same value in a column (a donor, a study) stay together, as
    /// do those without one. A held-out part takes a group where that brings it closer to its share,
    /// and at least one if its share is not 0.
    ///
    /// # Errors
    /// A fraction is negative, or they are more than 1 together; the column cannot be read; there are
    /// fewer groups than parts.
    pub fn by_group(
        dataset: &Dataset,
        column: &str,
        fractions: Fractions,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let shares = fractions.of(dataset.len())?;
        let mut groups = groups(dataset, column)?;
        let n_parts = 1 + [fractions.valid, fractions.test].iter().filter(|&&f| f > 0.0).count();
        if groups.len() < n_parts {
            let (path, column) = (dataset.path().to_owned(), column.to_owned());
            return Err(Error::FewGroups { path, column, n_groups: groups.len(), n_parts });
        }
        groups.shuffle(rng);
        let valid = take(&mut groups, fractions.valid, shares[0], n_parts - 1);
        let test = take(&mut groups, fractions.test, shares[1], 1);
        Ok(Self { train: groups.concat(), valid, test }.sorted())
    }

    fn sorted(mut self) -> Self {
        for part in [&mut self.train, &mut self.valid, &mut self.test] {
            part.sort_unstable();
        }
        self
    }
}

/// Rows by value, in the order in which the values appear.
fn groups(dataset: &Dataset, column: &str) -> Result<Vec<Vec<usize>>> {
    let column = dataset.column(column)?;
    let mut places: HashMap<Option<String>, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (row, value) in column.iter().enumerate() {
        let next = groups.len();
        let place = *places.entry(value?.text()).or_insert(next);
        if place == next {
            groups.push(Vec::new());
        }
        groups[place].push(row);
    }
    Ok(groups)
}

/// Takes groups for a share of so many rows, leaving at least `n_left` groups.
fn take(groups: &mut Vec<Vec<usize>>, fraction: f64, share: usize, n_left: usize) -> Vec<usize> {
    let mut taken = Vec::new();
    if fraction == 0.0 {
        return taken;
    }
    let mut n_groups = groups.len();
    groups.retain(|group| {
        let closer = (taken.len() + group.len()).abs_diff(share) < taken.len().abs_diff(share);
        let takes = n_groups > n_left && (taken.is_empty() || closer);
        if takes {
            taken.extend(group);
            n_groups -= 1;
        }
        !takes
    });
    taken
}
