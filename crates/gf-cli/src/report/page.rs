//! From facts to one HTML page. Everything the template receives as text is
//! escaped by it; only the pictures drawn here pass as they are.

use gf_corpus::SourceTally;
use minijinja::{Environment, context, value::Value};

use super::facts::{CellMap, Count, Facts, LogPoint, Quality, RankedGene, Tokens, Training};
use super::figures;
use super::markers::{self, NO_MARKER};
use super::perturbation::page::{self as perturbation, edit_words};
use super::words::{decimals, grouped, percent, significant, small_power, times_power};

/// Rows of the ranking that are shown before one is searched for.
const SHOWN_ROWS: usize = 500;
/// Shifts up to about here can be rounding: an embedding's 32-bit numbers carry
/// errors near 1e-6 of its length, and 1 − cosine is half the square of that.
const ROUNDING: f64 = 1e-12;
/// The label of the cells beyond the last colour.
pub const OTHER: &str = "Other";

/// The page as HTML.
pub fn render(facts: &Facts) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("report.html", include_str!("../../templates/report.html"))?;
    environment.add_filter("grouped", grouped);
    let edit = edit_words(facts.perturbation.as_ref());
    let title = || format!("Genome-wide in-silico {}", edit.noun);
    environment.get_template("report.html")?.render(context! {
        title => facts.title.clone().unwrap_or_else(title),
        edit => context! { noun => edit.noun, participle => edit.participle },
        tiles => tiles(facts),
        quality => facts.quality.as_ref().map(|q| quality(q, facts)),
        tokens => facts.tokens.as_ref().filter(|t| !t.genes_per_cell.is_empty()).map(tokens),
        training => facts.training.as_ref().filter(|t| !t.log.is_empty()).map(|t| training(t, facts)),
        map => facts.map.as_ref().filter(|m| !m.points.is_empty()).map(map),
        genes => facts.genes.as_ref().filter(|g| !g.is_empty()).map(|g| genes(g)),
        perturbation => facts.perturbation.as_ref().map(|run| perturbation::render(run, facts.genes.as_deref())),
        commands => &facts.commands,
        versions => &facts.versions,
    })
}

/// The numbers at the head of the page.
fn tiles(facts: &Facts) -> Vec<Value> {
    let tile = |value: String, label: &str| context! { value, label };
    let mut tiles = Vec::new();
    if let Some(quality) = &facts.quality {
        tiles.push(tile(grouped(quality.cells_kept), "cells kept"));
        tiles.push(tile(grouped(quality.genes), "genes in the corpus"));
    }
    if let Some(median) = facts.tokens.as_ref().and_then(|t| median(&t.genes_per_cell)) {
        tiles.push(tile(grouped(median), "genes per cell, median"));
    }
    if let Some(last) = facts.training.as_ref().and_then(|t| t.log.last()) {
        tiles.push(tile(grouped(last.step as u64), "training steps"));
    }
    if let Some(genes) = &facts.genes {
        tiles.push(tile(grouped(genes.len() as u64), "genes perturbed in silico"));
    }
    tiles
}

fn quality(quality: &Quality, facts: &Facts) -> Value {
    let stages = stages(quality, facts);
    let whole = quality.cells_read.max(1);
    let funnel: Vec<Value> = stages
        .iter()
        .map(|stage| {
            let width = format!("{:.1}", 100.0 * stage.count as f64 / whole as f64);
            context! { label => &stage.label, count => stage.count, share => percent(stage.count, whole), width }
        })
        .collect();
    context! {
        sources => &quality.sources,
        funnel,
        dropped => shares(&quality.cells_dropped, quality.cells_read),
        gene_rows => shares(&quality.gene_rows, quality.gene_rows.iter().map(|c| c.count).sum()),
        databases => databases(&quality.databases),
        genes => quality.genes,
        counts_read => quality.counts_read,
        counts_kept => quality.counts_kept,
        counts_share => percent(quality.counts_kept, quality.counts_read),
    }
}

/// Nothing when there is one database and no copy: then there is nothing to see.
fn databases(tallies: &[SourceTally]) -> Option<Value> {
    let is_plain = tallies.len() < 2 && tallies.iter().all(|t| t.cells == t.unique_cells);
    let row = |tally: &SourceTally| {
        context! {
            database => &tally.source_database, studies => tally.studies,
            superseded => tally.superseded_studies, cells => tally.cells,
            unique => tally.unique_cells, share => percent(tally.unique_cells, tally.cells),
        }
    };
    let rows: Vec<Value> = tallies.iter().map(row).collect();
    (!is_plain).then(|| context! { figure => picture(figures::source_databases(tallies)), rows })
}

