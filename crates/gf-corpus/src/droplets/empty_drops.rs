//! Droplets whose genes differ from the ambient RNA.
//!
//! After Lun et al., "EmptyDrops", Genome Biology 20:63 (2019), in the form
//! that Cell Ranger 3 and STARsolo (`EmptyDrops_CR`) run: the ambient profile is
//! the smoothed sum of droplets that are surely empty; a candidate's
//! multinomial probability under it is compared with that of random droplets
//! of the same total; p-values are adjusted after Benjamini and Hochberg.
//!
//! Totals come first, so that only candidates are held; rows follow.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rayon::prelude::*;

use super::{Threshold, good_turing, within};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
};

/// Most counts that the simulations draw in all; at 20 million a second and
/// core, some minutes.
const MAX_DRAWS: u64 = 1 << 32;
/// Relative difference of two log-probabilities that are the same but for the
/// order of their sums: a few thousand terms, each rounded to 1e-16.
const SAME: f64 = 1e-10;

/// Which droplets are surely empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambient {
    /// By rank of their totals, largest first, 0-based, `to` excluded: what
    /// Cell Ranger 3 and STARsolo do. Among equal totals the earlier droplet
    /// comes first.
    Ranks {
        /// First rank.
        from: usize,
        /// Rank after the last.
        to: usize,
    },
    /// All with at most so many counts: the paper's form.
    AtMost {
        /// The `lower` of DropletUtils.
        counts: u64,
    },
}

/// The settings of the test; the defaults are those of Cell Ranger 3 and STARsolo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmptyDrops {
    /// The droplets that tell the ambient profile.
    pub ambient: Ambient,
    /// Fewest counts of a candidate.
    pub min_counts: u64,
    /// Fewest counts of a candidate, as a share of the called cells' median.
    pub min_median_share: f64,
    /// Most candidates; those with the most counts are taken.
    pub max_candidates: usize,
    /// Random droplets that each candidate is compared with.
    pub simulations: u32,
    /// Largest adjusted p-value of a cell.
    pub fdr: f64,
    /// Seed of the random droplets.
    pub seed: u64,
}

impl Default for EmptyDrops {
    fn default() -> Self {
        Self {
            ambient: Ambient::Ranks { from: 45_000, to: 90_000 },
            min_counts: 500,
            min_median_share: 0.01,
            max_candidates: 20_000,
            simulations: 10_000,
            fdr: 0.01,
            seed: 0,
        }
    }
}

/// What a droplet is to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A cell by its total alone.
    Cell,
    /// To be tested.
    Candidate,
    /// Surely empty; its genes make the ambient profile.
    Ambient,
    /// Neither.
    Ignored,
}

/// The role of every droplet, from the totals: the first pass.
#[derive(Debug, Clone, PartialEq)]
pub struct DropletPlan {
    options: EmptyDrops,
    roles: Vec<Role>,
}

impl EmptyDrops {
    /// Gives each droplet its role. No droplet is both a candidate and ambient:
    /// the candidates end where the ambient droplets begin.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of range.
    pub fn plan(&self, totals: &[u64], cells: Threshold) -> Result<DropletPlan> {
        within("min_median_share", self.min_median_share, 0.0, 1.0)?;
        within("fdr", self.fdr, 0.0, 1.0)?;
        within("simulations", f64::from(self.simulations), 1.0, f64::from(u32::MAX))?;
        let mut order: Vec<usize> = (0..totals.len()).collect();
        order.sort_by_key(|&droplet| Reverse(totals[droplet]));
        let n_cells = order.partition_point(|&droplet| cells.calls(totals[droplet]));
        let min_counts = match n_cells {
            0 => self.min_counts,
            // STARsolo's median: the element in the middle, the later of two.
            _ => self.share_of(totals[order[n_cells / 2]]).max(self.min_counts),
        };
        let mut roles = vec![Role::Ignored; totals.len()];
        let mut room = self.max_candidates;
        for (rank, &droplet) in order.iter().enumerate() {
            let total = totals[droplet];
            roles[droplet] = match () {
                () if rank < n_cells => Role::Cell,
                () if total > 0 && self.is_ambient(rank, total) => Role::Ambient,
                () if total >= min_counts.max(1) && room > 0 => Role::Candidate,
                () => Role::Ignored,
            };
            room -= usize::from(roles[droplet] == Role::Candidate);
        }
        Ok(DropletPlan { options: *self, roles })
    }

