//! numpy's `default_rng(seed).permutation(n)`, with which the reference (through
//! `datasets.Dataset.shuffle`) chooses its cells: SeedSequence, PCG64, its
//! bounded integers by masked rejection and the Fisher–Yates of `Generator.shuffle`.
//!
//! Source: numpy (checked against 2.4.6), `numpy/random/bit_generator.pyx` (SeedSequence),
//! `src/pcg64/pcg64.h`, `src/distributions/distributions.c`
//! (`random_interval`) and `_generator.pyx` (`_shuffle_raw`).

use rand::Rng;
use rand_pcg::Pcg64;

const POOL_WORDS: usize = 4;
const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_MULT_L: u32 = 0xca01_f9dd;
const MIX_MULT_R: u32 = 0x4973_f715;
const XSHIFT: u32 = 16;

/// The numbers `0..n` as `numpy.random.default_rng(seed).permutation(n)` gives them.
///
/// ```
/// assert_eq!(gf_embed::numpy_permutation(5000, 42)[..3], [1535, 1183, 3378]);
/// ```
pub fn numpy_permutation(n: u32, seed: u64) -> Vec<usize> {
    let mut halves = Halves { rng: generator(seed), high: None };
    let mut numbers: Vec<usize> = (0..n as usize).collect();
    for last in (1..n).rev() {
        numbers.swap(halves.up_to(last) as usize, last as usize);
    }
    numbers
}

/// `PCG64(SeedSequence(seed))`.
fn generator(seed: u64) -> Pcg64 {
    let [a, b, c, d] = seed_words(seed).map(u128::from);
    Pcg64::new(a << 64 | b, c << 64 | d)
}

/// `SeedSequence(seed).generate_state(4, numpy.uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    let pool = seed_pool(seed);
    let mut hash = INIT_B;
    let mut word = |at: usize| u64::from(hashed(pool[at % POOL_WORDS], &mut hash, MULT_B));
    std::array::from_fn(|pair| word(2 * pair) | word(2 * pair + 1) << 32)
}

fn seed_pool(seed: u64) -> [u32; POOL_WORDS] {
    let mut hash = INIT_A;
    let entropy = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut pool = entropy.map(|word| hashed(word, &mut hash, MULT_A));
    for from in 0..POOL_WORDS {
        for to in (0..POOL_WORDS).filter(|&to| to != from) {
            pool[to] = mixed(pool[to], hashed(pool[from], &mut hash, MULT_A));
        }
    }
    pool
}

fn hashed(word: u32, hash: &mut u32, mult: u32) -> u32 {
    let word = word ^ *hash;
    *hash = hash.wrapping_mul(mult);
    let word = word.wrapping_mul(*hash);
    word ^ word >> XSHIFT
}

fn mixed(x: u32, y: u32) -> u32 {
    let word = MIX_MULT_L.wrapping_mul(x).wrapping_sub(MIX_MULT_R.wrapping_mul(y));
    word ^ word >> XSHIFT
}

/// The generator's 64-bit numbers as two of 32 bits, the low half first.
struct Halves {
    rng: Pcg64,
    high: Option<u32>,
}

impl Halves {
    fn next(&mut self) -> u32 {
        match self.high.take() {
            Some(high) => high,
            None => {
                let both = self.rng.next_u64();
                self.high = Some((both >> 32) as u32);
                both as u32
            }
        }
    }

    /// A number from 0 to `last`, each as likely: the first with no more bits than `last`
    /// that is no larger.
    fn up_to(&mut self, last: u32) -> u32 {
        let mask = u32::MAX >> last.leading_zeros();
        loop {
            let number = self.next() & mask;
            if number <= last {
                return number;
            }
        }
    }
}
