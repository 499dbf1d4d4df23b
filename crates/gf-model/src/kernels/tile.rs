//! The innermost loop: a few rows against a few columns, held in registers.

use pulp::{Simd, WithSimd};

/// Vectors side by side in a tile.
pub const N_VECTORS: usize = 2;

/// Products of each sum in one turn of the innermost loop of a small tile, where the loop's
/// own instructions would otherwise be a seventh of all. In longer turns of a larger tile
/// the compiler keeps what it has loaded outside the registers, at half the speed.
const STEPS: usize = 4;
const MOST_ROWS_IN_STEPS: usize = 6;

/// Rows of the largest tile; those of every other divide it.
pub const MOST_ROWS: usize = 12;

/// Columns of a tile on this processor.
pub fn n_columns() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            N_VECTORS * S::F32_LANES
        }
    }
    pulp::Arch::new().dispatch(Lanes)
}

/// Work written for tiles of `ROWS` rows.
pub trait Tiled {
    /// Does the work.
    fn run<S: Simd, const ROWS: usize>(self, simd: S);
}

/// Runs `work` on this processor's vectors, with as many rows as its registers hold:
/// 32 of AVX-512, 16 of AVX2 and fewer elsewhere.
pub fn dispatch(work: impl Tiled) {
    struct Dispatch<W>(W);
    impl<W: Tiled> WithSimd for Dispatch<W> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            match S::F32_LANES {
                16.. => self.0.run::<S, MOST_ROWS>(simd),
                8 => self.0.run::<S, 6>(simd),
                _ => self.0.run::<S, 4>(simd),
            }
        }
    }
    pulp::Arch::new().dispatch(Dispatch(work));
}

/// Where the numbers of a tile's rows lie.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// That of row `i` and column `p` at `i · row + p · column`.
    pub values: &'a [f32],
    /// How far apart two rows are.
    pub row: usize,
    /// How far apart two columns are.
    pub column: usize,
}

impl<'a> Rows<'a> {
    /// Rows side by side in memory.
    pub fn of<const STRIDE: usize>(rows: &'a [[f32; STRIDE]]) -> Self {
        Self { values: rows.as_flattened(), row: STRIDE, column: 1 }
    }
}

/// The sums of one tile.
pub type Sums<V, const ROWS: usize> = [[V; N_VECTORS]; ROWS];

/// `sums[i][j] + Σ_p rows[i][p] · panel[p][j]` for every row `i` and column `j`.
///
/// `panel` holds `N_VECTORS · F32_LANES` columns for each of at least `depth` `p`.
#[inline(always)]
pub fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    rows: Rows<'_>,
    panel: &[f32],
    depth: usize,
    mut sums: Sums<S::f32s, ROWS>,
) -> Sums<S::f32s, ROWS> {
    assert!((ROWS - 1) * rows.row + depth * rows.column < rows.values.len() + rows.column);
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<N_VECTORS>();
    let panel = &panel[..depth];
    let (turns, _) =
        if ROWS <= MOST_ROWS_IN_STEPS { panel.as_chunks::<STEPS>() } else { (&[][..], panel) };
    for (i, turn) in turns.iter().enumerate() {
        for (step, columns) in turn.iter().enumerate() {
            // SAFETY: such a step is below `depth`.
            unsafe { add(simd, rows, i * STEPS + step, columns, &mut sums) };
        }
    }
    for (p, columns) in panel.iter().enumerate().skip(turns.len() * STEPS) {
        // SAFETY: p < depth.
        unsafe { add(simd, rows, p, columns, &mut sums) };
    }
    sums
}

/// Adds `rows[i][p] · columns[j]` to each sum; a function, since closures may be
/// compiled without vectors.
///
/// # Safety
///
/// The last row has more than `p` numbers: the check costs a fifth of the loop.
#[inline(always)]
unsafe fn add<S: Simd, const ROWS: usize>(
    simd: S,
    Rows { values, row, column }: Rows<'_>,
    p: usize,
    columns: &[S::f32s; N_VECTORS],
    sums: &mut Sums<S::f32s, ROWS>,
) {
    for (i, sums) in sums.iter_mut().enumerate() {
        // SAFETY: as above.
        let x = simd.splat_f32s(unsafe { *values.get_unchecked(i * row + p * column) });
        for (sum, &column) in sums.iter_mut().zip(columns) {
            *sum = simd.mul_add_f32s(x, column, *sum);
        }
    }
}