    fn share_of(&self, median: u64) -> u64 {
        (self.min_median_share * median as f64) as u64
    }

    fn is_ambient(&self, rank: usize, total: u64) -> bool {
        match self.ambient {
            Ambient::Ranks { from, to } => (from..to).contains(&rank),
            Ambient::AtMost { counts } => total <= counts,
        }
    }
}

impl DropletPlan {
    /// One role a droplet.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// How many droplets have a role.
    #[must_use]
    pub fn count(&self, role: Role) -> usize {
        self.roles.iter().filter(|&&found| found == role).count()
    }

    /// Ready to be given the droplets' rows.
    #[must_use]
    pub fn rows(self, n_genes: usize) -> DropletRows {
        DropletRows {
            options: self.options,
            next: 0,
            ambient: vec![0; n_genes],
            n_ambient: self.count(Role::Ambient) as u64,
            detected: vec![false; n_genes],
            droplets: Vec::new(),
            candidates: CountMatrix::new(n_genes),
            roles: self.roles,
        }
    }
}

/// Takes the row of every droplet in order: the second pass. Holds the rows of
/// candidates, and 9 bytes a gene.
#[derive(Debug, Clone)]
pub struct DropletRows {
    options: EmptyDrops,
    roles: Vec<Role>,
    next: usize,
    ambient: Vec<u64>,
    n_ambient: u64,
    detected: Vec<bool>,
    droplets: Vec<usize>,
    candidates: CountMatrix,
}

/// What the test says of one candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropletCall {
    /// 0-based droplet.
    pub droplet: usize,
    /// Its counts.
    pub total: u64,
    /// Log of its multinomial probability under the ambient profile.
    pub log_probability: f64,
    /// Share of random droplets that are no more probable, itself included.
    pub p_value: f64,
    /// The p-value after Benjamini and Hochberg, over all candidates.
    pub adjusted: f64,
    /// Whether it is called a cell.
    pub is_cell: bool,
}

impl DropletRows {
    /// Takes the next droplet's genes and counts.
    ///
    /// # Errors
    /// [`Error::Droplet`] for more droplets than there were totals or a gene
    /// out of range, [`Error::Counts`] for a sum above `u32::MAX`.
    pub fn push(&mut self, (genes, counts): (&[u32], &[u32])) -> Result<()> {
        let (droplet, n_genes) = (self.next, self.ambient.len());
        let wrong = |what, found, expected| Error::Droplet { droplet, what, found, expected };
        let Some(&role) = self.roles.get(droplet) else {
            return Err(wrong("droplets", droplet as u64 + 1, self.roles.len() as u64));
        };
        if genes.len() != counts.len() {
            return Err(wrong("counts", counts.len() as u64, genes.len() as u64));
        }
        if let Some(&gene) = genes.iter().find(|&&gene| gene as usize >= n_genes) {
            return Err(wrong(
                "a gene index below the number of genes",
                gene.into(),
                n_genes as u64,
            ));
        }
        self.next += 1;
        let entries = genes.iter().copied().zip(counts.iter().copied());
        for (gene, count) in entries.clone() {
            self.detected[gene as usize] |= count > 0;
            self.ambient[gene as usize] += u64::from(count) * u64::from(role == Role::Ambient);
        }
        if role == Role::Candidate {
            self.droplets.push(droplet);
            self.candidates.push_row(entries.collect())?;
        }
        Ok(())
    }

