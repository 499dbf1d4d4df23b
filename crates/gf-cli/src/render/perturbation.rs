//! Tables of perturbations.

use comfy_table::Table;
use gf_perturb::{
    GeneEffect,
    stats::{GroupEffect, GroupPair},
};
use gf_tokenize::TokenId;

use super::{table, thousands};
use crate::commands::perturb::Estimate;

/// Bytes of a megabyte.
const MB: u64 = 1_000_000;

/// The first genes of a ranking.
pub fn ranking<'a>(
    effects: impl Iterator<Item = &'a GeneEffect>,
    name: impl Fn(TokenId) -> String,
) -> Table {
    let mut table = table(&["gene", "mean shift (1 − cosine)", "sd", "cells"]);
    for effect in effects {
        table.add_row([
            effect.genes.iter().map(|&gene| name(gene)).collect::<Vec<_>>().join(" + "),
            format!("{:.3e}", effect.mean_shift),
            format!("{:.1e}", effect.stdev_shift),
            effect.n_detections.to_string(),
        ]);
    }
    table
}

/// Groups of genes under a perturbation.
pub fn group_effects(effects: &[GroupEffect]) -> Table {
    let mut table = table(&["group", "genes", "in no cell", "mean shift (1 − cosine)", "sd"]);
    for effect in effects {
        table.add_row([
            effect.name.clone(),
            effect.shifts.len().to_string(),
            effect.n_undetected.to_string(),
            format!("{:.3e}", effect.mean),
            format!("{:.1e}", effect.stdev),
        ]);
    }
    table
}

/// Tests between groups of genes.
pub fn group_pairs(effects: &[GroupEffect], pairs: &[GroupPair]) -> Table {
    let mut table = table(&["rank-sum test", "z", "p", "FDR"]);
    for pair in pairs {
        let (a, b) = pair.groups;
        table.add_row([
            format!("{} against {}", effects[a].name, effects[b].name),
            format!("{:.3}", pair.z),
            format!("{:.2e}", pair.p_value),
            format!("{:.2e}", pair.fdr),
        ]);
    }
    table
}

/// What a perturbation run will take.
pub fn estimate(estimate: &Estimate) -> Table {
    let mut table = table(&["plan", ""]);
    let mut add = |what: &str, text: String| {
        table.add_row([what.to_owned(), text]);
    };
    add("cells", thousands(estimate.cells as u64));
    add("edited cells", thousands(estimate.variants));
    add("forward passes, one more for each original", thousands(estimate.forward_passes));
    add("floating-point operations", format!("{:.3e}", estimate.operations));
    add("operations per second, as timed", format!("{:.3e}", estimate.operations_per_second));
    add("time of one device", duration(estimate.device_hours));
    if estimate.devices.get() > 1 {
        add(&format!("time of {} devices", estimate.devices), duration(estimate.hours));
    }
    if let Some(cost) = estimate.cost {
        add("cost", format!("{cost:.2}"));
    }
    add("memory of the weights", format!("{} MB", thousands(estimate.weight_bytes.div_ceil(MB))));
    let activations = thousands(estimate.activation_bytes.div_ceil(MB));
    add("memory of the activations, about", format!("{activations} MB"));
    table
}

/// Hours as seconds, minutes, hours or days, whichever reads best.
fn duration(hours: f64) -> String {
    let units = [(1.0 / 60.0, 3_600.0, "s"), (1.0, 60.0, "min"), (48.0, 1.0, "h")];
    let unit = units.into_iter().find(|(limit, _, _)| hours < *limit);
    let (_, per_hour, name) = unit.unwrap_or((f64::INFINITY, 1.0 / 24.0, "days"));
    format!("{:.1} {name}", hours * per_hour)
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_well() {
        for (hours, text) in [
            (0.01, "36.0 s"),
            (0.5, "30.0 min"),
            (1.0, "1.0 h"),
            (47.9, "47.9 h"),
            (48.0, "2.0 days"),
        ] {
            assert_eq!(super::duration(hours), text);
        }
    }
}
