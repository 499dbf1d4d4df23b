//! The rank-sum test of Wilcoxon, Mann and Whitney.

use super::python_sample;

/// Numbers of a pool beyond which the reference draws so many of them.
const REFERENCE_POOL: usize = 100_000;
/// The seed of that draw.
const REFERENCE_SEED: u32 = 42;

/// A rank-sum test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankSum {
    /// Standard normal statistic: positive where the first sample is the larger.
    pub z: f64,
    /// Two-sided p-value of the normal approximation.
    pub p: f64,
}

impl RankSum {
    /// The test from the number of pairs in which the first sample is the larger, ties
    /// counted as half.
    fn from_wins(wins: f64, n1: usize, n2: usize) -> Self {
        let (n1, n2) = (n1 as f64, n2 as f64);
        let stdev = (n1 * n2 * (n1 + n2 + 1.0) / 12.0).sqrt();
        let z = (wins - n1 * n2 / 2.0) / stdev;
        Self { z, p: libm::erfc(z.abs() / std::f64::consts::SQRT_2) }
    }
}

/// Tests whether one of two samples is the larger (`scipy.stats.ranksums`: average
/// ranks, no correction for ties or continuity). NaN of an empty sample.
pub fn rank_sum(a: &[f64], b: &[f64]) -> RankSum {
    let pool = Sorted::new(b.to_vec());
    RankSum::from_wins(pool.wins(a), a.len(), b.len())
}

/// What the numbers of one gene are tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pool {
    /// Those of all genes, the tested one among them; of more than 100,000 a sample,
    /// the very one that the reference draws.
    Reference,
    /// Those of all other genes.
    #[default]
    Others,
}

/// A pool, sorted once for all genes.
#[derive(Debug, Clone)]
pub struct RankPool {
    pool: Pool,
    sorted: Sorted,
}

impl RankPool {
    /// A pool of the numbers of all genes, genes by token and numbers in file order.
    pub fn new(pool: Pool, numbers: Vec<f64>) -> Self {
        let numbers = match pool {
            Pool::Reference if numbers.len() > REFERENCE_POOL => {
                let chosen = python_sample(numbers.len() as u32, REFERENCE_POOL, REFERENCE_SEED);
                chosen.into_iter().map(|i| numbers[i as usize]).collect()
            }
            _ => numbers,
        };
        Self { pool, sorted: Sorted::new(numbers) }
    }

    /// Tests the numbers of one gene against the pool.
    pub fn test(&self, gene: &[f64]) -> RankSum {
        let (wins, n_pool, n) = (self.sorted.wins(gene), self.sorted.0.len(), gene.len());
        match self.pool {
            Pool::Reference => RankSum::from_wins(wins, n, n_pool),
            // Of the n² pairs of a sample with itself it wins half.
            Pool::Others => RankSum::from_wins(wins - (n * n) as f64 / 2.0, n, n_pool - n),
        }
    }
}

/// Numbers in ascending order.
#[derive(Debug, Clone)]
struct Sorted(Vec<f64>);

impl Sorted {
    fn new(mut numbers: Vec<f64>) -> Self {
        // Of numbers that compare equal, zeros of both signs are one.
        numbers.iter_mut().for_each(|x| *x += 0.0);
        numbers.sort_unstable_by(f64::total_cmp);
        Self(numbers)
    }

    /// Pairs in which a number of `sample` is the larger, ties counted as half.
    fn wins(&self, sample: &[f64]) -> f64 {
        let wins = |x: &f64| {
            let below = self.0.partition_point(|y| y < x);
            let not_above = self.0.partition_point(|y| y <= x);
            (below + not_above) as f64 / 2.0
        };
        sample.iter().map(wins).sum()
    }
}
