//! A mixture of two normal distributions in one dimension.

/// Added to each variance (scikit-learn's `reg_covar`).
const VARIANCE_FLOOR: f64 = 1e-6;
/// The fit ends when the mean log-likelihood changes by less (`tol`).
const TOLERANCE: f64 = 1e-3;
/// Steps at most (`max_iter`).
const MAX_STEPS: usize = 100;

/// Two normal distributions, the one with the lower mean first (scikit-learn's
/// `GaussianMixture(n_components=2)`, which does not order them). The start is the best
/// split in two, which k-means looks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    /// Shares of the components.
    pub weights: [f64; 2],
    /// Their means.
    pub means: [f64; 2],
    /// Their variances.
    pub variances: [f64; 2],
}

impl Mixture {
    /// Fits two components; none to fewer than two numbers.
    pub fn fit(numbers: &[f64]) -> Option<Self> {
        let mut mixture = Self::from_shares(numbers, &split(numbers)?);
        let mut previous = f64::NEG_INFINITY;
        for _ in 0..MAX_STEPS {
            let (likelihood, shares) = mixture.expect(numbers);
            mixture = Self::from_shares(numbers, &shares);
            if (likelihood - previous).abs() < TOLERANCE {
                break;
            }
            previous = likelihood;
        }
        Some(mixture.ordered())
    }

    /// Whether a number is of the lower component: below its mean always, above the
    /// other's never, in between by the larger posterior (`in_silico_perturber_stats.py`,
    /// `isp_stats_mixture_model`).
    pub fn is_lower(&self, x: f64) -> bool {
        if x > self.means[1] {
            return false;
        }
        let [lower, upper] = self.log_densities(x);
        x < self.means[0] || lower >= upper
    }

    /// Mean log-likelihood, and the share of the first component in each number.
    fn expect(&self, numbers: &[f64]) -> (f64, Vec<f64>) {
        let mut likelihood = 0.0;
        let shares = numbers.iter().map(|&x| {
            let [a, b] = self.log_densities(x);
            let sum = a.max(b) + (-(a - b).abs()).exp().ln_1p();
            likelihood += sum;
            (a - sum).exp()
        });
        let shares: Vec<f64> = shares.collect();
        (likelihood / numbers.len() as f64, shares)
    }

    fn log_densities(&self, x: f64) -> [f64; 2] {
        [0, 1].map(|i| {
            let variance = self.variances[i];
            let distance = (x - self.means[i]).powi(2) / variance;
            self.weights[i].ln() - 0.5 * (distance + (std::f64::consts::TAU * variance).ln())
        })
    }

    /// The components with the first one's share in each number.
    fn from_shares(numbers: &[f64], shares: &[f64]) -> Self {
        let component = |share: &dyn Fn(f64) -> f64| {
            let weighted = || numbers.iter().zip(shares).map(|(&x, &s)| (x, share(s)));
            // Never zero, as in scikit-learn.
            let n = weighted().map(|(_, s)| s).sum::<f64>() + 10.0 * f64::EPSILON;
            let mean = weighted().map(|(x, s)| x * s).sum::<f64>() / n;
            let variance = weighted().map(|(x, s)| s * (x - mean).powi(2)).sum::<f64>() / n;
            (n, mean, variance + VARIANCE_FLOOR)
        };
        let (first, second) = (component(&|s| s), component(&|s| 1.0 - s));
        let n = first.0 + second.0;
        Self {
            weights: [first.0 / n, second.0 / n],
            means: [first.1, second.1],
            variances: [first.2, second.2],
        }
    }

    fn ordered(mut self) -> Self {
        if self.means[0] > self.means[1] {
            self.weights.reverse();
            self.means.reverse();
            self.variances.reverse();
        }
        self
    }
}

/// 1 for the numbers below the split that leaves the least squares within both parts,
/// 0 for the others.
fn split(numbers: &[f64]) -> Option<Vec<f64>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (n, total) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    let mut sum = 0.0;
    let mut best = None;
    for (i, pair) in sorted.windows(2).enumerate() {
        sum += pair[0];
        let n_below = (i + 1) as f64;
        // The more of the squares lies between the parts, the less is within.
        let between = sum.powi(2) / n_below + (total - sum).powi(2) / (n - n_below);
        if best.is_none_or(|(most, _)| between > most) {
            best = Some((between, pair[0]));
        }
    }
    let (_, highest) = best?;
    Some(numbers.iter().map(|&x| f64::from(u8::from(x <= highest))).collect())
}
