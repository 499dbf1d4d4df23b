//! Words and pictures of a perturbation run, for the template.

use minijinja::{context, value::Value};

use super::{Perturbation, Settings, StateGenes, Tested, figures};
use crate::report::{
    facts::RankedGene,
    words::{decimals, small_power, times_power},
};

/// What an edit is called: as a thing, and as done to genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditWords {
    pub noun: &'static str,
    pub participle: &'static str,
}

/// Words for an edit; those of a deletion where none is known.
pub fn edit_words(perturbation: Option<&Perturbation>) -> EditWords {
    let edit = perturbation.map_or("Delete", |run| run.settings.edit.as_str());
    let (noun, participle) = match edit.split('(').next() {
        Some("Overexpress") => ("overexpression", "overexpressed"),
        Some("Inhibit") => ("inhibition", "inhibited"),
        Some("Activate") => ("activation", "activated"),
        _ => ("deletion", "deleted"),
    };
    EditWords { noun, participle }
}

/// Everything the template shows of a run.
pub fn render(run: &Perturbation, genes: Option<&[RankedGene]>) -> Value {
    let picture = Value::from_safe_string;
    let untested = genes.filter(|genes| run.tests.is_empty() && genes.len() > 1);
    context! {
        tests => run.tests.iter().map(tested).collect::<Vec<_>>(),
        detections => untested.map(|genes| picture(figures::detections(genes))),
        states => run.states.iter().map(state).collect::<Vec<_>>(),
        spread => (run.cells.len() > 1).then(|| picture(figures::spread(&run.cells))),
        cells => run.cells.len(),
        effects => run.n_effects,
        settings => settings(&run.settings),
    }
}

fn tested(tested: &Tested) -> Value {
    let significant = tested.genes.iter().filter(|gene| gene.fdr < figures::SIGNIFICANT).count();
    context! {
        figure => Value::from_safe_string(figures::volcano(tested)),
        file => &tested.file, shift => &tested.shift, genes => tested.genes.len(),
        significant, untested => tested.n_untested,
    }
}

fn state(state: &StateGenes) -> Value {
    let largest = state.genes.iter().map(|gene| gene.shift.abs()).fold(0.0, f64::max);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let decimals = decimals(largest * scale);
    let gene = |gene: &super::StateGene| {
        let shift = format!("{:.decimals$}", gene.shift * scale).replace('-', "−");
        context! { name => &gene.name, shift, detections => gene.n_detections }
    };
    let genes: Vec<Value> = state.genes.iter().map(gene).collect();
    context! { name => &state.state, times => times_power(power), genes }
}

fn settings(settings: &Settings) -> Value {
    context! {
        gf => &settings.gf, model => &settings.model, vocabulary => &settings.vocabulary,
        cells => &settings.cells, reads_genes => settings.reads_genes,
        edit => edit(&settings.edit), targets => targets(&settings.targets),
        layer => if settings.layer == "Last" { "last" } else { "second-to-last" },
        readout => if settings.readout == "Cls" { "its CLS token" } else { "the mean of its genes" },
        precision => precision(&settings.precision),
    }
}

fn edit(edit: &str) -> String {
    let quartiles = edit.chars().find(char::is_ascii_digit).unwrap_or('1');
    match edit.split('(').next() {
        Some("Overexpress") => "put first in the encoding of the cell".to_owned(),
        Some("Inhibit") => format!("shifted down by {quartiles} quarters of the encoding"),
        Some("Activate") => format!("shifted up by {quartiles} quarters of the encoding"),
        _ => "taken out of the encoding of the cell".to_owned(),
    }
}

fn targets(targets: &str) -> String {
    let n = targets.matches("TokenId(").count();
    match targets.split('(').next() {
        Some("Each") => format!("Each of {n} listed genes"),
        Some("Together") => format!("A list of {n} genes, together,"),
        Some("WithAnchor") => "Every gene of a cell together with an anchor".to_owned(),
        _ => "Every gene of a cell, one at a time,".to_owned(),
    }
}

fn precision(precision: &str) -> &'static str {
    match precision {
        "F16" => "16-bit floating point (f16)",
        "Bf16" => "16-bit floating point (bf16)",
        "Int8" => "8-bit integer projections",
        "LlmInt8" => "8-bit integer projections with outlier columns in floating point (LLM.int8)",
        "Nf4" => "4-bit NormalFloat projections",
        _ => "32-bit floating point",
    }
}
