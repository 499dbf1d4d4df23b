//! The innermost loop of integer products, on the vectors of this processor: one
//! instruction multiplies two neighbours of the depth, numbers of 16 bits, and adds both
//! products, exactly, where the byte instructions of processors without VNNI saturate.
//! They do not if one of the numbers is below 128: then, or with VNNI, bytes go in fours.

#[cfg_attr(target_arch = "x86_64", path = "pairs/x86.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "pairs/elsewhere.rs")]
mod processor;

use bytemuck::Pod;
use pulp::Simd;

pub use self::processor::{dispatch, n_columns};

/// Vectors side by side in a tile.
pub const N_VECTORS: usize = 2;

/// Vectors of pairs of codes.
pub trait Pairs: Copy {
    /// Vectors of floating-point numbers of the same width.
    type Floats: Simd;
    /// 32-bit words side by side.
    type Words: Pod;
    /// Pairs of signed bytes, as many as words.
    type Bytes: Pod;
    /// Whether [`add_byte_products`](Self::add_byte_products) takes all bytes without a sign,
    /// 0…255.
    const ANY_BYTES: bool;

    /// The instructions for floating-point numbers.
    fn floats(self) -> Self::Floats;

    /// Each pair as a word of two 16-bit numbers.
    fn widen(self, pairs: Self::Bytes) -> Self::Words;

    /// The same word everywhere.
    fn splat(self, word: i32) -> Self::Words;

    /// `sum + low(a)·low(b) + high(a)·high(b)` in every word.
    fn add_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;

    /// Two neighbours of the depth as fours of bytes: four columns to the first vector, the
    /// next four to the second, and so on in turn.
    fn interleave(self, neighbours: [[Self::Bytes; N_VECTORS]; 2]) -> [Self::Words; N_VECTORS];

    /// Columns in their order, from that of [`interleave`](Self::interleave).
    fn in_order(self, columns: [Self::Words; N_VECTORS]) -> [Self::Words; N_VECTORS];

    /// `sum` and the products of the four bytes of `a`, all 0…127 or where
    /// [`ANY_BYTES`](Self::ANY_BYTES) says so 0…255, with those of `b`, −127…127, in every word.
    fn add_byte_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;

    /// [`in_order`](Self::in_order) of every row.
    #[inline(always)]
    fn all_in_order<const ROWS: usize>(
        self,
        mut sums: [[Self::Words; N_VECTORS]; ROWS],
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        // A loop, since `map` is not inlined.
        for sums in &mut sums {
            *sums = self.in_order(*sums);
        }
        sums
    }

    /// Sums of products of every row with every column of a panel of pairs of bytes,
    /// `depth` pairs of each.
    #[inline(always)]
    fn tile_bytes<const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[i8],
        depth: usize,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let panel: &[[Self::Bytes; N_VECTORS]] = bytemuck::cast_slice(panel);
        let load = |columns: &[_; N_VECTORS]| columns.map(|pairs| self.widen(pairs));
        self.tile(rows, &panel[..depth], load, Self::add_products)
    }

    /// The same sums of rows without negative numbers, in fours of bytes, `depth` of each.
    #[inline(always)]
    fn tile_fours<const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[i8],
        depth: usize,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let panel: &[[[Self::Bytes; N_VECTORS]; 2]] = bytemuck::cast_slice(panel);
        let load = |columns: &_| self.interleave(*columns);
        self.all_in_order(self.tile(rows, &panel[..depth], load, Self::add_byte_products))
    }

    /// As [`tile_fours`](Self::tile_fours) with rows of either sign, where
    /// [`ANY_BYTES`](Self::ANY_BYTES) says so: columns are raised by 128, so that every sum
    /// is too large by 128 times the sum of its row.
    #[inline(always)]
    fn tile_raised_fours<const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[i8],
        depth: usize,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let panel: &[[[Self::Bytes; N_VECTORS]; 2]] = bytemuck::cast_slice(panel);
        let load = |columns: &_| raise(self.interleave(*columns));
        let add = |simd: Self, sum, row, column| simd.add_byte_products(sum, column, row);
        self.all_in_order(self.tile(rows, &panel[..depth], load, add))
    }

    /// As [`tile_bytes`](Self::tile_bytes) with a panel of pairs of 16-bit numbers.
    #[inline(always)]
    fn tile_words<const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[i32],
        depth: usize,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let panel: &[[Self::Words; N_VECTORS]] = bytemuck::cast_slice(panel);
        self.tile(rows, &panel[..depth], |columns| *columns, Self::add_products)
    }

    /// Sums of products, by `add`, of every row with what `load` makes of each part of a
    /// panel.
    #[inline(always)]
    fn tile<Part, const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[Part],
        load: impl Fn(&Part) -> [Self::Words; N_VECTORS],
        add: impl Fn(Self, Self::Words, Self::Words, Self::Words) -> Self::Words,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let mut sums = [[self.splat(0); N_VECTORS]; ROWS];
        // A loop, since `map` is not inlined.
        rows.iter().for_each(|row| assert!(row.len() >= panel.len()));
        for (p, columns) in panel.iter().enumerate() {
            let columns = load(columns);
            for (sums, row) in sums.iter_mut().zip(&rows) {
                // SAFETY: p is below the panel's length, and no row is shorter.
                let word = self.splat(unsafe { *row.get_unchecked(p) });
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = add(self, *sum, word, column);
                }
            }
        }
        sums
    }
}