fn stages(quality: &Quality, facts: &Facts) -> Vec<Count> {
    let tokenised =
        facts.tokens.as_ref().map(|t| Count::new("Tokenised", t.genes_per_cell.len() as u64));
    let embedded = facts.map.as_ref().map(|m| Count::new("Embedded", m.points.len() as u64));
    [
        Count::new("Read from the files", quality.cells_read),
        Count::new("Kept in the corpus", quality.cells_kept),
    ]
    .into_iter()
    .chain(tokenised)
    .chain(embedded)
    .collect()
}

fn shares(counts: &[Count], whole: u64) -> Vec<Value> {
    counts
        .iter()
        .map(|c| context! { label => &c.label, count => c.count, share => percent(c.count, whole) })
        .collect()
}

fn tokens(tokens: &Tokens) -> Value {
    context! {
        figure => picture(figures::genes_per_cell(tokens)),
        cells => tokens.genes_per_cell.len(),
        least => tokens.genes_per_cell.iter().min(),
        median => median(&tokens.genes_per_cell),
        most => tokens.genes_per_cell.iter().max(),
    }
}

fn training(training: &Training, facts: &Facts) -> Value {
    let vocabulary = facts.tokens.as_ref().and_then(|t| t.vocabulary);
    let loss = |points: Option<&LogPoint>| points.map(|p| significant(p.loss));
    context! {
        figure => picture(figures::loss_curve(training, vocabulary)),
        first => loss(training.log.first()),
        last => loss(training.log.last()),
        epochs => training.log.last().map(|p| significant(p.epoch)),
        held_out => loss(training.held_out.last()),
        guess => vocabulary.filter(|v| *v > 1).map(|v| significant((v as f64).ln())),
        vocabulary,
    }
}

fn map(map: &CellMap) -> Value {
    let plain: Vec<bool> =
        map.groups.iter().map(|g| g.label == NO_MARKER || g.label == OTHER).collect();
    let symbols = markers::legend();
    let legend: Vec<Value> = map
        .groups
        .iter()
        .enumerate()
        .map(|(i, group)| {
            let symbols = symbols.iter().find(|(name, _)| map.column.is_none() && *name == group.label);
            context! {
                label => &group.label, count => group.count, colour => figures::group_colour(i, plain[i]),
                symbols => symbols.map(|(_, symbols)| symbols),
            }
        })
        .collect();
    context! {
        figure => picture(figures::cell_map(map, &plain)),
        legend,
        cells => map.points.len(),
        dimensions => map.dimensions,
        column => &map.column,
        explained => format!("{:.0} %", 100.0 * (map.explained[0] + map.explained[1])),
    }
}

fn genes(genes: &[RankedGene]) -> Value {
    let top = figures::leading(genes);
    let largest = genes.iter().map(|gene| gene.shift).fold(0.0, f64::max);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let decimals = decimals(largest * scale);
    let rows: Vec<Value> = genes
        .iter()
        .map(|gene| {
            context! {
                rank => gene.rank, name => &gene.name, id => &gene.ensembl_id, detections => gene.detections,
                shift => format!("{:.decimals$}", gene.shift * scale), spread => spread(gene, scale, decimals),
                // What the sort by column reads: all digits.
                shift_exact => gene.shift, spread_exact => gene.spread,
            }
        })
        .collect();
    context! {
        figure => (!top.is_empty()).then(|| picture(figures::top_genes(&top))),
        top => top.len(),
        fewest => figures::MIN_DETECTIONS,
        total => genes.len(),
        times => times_power(power),
        noise => largest < ROUNDING,
        shown => rows.len().min(SHOWN_ROWS),
        rows,
    }
}

/// One cell has no spread.
fn spread(gene: &RankedGene, scale: f64, decimals: usize) -> String {
    match gene.detections {
        0..2 => "–".to_string(),
        _ => format!("{:.decimals$}", gene.spread * scale),
    }
}

fn picture(svg: String) -> Value {
    Value::from_safe_string(svg)
}

fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}