    /// Tests the candidates; one call each, in the order of the droplets. The
    /// same seed gives the same calls on any number of threads.
    ///
    /// # Errors
    /// [`Error::Droplet`] if droplets are missing, [`Error::Ambient`] if the
    /// ambient droplets hold too little, [`Error::Setting`] if the simulations
    /// would draw more than 2^32 counts.
    pub fn finish(self) -> Result<Vec<DropletCall>> {
        if self.next < self.roles.len() {
            let (found, expected) = (self.next as u64, self.roles.len() as u64);
            return Err(Error::Droplet { droplet: self.next, what: "droplets", found, expected });
        }
        if self.droplets.is_empty() {
            return Ok(Vec::new());
        }
        let profile = self.profile()?;
        let observed: Vec<Observed> =
            self.candidates.rows().map(|row| profile.observe(row)).collect();
        let max_total = observed.iter().map(|seen| seen.total).max().unwrap_or(0);
        if max_total.saturating_mul(u64::from(self.options.simulations)) > MAX_DRAWS {
            return Err(Error::Setting {
                name: "simulations",
                found: format!("{} for {max_total} counts", self.options.simulations),
                expected: format!("a product of at most {MAX_DRAWS}"),
            });
        }
        let p_values = p_values(&profile, &observed, &self.options);
        let adjusted = benjamini_hochberg(&p_values);
        let calls = self.droplets.iter().zip(&observed).zip(p_values.iter().zip(adjusted));
        Ok(calls
            .map(|((&droplet, seen), (&p_value, adjusted))| DropletCall {
                droplet,
                total: seen.total,
                log_probability: seen.log_probability,
                p_value,
                adjusted,
                is_cell: adjusted <= self.options.fdr,
            })
            .collect())
    }

    /// The smoothed ambient profile over the genes that any droplet has.
    fn profile(&self) -> Result<Profile> {
        let sums = || self.ambient.iter().zip(&self.detected).filter(|&(_, &seen)| seen);
        let mut genes_by_sum = BTreeMap::new();
        for (&sum, _) in sums() {
            *genes_by_sum.entry(sum).or_insert(0u64) += 1;
        }
        let n_unseen = genes_by_sum.remove(&0).unwrap_or(0);
        let counts: u64 = self.ambient.iter().sum();
        let Some(smoothed) = good_turing::good_turing(&genes_by_sum) else {
            return Err(Error::Ambient {
                droplets: self.n_ambient,
                counts,
                found: genes_by_sum.len(),
                expected: good_turing::MIN_FREQUENCIES,
            });
        };
        // Without a gene seen once the estimate for the unseen is zero, which
        // would make any candidate with such a gene impossible.
        let unseen = smoothed.unseen.max(1.0 / counts as f64) / n_unseen.max(1) as f64;
        let share = |sum: &u64| smoothed.seen.get(sum).copied().unwrap_or(unseen);
        let shares = self.ambient.iter().zip(&self.detected);
        Ok(Profile::new(shares.map(|(sum, &seen)| if seen { share(sum) } else { 0.0 }).collect()))
    }
}

/// Probabilities of the genes in the ambient RNA.
struct Profile {
    log: Vec<f64>,
    /// Sums of the probabilities up to and including each gene.
    cumulative: Vec<f64>,
    last: usize,
}

/// A candidate's total and log-probability.
struct Observed {
    total: u64,
    log_probability: f64,
}

impl Profile {
    fn new(shares: Vec<f64>) -> Self {
        let sum: f64 = shares.iter().sum();
        let log = shares.iter().map(|share| (share / sum).ln()).collect();
        let mut up_to = 0.0;
        let cumulative = shares.iter().map(|share| {
            up_to += share / sum;
            up_to
        });
        let cumulative = cumulative.collect();
        let last = shares.iter().rposition(|&share| share > 0.0).unwrap_or(0);
        Self { log, cumulative, last }
    }

