//! Results as tables for a terminal.

mod perturbation;

use std::path::PathBuf;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use gf_corpus::{DropletTest, FileLedger, GeneId, Ledger, Route, SourceTally, Tally, Verdict};
use gf_quant::footprint::Footprint;
use gf_tokenize::TokenizeReport;
use gf_train::PretrainSummary;

pub use self::perturbation::{estimate, group_effects, group_pairs, ranking};

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Rules above, below and under the header only.
const STYLE: TableStyle =
    TableStyle::new().top_border(RULE).header_separator(RULE).bottom_border(RULE);
const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Bytes of each part of a model in each number format.
pub fn footprints(footprints: &[Footprint]) -> Table {
    let header = ["projections in", "projections", "embeddings", "biases, norms", "head", "total"];
    let mut table = table(&header);
    for part in footprints {
        let bytes =
            [part.projections, part.embeddings, part.biases_and_norms, part.head, part.total()];
        let cells = bytes.map(|bytes| thousands(bytes as u64));
        table.add_row([part.format.name().to_owned()].into_iter().chain(cells));
    }
    table
}

/// The account of one ingested file.
pub fn ledger(file: &FileLedger) -> Table {
    let mut table =
        table(&[&format!("{} ({})", file.name, file.layer), "cells", "gene rows", "counts"]);
    let cells = &file.cells;
    let mut add = |what: &str, cells: Option<u64>, rows: Option<u64>, counts: Option<u64>| {
        let cell = |n: Option<u64>| n.map(thousands).unwrap_or_default();
        table.add_row([what.to_owned(), cell(cells), cell(rows), cell(counts)]);
    };
    let rows = file.mapped().rows + file.unmapped().rows;
    add("read", Some(cells.read), Some(rows), Some(file.counts_read()));
    for (route, tally) in &file.routes {
        add(
            &format!("  mapped by {}", route_name(*route)),
            None,
            Some(tally.rows),
            Some(tally.counts),
        );
    }
    for (name, Tally { rows, counts }) in
        [("ambiguous name", file.ambiguous), ("unknown name", file.unknown)]
    {
        if rows > 0 {
            add(&format!("  dropped: {name}"), None, Some(rows), Some(counts));
        }
    }
    if file.summed_rows > 0 {
        add("  added to another row of their gene", None, Some(file.summed_rows), None);
    }
    for (reason, &n) in &cells.dropped {
        add(&format!("  dropped: {}", dropped(*reason, file)), Some(n), None, None);
    }
    if file.counts_in_dropped_cells > 0 {
        add("  in dropped cells", None, None, Some(file.counts_in_dropped_cells));
    }
    if cells.copies > 0 {
        let counts = Some(file.counts_in_copies);
        add("  left out: copies of other cells", Some(cells.copies), None, counts);
    }
    for (kind, features) in &file.other_features {
        add(&format!("  not genes: {kind}"), None, Some(features.rows), Some(features.counts));
    }
    add("kept", Some(cells.kept), Some(file.mapped().rows), Some(file.counts_kept));
    table
}

/// What the droplet test did, and names of what was left out of a file, as far as the ledger
/// quotes them.
pub fn left_out(file: &FileLedger) -> impl Iterator<Item = String> {
    file.droplet_test.map(droplet_test).into_iter().chain(quoted_names(file))
}

fn droplet_test(test: DropletTest) -> String {
    let DropletTest { n_ambient, n_candidates, n_cells } = test;
    match n_ambient {
        0 => format!("{} droplets not tested: none is ambient", thousands(n_candidates)),
        _ => format!(
            "{} droplets tested by their genes, {} are cells; {} droplets are ambient",
            thousands(n_candidates),
            thousands(n_cells),
            thousands(n_ambient)
        ),
    }
}

fn quoted_names(file: &FileLedger) -> impl Iterator<Item = String> {
    let lines = [
        ("unknown names", &file.unknown_names, file.unknown.rows),
        ("ambiguous names", &file.ambiguous_names, file.ambiguous.rows),
        ("metadata columns not read", &file.unread_columns, file.unread_columns.len() as u64),
    ];
    lines.into_iter().filter(|(_, names, _)| !names.is_empty()).map(|(what, names, n)| {
        let more = n.saturating_sub(names.len() as u64);
        let and_more =
            if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
        format!("{what}: {}{and_more}", names.join(", "))
    })
}

/// Why a cell was dropped.
pub fn dropped(reason: Verdict, file: &FileLedger) -> String {
    match (reason, file.droplet_threshold) {
        (Verdict::EmptyDroplet, Some(n)) => {
            let by_genes = if file.droplet_test.is_some() { ", no cell by its genes" } else { "" };
            format!("empty droplet, fewer than {} counts{by_genes}", thousands(n))
        }
        (reason, _) => reason_name(reason).to_owned(),
    }
}

/// A verdict in words.
pub fn reason_name(reason: Verdict) -> &'static str {
    match reason {
        Verdict::Kept => "kept",
        Verdict::Empty => "no counts",
        Verdict::EmptyDroplet => "empty droplet",
        Verdict::FewProteinCoding => "too few protein-coding genes",
        Verdict::FewCounts => "too few counts",
        Verdict::ManyCounts => "too many counts",
        Verdict::FewGenes => "too few detected genes",
        Verdict::ManyGenes => "too many detected genes",
        Verdict::Mitochondrial => "too many mitochondrial counts",
    }
}

