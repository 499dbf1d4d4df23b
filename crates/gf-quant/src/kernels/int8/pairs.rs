//! The innermost loop of the integer product, on the vectors of this processor.

use bytemuck::Pod;

/// Vectors side by side in a tile.
pub const N_VECTORS: usize = 2;

/// Vectors of pairs of codes.
pub trait Pairs: Copy {
    /// 32-bit words side by side.
    type Words: Pod;
    /// Pairs of signed bytes, as many as words.
    type Bytes: Pod;

    /// Each pair as a word of two 16-bit numbers.
    fn widen(self, pairs: Self::Bytes) -> Self::Words;

    /// The same word everywhere.
    fn splat(self, word: i32) -> Self::Words;

    /// `sum + low(a)·low(b) + high(a)·high(b)` in every word.
    fn add_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;

    /// Sums of products of every row with every column of a panel.
    #[inline(always)]
    fn tile<const ROWS: usize>(
        self,
        rows: [&[i32]; ROWS],
        panel: &[i8],
        depth: usize,
    ) -> [[Self::Words; N_VECTORS]; ROWS] {
        let mut sums = [[self.splat(0); N_VECTORS]; ROWS];
        let rows = rows.map(|row| &row[..depth]);
        let panel: &[[Self::Bytes; N_VECTORS]] = bytemuck::cast_slice(panel);
        for (p, columns) in panel[..depth].iter().enumerate() {
            let columns = columns.map(|pairs| self.widen(pairs));
            for (sums, row) in sums.iter_mut().zip(&rows) {
                // SAFETY: p < depth, the length of every row.
                let word = self.splat(unsafe { *row.get_unchecked(p) });
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = self.add_products(*sum, word, column);
                }
            }
        }
        sums
    }
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
    type Words = [i32; PORTABLE];
    type Bytes = [[i8; 2]; PORTABLE];

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
}

#[cfg(not(target_arch = "x86_64"))]
mod processor {
    use super::{N_VECTORS, PORTABLE, Portable, Work};

    pub fn n_columns() -> usize {
        N_VECTORS * PORTABLE
    }

    pub fn dispatch(work: impl Work) {
        work.run::<_, 4>(Portable);
    }
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use std::arch::x86_64::_mm512_dpwssd_epi32;

    use pulp::{
        NullaryFnOnce, cast, i8x16, i8x32, i32x8, i32x16,
        x86::{V3, V4},
    };

    use super::{N_VECTORS, PORTABLE, Pairs, Portable, Work};

    impl Pairs for V3 {
        type Words = i32x8;
        type Bytes = i8x16;

        #[inline(always)]
        fn widen(self, pairs: i8x16) -> i32x8 {
            cast(self.avx2._mm256_cvtepi8_epi16(cast(pairs)))
        }

        #[inline(always)]
        fn splat(self, word: i32) -> i32x8 {
            cast(self.avx._mm256_set1_epi32(word))
        }

        #[inline(always)]
        fn add_products(self, sum: i32x8, a: i32x8, b: i32x8) -> i32x8 {
            let products = self.avx2._mm256_madd_epi16(cast(a), cast(b));
            cast(self.avx2._mm256_add_epi32(cast(sum), products))
        }
    }

    impl Pairs for V4 {
        type Words = i32x16;
        type Bytes = i8x32;

        #[inline(always)]
        fn widen(self, pairs: i8x32) -> i32x16 {
            cast(self.avx512bw._mm512_cvtepi8_epi16(cast(pairs)))
        }

        #[inline(always)]
        fn splat(self, word: i32) -> i32x16 {
            cast(self.avx512f._mm512_set1_epi32(word))
        }

        #[inline(always)]
        fn add_products(self, sum: i32x16, a: i32x16, b: i32x16) -> i32x16 {
            let products = self.avx512bw._mm512_madd_epi16(cast(a), cast(b));
            cast(self.avx512f._mm512_add_epi32(cast(sum), products))
        }
    }

    pulp::simd_type! {
        /// AVX-512 where one instruction multiplies pairs and adds them to a sum.
        struct Vnni {
            avx512f: "avx512f",
            avx512bw: "avx512bw",
            avx512vnni: "avx512vnni",
        }
    }

    /// [`V4`] on a processor that has [`Vnni`].
    #[derive(Clone, Copy)]
    struct Fused(V4, Vnni);

    impl Pairs for Fused {
        type Words = i32x16;
        type Bytes = i8x32;

        #[inline(always)]
        fn widen(self, pairs: i8x32) -> i32x16 {
            self.0.widen(pairs)
        }

        #[inline(always)]
        fn splat(self, word: i32) -> i32x16 {
            self.0.splat(word)
        }

        #[inline(always)]
        fn add_products(self, sum: i32x16, a: i32x16, b: i32x16) -> i32x16 {
            // SAFETY: a `Vnni` exists only where the processor has this instruction.
            cast(unsafe { _mm512_dpwssd_epi32(cast(sum), cast(a), cast(b)) })
        }
    }

    struct Run<P, W, const ROWS: usize>(P, W);

    impl<P: Pairs, W: Work, const ROWS: usize> NullaryFnOnce for Run<P, W, ROWS> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            self.1.run::<P, ROWS>(self.0);
        }
    }

    pub fn n_columns() -> usize {
        let lanes = match (V4::try_new(), V3::try_new()) {
            (Some(_), _) => 16,
            (None, Some(_)) => 8,
            (None, None) => PORTABLE,
        };
        N_VECTORS * lanes
    }

    pub fn dispatch(work: impl Work) {
        match (Vnni::try_new(), V4::try_new(), V3::try_new()) {
            (Some(vnni), Some(v4), _) => {
                vnni.vectorize(Run::<_, _, 12>(Fused(v4, vnni), work));
            }
            (_, Some(simd), _) => simd.vectorize(Run::<_, _, 12>(simd, work)),
            (_, None, Some(simd)) => simd.vectorize(Run::<_, _, 6>(simd, work)),
            (_, None, None) => work.run::<_, 4>(Portable),
        }
    }
}

pub use processor::{dispatch, n_columns};
