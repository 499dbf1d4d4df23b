//! Products of matrices of two by two blocks by seven products of blocks instead of eight:
//! Strassen's method, in the form of Winograd.
//!
//! One step of it: an eighth fewer products, for fifteen sums of blocks, of which a weight's
//! are added up once. The depth is taken in parts whose halves are paired, tokens are paired
//! within a group of one row and columns with those of a neighbouring panel: what lies
//! between stays in the caches, products are added to each other in registers, and the numbers
//! of a cell depend on no other cell. Rounding is bounded by the largest numbers of both
//! tokens of a pair, not by those of each (Higham, Accuracy and stability of numerical
//! algorithms, 23.2).

use std::{array, ops::Range};

use pulp::Simd;
use rayon::prelude::*;

use super::{
    blocks::GROUP,
    tile::{self, N_VECTORS, Sums, n_columns, tile},
};

/// Products of blocks.
pub const PRODUCTS: usize = 7;
/// Rows of the weight in a part: half of them and the columns of a panel stay in the
/// second-level cache.
pub const DEPTH: usize = 768;
/// Numbers of a row of a part's half, and some more: rows that are powers of two apart would
/// share places in the first-level cache.
const STRIDE: usize = DEPTH / 2 + 16;
/// Most pairs of tokens in a group.
const PAIRS: usize = GROUP / 2;
/// Columns that are paired with as many that follow: those of the widest panel.
pub const COLUMNS: usize = 32;

/// A pair of tokens in a left factor.
pub type Row = [f32; STRIDE];
/// All left factors of a group.
pub type Rows = [[Row; PAIRS]; PRODUCTS];

/// Left factors of the products, in the order in which they are added, of the blocks 11, 12,
/// 21 and 22 of the tokens.
#[inline(always)]
fn left([a, b, c, d]: [f32; 4]) -> [f32; PRODUCTS] {
    let both = c + d;
    let rest = both - a;
    [a, b, rest, a - c, d, both, b - rest]
}

/// Right factors, of the blocks of the weight.
#[inline(always)]
fn right([a, b, c, d]: [f32; 4]) -> [f32; PRODUCTS] {
    let step = b - a;
    let rest = d - step;
    [a, c, rest, d - b, c - rest, step, d]
}

/// Where the blocks of a product go.
pub trait Place {
    /// Writes a block: the upper or lower, the left or right one.
    fn write<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        block: [usize; 2],
        sums: &Sums<S::f32s, ROWS>,
    );
}

/// Multiplies `ROWS` rows from `row` on of each left factor by a panel of each right one.
#[inline(always)]
pub fn multiply<S: Simd, const ROWS: usize>(
    simd: S,
    factors: &Rows,
    row: usize,
    panels: [&[f32]; PRODUCTS],
    place: &mut impl Place,
) {
    let mut rows = [&[[0.0; STRIDE]; ROWS]; PRODUCTS];
    for (rows, factor) in rows.iter_mut().zip(factors) {
        let Some(factor) = factor[row..].first_chunk() else { return };
        *rows = factor;
    }
    let none = [[simd.splat_f32s(0.0); N_VECTORS]; ROWS];
    // What several blocks have in common is added once.
    let first = add(simd, rows[0], panels[0], none);
    place.write(simd, [0, 0], &add(simd, rows[1], panels[1], first));
    let upper = add(simd, rows[2], panels[2], first);
    let lower = add(simd, rows[3], panels[3], upper);
    place.write(simd, [1, 0], &add(simd, rows[4], panels[4], lower));
    let right = add(simd, rows[5], panels[5], none);
    place.write(simd, [1, 1], &plus(simd, lower, &right));
    let right = plus(simd, upper, &right);
    place.write(simd, [0, 1], &add(simd, rows[6], panels[6], right));
}

// Functions, since closures that are called more than once are compiled without vectors.
#[inline(always)]
fn add<S: Simd, const ROWS: usize>(
    simd: S,
    factor: &[Row; ROWS],
    panel: &[f32],
    sums: Sums<S::f32s, ROWS>,
) -> Sums<S::f32s, ROWS> {
    let depth = panel.len() / (N_VECTORS * S::F32_LANES);
    tile(simd, tile::Rows::of(factor), panel, depth, sums)
}

#[inline(always)]
fn plus<S: Simd, const ROWS: usize>(
    simd: S,
    mut sums: Sums<S::f32s, ROWS>,
    others: &Sums<S::f32s, ROWS>,
) -> Sums<S::f32s, ROWS> {
    let others = others.as_flattened();
    for (sum, &other) in sums.as_flattened_mut().iter_mut().zip(others) {
        *sum = simd.add_f32s(*sum, other);
    }
    sums
}