/// What the ledger says about studies together: copies, studies not read, files passed by.
pub fn left_out_of_corpus(ledger: &Ledger, skipped: &[PathBuf]) -> Vec<String> {
    let overlaps = ledger.overlaps.iter().map(|overlap| {
        let cells = thousands(overlap.cells);
        match overlap.study == overlap.of {
            true => format!("{}: {cells} cells are copies of others of the study", overlap.study),
            false => {
                format!("{}: {cells} cells are copies of cells of {}", overlap.study, overlap.of)
            }
        }
    });
    let superseded = ledger.superseded.iter().map(|study| {
        let cells = study.n_cells.map_or("unknown".to_owned(), thousands);
        let superseded = &study.superseded;
        format!(
            "{}: not read ({cells} cells), {} offers the same study, {}",
            superseded.study.id, superseded.by, superseded.doi
        )
    });
    let renamed = ledger.files.iter().filter(|file| file.qualified_ids).map(|file| {
        format!(
            "{0}: its cells are called {0}:id, an earlier study has one of their ids",
            file.name
        )
    });
    let skipped = skipped
        .iter()
        .map(|path| format!("{}: passed by, not a count file by its name", path.display()));
    overlaps.chain(superseded).chain(renamed).chain(skipped).collect()
}

/// Total against unique cells of each source database.
pub fn sources(tallies: &[SourceTally]) -> Table {
    let header = ["source database", "studies", "not read again", "cells", "unique cells"];
    let mut table = table(&header);
    for tally in tallies {
        let numbers = [tally.studies, tally.superseded_studies, tally.cells, tally.unique_cells];
        let cells = [tally.source_database.clone()].into_iter().chain(numbers.map(thousands));
        table.add_row(cells);
    }
    table
}

/// How a row of a file found its gene.
pub fn route_name(route: Route) -> &'static str {
    match route {
        Route::Ensembl => "Ensembl id",
        Route::Retired => "retired Ensembl id",
        Route::Unlisted => "Ensembl id not in the annotation",
        Route::Symbol => "symbol",
        Route::Previous => "previous symbol",
        Route::Alias => "alias",
        Route::Hgnc => "HGNC id",
        Route::Ncbi => "NCBI gene id",
        Route::Uniquified => "symbol made unique by a number",
        Route::Map => "the given map",
    }
}

/// What became of the cells of a corpus, and how long they are.
pub fn tokenized(report: &TokenizeReport, vocab_size: usize) -> Table {
    let mut table = table(&["cells as tokens", "number"]);
    for (what, n) in [
        ("tokens in the vocabulary", vocab_size as u64),
        ("cells read", report.cells),
        ("cells written", report.written),
        ("cells left out before: not selected, or without counts", report.not_selected),
        ("cells left out: filter_pass is not 1", report.not_passed),
        ("cells dropped: no gene of the vocabulary", report.dropped),
        ("cells truncated to the longest length", report.truncated),
        ("tokens written", report.tokens),
        ("median length", report.lengths.median().unwrap_or(0) as u64),
        ("longest", report.lengths.iter().last().map_or(0, |(length, _)| length as u64)),
    ] {
        table.add_row([what.to_owned(), thousands(n)]);
    }
    if report.written > 0 {
        let whole = (report.written - report.truncated) as f64 / report.written as f64;
        table.add_row(["cells written whole".to_owned(), format!("{:.2} %", 100.0 * whole)]);
    }
    table
}

/// Genes without a token because several of their former ids have one.
pub fn ambiguous_genes(genes: &[(GeneId, Vec<GeneId>)]) -> impl Iterator<Item = String> {
    genes.iter().map(|(gene, former)| {
        format!("{gene} has no token: the vocabulary has several of its former ids, {former:?}")
    })
}

/// How a pretraining run went.
pub fn pretrained(summary: &PretrainSummary) -> Table {
    let mut table = table(&["pretraining", ""]);
    let loss = |loss: Option<f64>| loss.map_or("–".to_owned(), |loss| format!("{loss:.4}"));
    let pace = summary.n_tokens as f64 / summary.seconds.max(f64::EPSILON);
    table.add_row(["parameters", &thousands(summary.n_params as u64)]);
    table.add_row(["cells", &thousands(summary.n_train_rows as u64)]);
    table.add_row(["steps", &format!("{} of {}", summary.steps, summary.steps_total)]);
    table.add_row(["tokens", &thousands(summary.n_tokens)]);
    table.add_row(["tokens per second", &thousands(pace as u64)]);
    table.add_row(["loss of the first step", &loss(summary.first_loss)]);
    table.add_row(["mean loss of the last epoch", &loss(summary.last_epoch_loss)]);
    if let Some(evaluation) = &summary.evaluation {
        table.add_row(["loss on held-out cells", &format!("{:.4}", evaluation.loss)]);
        let share = format!("{:.2} %", 100.0 * evaluation.accuracy);
        table.add_row(["masked genes told right, held out", &share]);
    }
    table.add_row(["model", &summary.model.display().to_string()]);
    table
}

/// Cosines of pairs: of each class its name, its pairs, their mean, standard deviation
/// and median.
pub fn similarity<'a>(classes: impl Iterator<Item = (&'a str, usize, [f64; 3])>) -> Table {
    let mut table = table(&["pairs", "number", "mean cosine", "sd", "median"]);
    for (class, pairs, numbers) in classes {
        let numbers = numbers.map(|number| format!("{number:.6}"));
        table.add_row([class.to_owned(), thousands(pairs as u64)].into_iter().chain(numbers));
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        fn t(number: u64, expected: &str) {
            assert_eq!(super::thousands(number), expected);
        }
        t(0, "0");
        t(999, "999");
        t(1_000, "1,000");
        t(1_234_567, "1,234,567");
    }
}