    /// A random gene.
    fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
        let at = (rng.next_u64() >> 11) as f64 * UNIT;
        // The sums may end a rounding error below one.
        self.cumulative.partition_point(|&up_to| up_to <= at).min(self.last)
    }

    /// ln(n! Π pᶜ / c!) for a droplet of n counts.
    fn observe(&self, (genes, counts): (&[u32], &[u32])) -> Observed {
        let total: u64 = counts.iter().copied().map(u64::from).sum();
        let term = |(&gene, &count): (&u32, &u32)| {
            f64::from(count) * self.log[gene as usize] - ln_factorial(count.into())
        };
        let of_genes: f64 = genes.iter().zip(counts).map(term).sum();
        Observed { total, log_probability: ln_factorial(total) + of_genes }
    }
}

/// ln(n!): the sum itself, or Stirling's series where it is exact to 1e-16.
fn ln_factorial(n: u64) -> f64 {
    const SUMMED: u64 = 256;
    if n < SUMMED {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let n = n as f64;
    let tail = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    (n + 0.5) * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI).ln() + tail
}

/// (1 + random droplets no more probable) / (1 + random droplets), a candidate.
fn p_values(profile: &Profile, observed: &[Observed], options: &EmptyDrops) -> Vec<f64> {
    let mut order: Vec<usize> = (0..observed.len()).collect();
    order.sort_by_key(|&candidate| observed[candidate].total);
    let zero = || vec![0u32; observed.len()];
    let no_more_probable = (0..options.simulations)
        .into_par_iter()
        .fold(zero, |mut counts, simulation| {
            simulate(profile, observed, &order, (options.seed, simulation), &mut counts);
            counts
        })
        // Whole numbers: the sum does not depend on who added what.
        .reduce(zero, |a, b| a.iter().zip(b).map(|(a, b)| a + b).collect());
    let all = 1.0 + f64::from(options.simulations);
    no_more_probable.into_iter().map(|n| (1.0 + f64::from(n)) / all).collect()
}

/// Grows one random droplet count by count, and compares it with each
/// candidate when it has that candidate's total.
fn simulate(
    profile: &Profile,
    observed: &[Observed],
    by_total: &[usize],
    (seed, simulation): (u64, u32),
    no_more_probable: &mut [u32],
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(simulation.into());
    let mut counts = vec![0u32; profile.log.len()];
    let (mut total, mut log_probability) = (0u64, 0.0);
    for &candidate in by_total {
        let seen = &observed[candidate];
        while total < seen.total {
            let gene = profile.draw(&mut rng);
            counts[gene] += 1;
            total += 1;
            log_probability += profile.log[gene] + (total as f64 / f64::from(counts[gene])).ln();
        }
        let same = SAME * seen.log_probability.abs();
        no_more_probable[candidate] += u32::from(log_probability <= seen.log_probability + same);
    }
}

/// Adjusted p-values, in the order given.
fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut smallest = 1.0f64;
    for (rank, &at) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[at] * p_values.len() as f64 / (rank + 1) as f64);
        adjusted[at] = smallest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Farthest that sum and series may lie apart, relative.
    const ROUNDING: f64 = 1e-13;

    #[test]
    fn the_series_continues_the_sum() {
        for n in [256u64, 257, 1000, 5000] {
            let sum: f64 = (2..=n).map(|k| (k as f64).ln()).sum();
            assert!((ln_factorial(n) / sum - 1.0).abs() < ROUNDING, "{n}");
        }
    }

    #[test]
    fn adjusted_as_by_hand() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.5), "BH").
        let expected = [0.04, 0.16 / 3.0, 0.16 / 3.0, 0.5];
        for (found, expected) in benjamini_hochberg(&[0.01, 0.04, 0.03, 0.5]).iter().zip(expected) {
            assert!((found - expected).abs() < ROUNDING, "{found} {expected}");
        }
    }
}
