//! AVX2, AVX-512 and its VNNI.

use std::arch::x86_64::{__m256i, __m512i, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32};

use pulp::{
    NullaryFnOnce, cast, i8x16, i8x32, i32x8, i32x16,
    x86::{V3, V4},
};

use super::{N_VECTORS, PORTABLE, Pairs, Portable, Work};

impl Pairs for V3 {
    type Floats = Self;
    type Words = i32x8;
    type Bytes = i8x16;
    const ANY_BYTES: bool = false;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

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

    #[inline(always)]
    fn interleave(self, neighbours: [[i8x16; N_VECTORS]; 2]) -> [i32x8; N_VECTORS] {
        let [first, second] = neighbours.map(cast::<_, __m256i>);
        let fours = (
            self.avx2._mm256_unpacklo_epi16(first, second),
            self.avx2._mm256_unpackhi_epi16(first, second),
        );
        [cast(fours.0), cast(fours.1)]
    }

    #[inline(always)]
    fn in_order(self, columns: [i32x8; N_VECTORS]) -> [i32x8; N_VECTORS] {
        let [first, second] = columns.map(cast::<_, __m256i>);
        let low = self.avx2._mm256_permute2x128_si256::<0x20>(first, second);
        let high = self.avx2._mm256_permute2x128_si256::<0x31>(first, second);
        [cast(low), cast(high)]
    }

    #[inline(always)]
    fn add_byte_products(self, sum: i32x8, a: i32x8, b: i32x8) -> i32x8 {
        let pairs = self.avx2._mm256_maddubs_epi16(cast(a), cast(b));
        let products = self.avx2._mm256_madd_epi16(pairs, self.avx._mm256_set1_epi16(1));
        cast(self.avx2._mm256_add_epi32(cast(sum), products))
    }
}

impl Pairs for V4 {
    type Floats = Self;
    type Words = i32x16;
    type Bytes = i8x32;
    const ANY_BYTES: bool = false;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

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

    #[inline(always)]
    fn interleave(self, neighbours: [[i8x32; N_VECTORS]; 2]) -> [i32x16; N_VECTORS] {
        let [first, second] = neighbours.map(cast::<_, __m512i>);
        let fours = (
            self.avx512bw._mm512_unpacklo_epi16(first, second),
            self.avx512bw._mm512_unpackhi_epi16(first, second),
        );
        [cast(fours.0), cast(fours.1)]
    }

    #[inline(always)]
    fn in_order(self, columns: [i32x16; N_VECTORS]) -> [i32x16; N_VECTORS] {
        let [first, second] = columns.map(cast::<_, __m512i>);
        let in_turn =
            |from: [i64; 8]| self.avx512f._mm512_permutex2var_epi64(first, cast(from), second);
        [cast(in_turn([0, 1, 8, 9, 2, 3, 10, 11])), cast(in_turn([4, 5, 12, 13, 6, 7, 14, 15]))]
    }

    #[inline(always)]
    fn add_byte_products(self, sum: i32x16, a: i32x16, b: i32x16) -> i32x16 {
        let pairs = self.avx512bw._mm512_maddubs_epi16(cast(a), cast(b));
        let ones = self.avx512f._mm512_set1_epi16(1);
        let products = self.avx512bw._mm512_madd_epi16(pairs, ones);
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
    type Floats = V4;
    type Words = i32x16;
    type Bytes = i8x32;
    const ANY_BYTES: bool = true;

    #[inline(always)]
    fn floats(self) -> V4 {
        self.0
    }

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

    #[inline(always)]
    fn interleave(self, neighbours: [[i8x32; N_VECTORS]; 2]) -> [i32x16; N_VECTORS] {
        self.0.interleave(neighbours)
    }

    #[inline(always)]
    fn in_order(self, columns: [i32x16; N_VECTORS]) -> [i32x16; N_VECTORS] {
        self.0.in_order(columns)
    }

    #[inline(always)]
    fn add_byte_products(self, sum: i32x16, a: i32x16, b: i32x16) -> i32x16 {
        // SAFETY: as above.
        cast(unsafe { _mm512_dpbusd_epi32(cast(sum), cast(a), cast(b)) })
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

/// Columns of a panel on this processor.
pub fn n_columns() -> usize {
    let lanes = match (V4::try_new(), V3::try_new()) {
        (Some(_), _) => 16,
        (None, Some(_)) => 8,
        (None, None) => PORTABLE,
    };
    N_VECTORS * lanes
}

/// Runs `work` on the widest vectors of this processor, with as many rows as keep its
/// multipliers busy.
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