/// Writes the factors of four blocks of the same length.
#[inline(always)]
fn write(
    blocks: [&[f32]; 4],
    to: [&mut [f32]; PRODUCTS],
    factors: impl Fn([f32; 4]) -> [f32; PRODUCTS],
) {
    let n = blocks[0].len();
    let [a, b, c, d] = blocks.map(|block| &block[..n]);
    let [t1, t2, t3, t4, t5, t6, t7] = to.map(|to| &mut to[..n]);
    for i in 0..n {
        [t1[i], t2[i], t3[i], t4[i], t5[i], t6[i], t7[i]] = factors([a[i], b[i], c[i], d[i]]);
    }
}

/// Writes the left factors of a pair of tokens.
#[inline(always)]
pub fn write_rows(tokens: [&[f32]; 2], mut to: [&mut Row; PRODUCTS]) {
    let half = tokens[0].len().div_ceil(2);
    let [(a, b), (c, d)] = tokens.map(|token| token.split_at(half));
    let whole = b.len();
    let first = to.each_mut().map(|to| &mut to[..whole]);
    write([&a[..whole], b, &c[..whole], d], first, left);
    if whole < half {
        let last = to.map(|to| &mut to[whole..half]);
        write([&a[whole..], &[0.0], &c[whole..], &[0.0]], last, left);
    }
}

/// A matrix as right factors.
#[derive(Debug)]
pub struct Factors {
    /// Its rows, some at a time.
    pub parts: Vec<Part>,
}

/// Some rows of a matrix, with all columns.
#[derive(Debug)]
pub struct Part {
    /// Which rows.
    pub rows: Range<usize>,
    n_columns: usize,
    /// For each pair of panels a panel for each product, `[half, n_columns]`; zeros beyond
    /// the last row and column.
    values: Vec<f32>,
}

impl Factors {
    /// Lays out the `[depth, width]` numbers at `values[p · row_stride + j · column_stride]`.
    pub fn new(values: &[f32], [depth, width]: [usize; 2], strides: [usize; 2]) -> Self {
        let rows = |start| start..depth.min(start + DEPTH);
        let parts = (0..depth).step_by(DEPTH).map(rows);
        Self { parts: parts.map(|rows| Part::new(values, rows, width, strides)).collect() }
    }
}

impl Part {
    fn new(values: &[f32], rows: Range<usize>, width: usize, strides: [usize; 2]) -> Self {
        let n_columns = n_columns();
        let half = rows.len().div_ceil(2);
        let block = |p: usize, first: usize| match p < rows.end {
            true => columns(&values[p * strides[0]..], strides[1], first..width, n_columns),
            false => [0.0; COLUMNS],
        };
        let fill = |(pair, to): (usize, &mut [f32])| {
            let left = first_column(pair, n_columns);
            let mut panels = to.chunks_exact_mut(half * n_columns);
            let mut panels: [_; PRODUCTS] = array::from_fn(|_| panels.next().unwrap_or_default());
            for p in rows.start..rows.start + half {
                let places = [(p, left), (p, left + COLUMNS)];
                let [a, b] = places.map(|(p, j)| block(p, j));
                let [c, d] = places.map(|(p, j)| block(p + half, j));
                let to = panels.each_mut();
                let to = to.map(|panel| panel.split_off_mut(..n_columns).unwrap_or_default());
                write([&a, &b, &c, &d].map(|block| &block[..n_columns]), to, right);
            }
        };
        let size = PRODUCTS * half * n_columns;
        let mut values = vec![0.0; width.div_ceil(2 * COLUMNS) * (COLUMNS / n_columns) * size];
        values.par_chunks_mut(size).enumerate().for_each(fill);
        Self { rows, n_columns, values }
    }

    /// Rows of a factor.
    fn half(&self) -> usize {
        self.rows.len().div_ceil(2)
    }

    /// The first column of each pair of panels, and a panel for each product.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, [&[f32]; PRODUCTS])> {
        let size = self.half() * self.n_columns;
        self.values.chunks_exact(PRODUCTS * size).enumerate().map(move |(pair, panels)| {
            let mut panels = panels.chunks_exact(size);
            let panels = array::from_fn(|_| panels.next().unwrap_or_default());
            (first_column(pair, self.n_columns), panels)
        })
    }
}

/// Up to `n` of some columns of a row, zeros beyond them.
fn columns(row: &[f32], stride: usize, columns: Range<usize>, n: usize) -> [f32; COLUMNS] {
    let mut block = [0.0; COLUMNS];
    let numbers = row.iter().step_by(stride).skip(columns.start).take(columns.len().min(n));
    block.iter_mut().zip(numbers).for_each(|(to, &x)| *to = x);
    block
}

/// The left panel's first column.
fn first_column(pair: usize, n_columns: usize) -> usize {
    let first = pair * n_columns;
    first / COLUMNS * 2 * COLUMNS + first % COLUMNS
}