/// Every signed byte plus 128, without a sign.
#[inline(always)]
fn raise<W: Pod>(mut words: [W; N_VECTORS]) -> [W; N_VECTORS] {
    bytemuck::cast_slice_mut::<W, u8>(&mut words).iter_mut().for_each(|byte| *byte ^= 0x80);
    words
}

/// Work written for tiles of `ROWS` rows.
pub trait Work {
    /// Does the work.
    fn run<P: Pairs, const ROWS: usize>(self, simd: P);
}

/// Words side by side without vector instructions.
const PORTABLE: usize = 4;

#[derive(Clone, Copy)]
struct Portable;

impl Pairs for Portable {
    type Floats = pulp::Scalar;
    type Words = [i32; PORTABLE];
    type Bytes = [[i8; 2]; PORTABLE];
    const ANY_BYTES: bool = true;

    #[inline(always)]
    fn floats(self) -> pulp::Scalar {
        pulp::Scalar
    }

    #[inline(always)]
    fn widen(self, pairs: Self::Bytes) -> Self::Words {
        pairs.map(|[low, high]| (i32::from(low) & 0xffff) | (i32::from(high) << 16))
    }

    #[inline(always)]
    fn splat(self, word: i32) -> Self::Words {
        [word; PORTABLE]
    }

    #[inline(always)]
    fn add_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words {
        let low = |word: i32| i32::from(word as i16);
        let product = |i: usize| low(a[i]) * low(b[i]) + (a[i] >> 16) * (b[i] >> 16);
        std::array::from_fn(|i| sum[i] + product(i))
    }

    #[inline(always)]
    fn interleave(
        self,
        [first, second]: [[Self::Bytes; N_VECTORS]; 2],
    ) -> [Self::Words; N_VECTORS] {
        let four = |vector: usize, i: usize| bytemuck::cast([first[vector][i], second[vector][i]]);
        std::array::from_fn(|vector| std::array::from_fn(|i| four(vector, i)))
    }

    #[inline(always)]
    fn in_order(self, columns: [Self::Words; N_VECTORS]) -> [Self::Words; N_VECTORS] {
        columns
    }

    #[inline(always)]
    fn add_byte_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words {
        let product = |(a, b): (u8, u8)| i32::from(a) * i32::from(b as i8);
        let bytes = |i: usize| a[i].to_ne_bytes().into_iter().zip(b[i].to_ne_bytes());
        std::array::from_fn(|i| sum[i] + bytes(i).map(product).sum::<i32>())
    }
}

