//! Exact medians: a sketch tells in which bins a median lies, further passes
//! collect only the values of those bins, as many genes at a time as memory
//! allows.

use std::ops::{ControlFlow, Range};

use super::{
    Medians,
    sketch::{MedianSketch, Window, bin, for_each_value},
};
use crate::{
    corpus::{Corpus, Selection},
    error::Result,
    gene::GeneId,
    ingest::Progress,
};

/// Values collected at a time (8 bytes each).
const COLLECTED: u64 = 1 << 24;

/// The exact non-zero median of every gene detected in the selected cells of a
/// corpus: a [`MedianSketch`], refined.
///
/// `progress` counts cells over two passes; on a large corpus there are more.
///
/// # Errors
/// What is wrong with a shard, or [`Error::Cancelled`](crate::Error::Cancelled).
pub fn nonzero_medians(
    corpus: &Corpus,
    selection: Selection,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Medians> {
    let sketch = MedianSketch::of(corpus, selection, progress)?;
    refine_medians(&sketch, corpus, selection, progress)
}

/// The exact medians of the cells that a sketch was made of.
///
/// # Errors
/// As [`nonzero_medians`].
pub fn refine_medians(
    sketch: &MedianSketch,
    corpus: &Corpus,
    selection: Selection,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Medians> {
    let window = |gene: &crate::Gene| sketch.window(gene.id);
    let windows: Vec<Option<Window>> = corpus.genes().iter().map(window).collect();
    let mut medians = Vec::new();
    for group in groups(&windows) {
        medians.extend(collect(corpus, selection, &windows, group, progress)?);
    }
    Medians::new(medians)
}

/// Runs of genes whose windows together hold at most [`COLLECTED`] values.
fn groups(windows: &[Option<Window>]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (gene, window) in windows.iter().enumerate() {
        let n_inside = window.as_ref().map_or(0, |window| window.n_inside);
        if held + n_inside > COLLECTED && gene > start {
            groups.push(start..gene);
            (start, held) = (gene, 0);
        }
        held += n_inside;
    }
    groups.push(start..windows.len());
    groups
}

/// Collects the values around the medians of some genes and picks the middle.
fn collect(
    corpus: &Corpus,
    selection: Selection,
    windows: &[Option<Window>],
    group: Range<usize>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<(GeneId, f64)>> {
    let capacity = |window: &Option<Window>| window.as_ref().map_or(0, |w| w.n_inside as usize);
    let mut inside: Vec<Vec<f64>> =
        windows[group.clone()].iter().map(|w| Vec::with_capacity(capacity(w))).collect();
    for_each_value(corpus, selection, progress, |gene, value| {
        let window = if group.contains(&gene) { windows[gene].as_ref() } else { None };
        if window.is_some_and(|window| window.bins.contains(&bin(value))) {
            inside[gene - group.start].push(value);
        }
        Ok(())
    })?;
    let genes = corpus.genes()[group.clone()].iter();
    let found = genes.zip(&windows[group]).zip(inside);
    Ok(found
        .filter_map(|((gene, window), values)| Some((gene.id, middle(window.as_ref()?, values)?)))
        .collect())
}

/// The median, given the values of its window.
fn middle(window: &Window, mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |rank: u64| values.get((rank - window.n_below) as usize).copied();
    let (low, high) = (at((window.n_values - 1) / 2)?, at(window.n_values / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::sketch::Histogram, *};

    /// serde_json reads a number to within one unit in the last place.
    const JSON_ROUNDING: f64 = f64::EPSILON;

    fn median(values: &[f64]) -> Option<f64> {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value).unwrap());
        let window = histogram.window()?;
        let inside = values.iter().copied().filter(|value| window.bins.contains(&bin(*value)));
        middle(&window, inside.collect())
    }

    #[test]
    fn golden_medians_are_exact() {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
        let root = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
        let path = format!("{root}/golden/stats/medians.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {path} is absent");
            return;
        };
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut n_checked = 0;
        for case in golden["cases"].as_array().unwrap() {
            // One case keeps its values in a file of its own.
            let Some(values) = case["x"].as_array() else { continue };
            let values: Vec<f64> = values.iter().map(|value| value.as_f64().unwrap()).collect();
            let (found, expected) =
                (median(&values).unwrap(), case["numpy_median"].as_f64().unwrap());
            let difference = (found - expected).abs();
            let name = &case["name"];
            assert!(difference <= JSON_ROUNDING * expected, "{name}: {found}, expected {expected}");
            n_checked += 1;
        }
        assert!(n_checked >= 5, "{n_checked} cases");
    }

    #[test]
    fn middles_may_lie_in_distant_bins() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[1e-3, 1e6]), Some(500_000.000_5));
        assert_eq!(median(&[1e6, 1e-3, 1e-3, 1e6, 2e6]), Some(1e6));
        assert_eq!(median(&[3.0, 1.0, 1.0, 1.0, 3.0, 3.0]), Some(2.0));
    }

    #[test]
    fn groups_hold_every_gene_once() {
        let window =
            |n_inside| Some(Window { bins: 0..1, n_inside, n_below: 0, n_values: n_inside });
        let check = |windows: &[Option<Window>], ends: &[usize]| {
            let groups = groups(windows);
            assert_eq!(groups.iter().map(|group| group.end).collect::<Vec<_>>(), ends);
            assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        };
        check(&[None, window(5), None], &[3]);
        check(&[window(COLLECTED), None, window(1), window(COLLECTED)], &[2, 3, 4]);
        check(&[window(2 * COLLECTED), window(1)], &[1, 2]);
    }
}
