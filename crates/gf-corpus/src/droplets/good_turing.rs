//! Simple Good–Turing: how likely is what was seen seldom, or never?
//!
//! Gale and Sampson, "Good–Turing frequency estimation without tears",
//! Journal of Quantitative Linguistics 2 (1995), with the correction of 2000:
//! raw Turing estimates while they differ from a log-linear fit of the
//! frequencies of frequencies, the fit from then on.

use std::collections::BTreeMap;

/// Fewest distinct frequencies that a line can be fitted to (Sampson's program).
pub(super) const MIN_FREQUENCIES: usize = 5;
/// Standard errors by which Turing's estimate has to differ from the fit.
const CONFIDENCE: f64 = 1.96;

/// Probabilities by frequency.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GoodTuring {
    /// Probability of all unseen things together.
    pub(super) unseen: f64,
    /// Probability of one thing that was seen so often.
    pub(super) seen: BTreeMap<u64, f64>,
}

/// Estimates from "so many things were seen so often": frequencies above zero
/// and how many things have each. `None` below [`MIN_FREQUENCIES`] of them.
pub(super) fn good_turing(things: &BTreeMap<u64, u64>) -> Option<GoodTuring> {
    if things.len() < MIN_FREQUENCIES {
        return None;
    }
    let n_all: f64 = things.iter().map(|(&r, &n)| r as f64 * n as f64).sum();
    let unseen = things.get(&1).map_or(0.0, |&n| n as f64 / n_all);
    let slope = slope(&averaged(things));
    let mut fitted_from_here = false;
    let mut adjusted = BTreeMap::new();
    for (&r, &n) in things {
        let up = (r + 1) as f64;
        let fit = up * (up / r as f64).powf(slope);
        let turing =
            turing(r, n, things).filter(|&(x, error)| (x - fit).abs() > CONFIDENCE * error);
        fitted_from_here |= turing.is_none();
        let chosen = turing.filter(|_| !fitted_from_here).map_or(fit, |(x, _)| x);
        adjusted.insert(r, chosen);
    }
    let sum: f64 = things.iter().map(|(r, &n)| n as f64 * adjusted[r]).sum();
    let seen = adjusted.into_iter().map(|(r, x)| (r, (1.0 - unseen) * x / sum)).collect();
    Some(GoodTuring { unseen, seen })
}

/// Turing's estimate of a frequency and its standard error, where `r + 1` occurs.
fn turing(r: u64, n: u64, things: &BTreeMap<u64, u64>) -> Option<(f64, f64)> {
    let next = *things.get(&(r + 1))? as f64;
    let (n, up) = (n as f64, (r + 1) as f64);
    Some((up * next / n, (up * up * next / (n * n) * (1.0 + next / n)).sqrt()))
}

/// Logs of each frequency and of how many things have it, averaged over the
/// gaps around it.
fn averaged(things: &BTreeMap<u64, u64>) -> Vec<(f64, f64)> {
    let mut before = 0.0;
    let mut points = Vec::with_capacity(things.len());
    let mut entries = things.iter().peekable();
    while let Some((&r, &n)) = entries.next() {
        let r = r as f64;
        let after = entries.peek().map_or(2.0 * r - before, |&(&next, _)| next as f64);
        points.push((r.ln(), (2.0 * n as f64 / (after - before)).ln()));
        before = r;
    }
    points
}

/// Slope of the least-squares line.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let xy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let xx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gale and Sampson's prosody example: (times seen, things seen so often).
    const PROSODY: &str = "1 120,2 40,3 24,4 13,5 15,6 5,7 11,8 2,9 2,10 1,12 3,14 2,15 1,16 1,17 3,\
        19 1,20 3,21 2,23 3,24 3,25 3,26 2,27 2,28 1,31 2,32 2,33 1,34 2,36 2,41 3,43 1,45 3,46 1,\
        47 1,50 1,71 1,84 1,101 1,105 1,121 1,124 1,146 1,162 1,193 1,199 1,224 1,226 1,254 1,257 1,\
        339 1,421 1,456 1,481 1,483 1,1140 1,1256 1,1322 1,1530 1,2131 1,2395 1,6925 1,7846 1";

    /// Numbers printed with fifteen digits, computed in another order.
    const PRINTED: f64 = 1e-12;

    fn prosody() -> BTreeMap<u64, u64> {
        let pair = |text: &str| {
            let (r, n) = text.trim().split_once(' ')?;
            Some((r.parse().ok()?, n.parse().ok()?))
        };
        PROSODY.split(',').filter_map(pair).collect()
    }

    /// Against goodTuring of edgeR (Bioconductor 3.16); the paper prints
    /// P0 = 0.003883 and r* = 0.7628 for r = 1.
    #[test]
    fn the_prosody_example() {
        let things = prosody();
        let found = good_turing(&things).expect("enough frequencies");
        assert!((found.unseen - 120.0 / 30_902.0).abs() < PRINTED);
        let check = |r: u64, expected: f64| {
            let found = found.seen[&r];
            assert!((found / expected - 1.0).abs() < PRINTED, "{r}: {found}, {expected}");
        };
        check(1, 2.468_474_125_117_17e-5);
        check(2, 5.522_127_464_729_30e-5);
        check(3, 8.671_917_360_082_35e-5);
        check(6, 1.826_945_796_075_69e-4);
        check(41, 1.313_259_709_941_09e-3);
        check(2395, 7.742_418_702_601_45e-2);
        check(7846, 2.536_696_328_884_57e-1);
        let all: f64 = things.iter().map(|(r, &n)| n as f64 * found.seen[r]).sum();
        assert!((all + found.unseen - 1.0).abs() < PRINTED);
    }

    #[test]
    fn too_few_frequencies() {
        assert_eq!(good_turing(&[(1, 9), (2, 3), (3, 1), (4, 1)].into()), None);
        assert_eq!(good_turing(&BTreeMap::new()), None);
    }
}