/// Some columns of each of `ROWS` rows from row `first` on; beyond the last row, that
/// one again: its sums are not kept.
#[inline(always)]
pub fn rows_from<T, const ROWS: usize>(
    matrix: &[T],
    stride: usize,
    first: usize,
    columns: std::ops::Range<usize>,
) -> [&[T]; ROWS] {
    let last = matrix.len() / stride - 1;
    let mut rows = [&matrix[..0]; ROWS];
    // A loop, since `array::from_fn` is called for each tile and not inlined.
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &matrix[(first + i).min(last) * stride..][columns.clone()];
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fours of the depth.
    const DEPTH: usize = 5;
    /// Bytes of a row, and of a column.
    const N_BYTES: usize = 4 * DEPTH;
    const MOST_ROWS: usize = 12;
    const MOST_COLUMNS: usize = 32;

    /// Compares tiles of pairs and of fours with the sums from the definition.
    #[derive(Clone, Copy)]
    struct Check<'a> {
        rows: &'a [[i8; N_BYTES]],
        columns: &'a [[i8; N_BYTES]],
    }

    impl Check<'_> {
        /// Where every code of a column is larger by `raised`.
        fn compare<W: Pod>(&self, tile: &[[W; N_VECTORS]], raised: i32) {
            for (row, sums) in self.rows.iter().zip(tile) {
                let product = |(a, b): (&i8, &i8)| i32::from(*a) * (i32::from(*b) + raised);
                let sum = |column: &[i8; N_BYTES]| row.iter().zip(column).map(product).sum();
                let sums: &[i32] = bytemuck::cast_slice(sums);
                let expected: Vec<i32> = self.columns[..sums.len()].iter().map(sum).collect();
                assert_eq!(sums, expected);
            }
        }
    }

    impl Work for Check<'_> {
        fn run<P: Pairs, const ROWS: usize>(self, simd: P) {
            let columns = &self.columns[..N_VECTORS * size_of::<P::Words>() / size_of::<i32>()];
            let pair = |p: usize| columns.iter().flat_map(move |c| [c[2 * p], c[2 * p + 1]]);
            let panel: Vec<i8> = (0..2 * DEPTH).flat_map(pair).collect();
            let pairs = |i: usize| bytemuck::pod_collect_to_vec(&self.rows[i].map(i16::from));
            let pairs: [Vec<i32>; ROWS] = std::array::from_fn(pairs);
            let fours = |i: usize| bytemuck::pod_collect_to_vec(&self.rows[i]);
            let fours: [Vec<i32>; ROWS] = std::array::from_fn(fours);
            let (pairs, fours) =
                (pairs.each_ref().map(Vec::as_slice), fours.each_ref().map(Vec::as_slice));
            self.compare(&simd.tile_bytes(pairs, &panel, 2 * DEPTH), 0);
            if self.rows.as_flattened().iter().all(|&code| code >= 0) {
                self.compare(&simd.tile_fours(fours, &panel, DEPTH), 0);
            }
            if P::ANY_BYTES {
                self.compare(&simd.tile_raised_fours(fours, &panel, DEPTH), 128);
            }
        }
    }

    /// Also where no vectors are: the largest codes of either sign among others.
    #[test]
    fn tiles() {
        let number = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 131;
        let row = |i| std::array::from_fn(|p| number(N_BYTES * i + p).min(127) as i8);
        let column = |j| {
            std::array::from_fn(|p| match number(N_BYTES * (99 + j) + p) {
                even if even % 2 == 0 => even.min(127) as i8,
                odd => -(odd.min(127) as i8),
            })
        };
        let rows: [_; MOST_ROWS] = std::array::from_fn(row);
        let columns: [_; MOST_COLUMNS] = std::array::from_fn(column);
        let negative = rows.map(|row| row.map(|code| -code));
        for rows in [rows, negative, [[127; N_BYTES]; MOST_ROWS], [[-127; N_BYTES]; MOST_ROWS]] {
            let check = Check { rows: &rows, columns: &columns };
            dispatch(check);
            check.run::<_, 4>(Portable);
        }
    }
}
