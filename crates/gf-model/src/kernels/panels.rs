//! A matrix laid out for the tiles: columns side by side, one panel after another.

use rayon::prelude::*;

use super::tile::n_columns;

/// A `[depth, width]` matrix; panel `j` holds `[depth, n_columns]`, zeros beyond the width.
#[derive(Debug)]
pub struct Panels {
    depth: usize,
    n_columns: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Lays out the numbers at `values[p · row_stride + j · column_stride]`.
    pub fn new(
        values: &[f32],
        [depth, width]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        let n_columns = n_columns();
        let mut panels = vec![0.0; width.div_ceil(n_columns) * depth * n_columns];
        let fill = |(panel, to): (usize, &mut [f32])| {
            let first = panel * n_columns;
            let columns = n_columns.min(width - first);
            for (p, to) in to.chunks_exact_mut(n_columns).enumerate() {
                let from = &values[p * row_stride + first * column_stride..];
                if column_stride == 1 {
                    to[..columns].copy_from_slice(&from[..columns]);
                    continue;
                }
                let from = from.iter().step_by(column_stride);
                to[..columns].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        };
        panels.par_chunks_mut(depth * n_columns).enumerate().for_each(fill);
        Self { depth, n_columns, values: panels }
    }

    /// Columns in a panel.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Every panel, from row `first` on.
    pub fn below(&self, first: usize) -> impl Iterator<Item = &[f32]> {
        let skip = first * self.n_columns;
        self.values.chunks_exact(self.depth * self.n_columns).map(move |panel| &panel[skip..])
    }
}
