//! Pictures of a perturbation run.

use kuva::{
    plot::LabelStyle,
    prelude::{BandPlot, LinePlot, Plot, ReferenceLine, ScatterPlot},
    render_to_svg,
};

use super::{Tested, TestedGene};
use crate::report::{
    facts::RankedGene,
    figures::{
        ACCENT, ACCENT_PALE, AXIS, GREY, MIN_DETECTIONS, TICKS, finish, layout, literal, round_step,
    },
    words::{small_power, times_power},
};

/// A difference is significant below this false discovery rate, as in `gf stats`.
pub const SIGNIFICANT: f64 = 0.05;
/// Where a rate of 0 is drawn.
const LOWEST_FDR: f64 = 1e-300;
/// Room above the highest point, for its name.
const ROOM: f64 = 1.1;
/// Width and height of a name, of the axes' lengths.
const NAME: [f64; 2] = [0.12, 0.05];
/// Genes with their names in a picture.
const N_NAMED: usize = 12;

/// Shift of each gene against its false discovery rate.
pub fn volcano(tested: &Tested) -> String {
    let largest = tested.genes.iter().map(|gene| gene.shift.abs()).fold(0.0, f64::max);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let height = |fdr: f64| -fdr.max(LOWEST_FDR).log10();
    let point = |gene: &TestedGene| (gene.shift * scale, height(gene.fdr));
    let (significant, rest): (Vec<&TestedGene>, Vec<&TestedGene>) =
        tested.genes.iter().partition(|gene| gene.fdr < SIGNIFICANT);
    let mut named = significant.clone();
    named.sort_by(|a, b| a.fdr.total_cmp(&b.fdr).then(b.shift.abs().total_cmp(&a.shift.abs())));
    named.truncate(N_NAMED);
    let named: Vec<_> = named.into_iter().map(|gene| (point(gene), gene.name.as_str())).collect();
    let plots = vec![
        points(rest.into_iter().map(point), GREY),
        points(significant.into_iter().map(point), ACCENT),
        names(&named, LabelStyle::Repel),
    ];
    let line = height(SIGNIFICANT);
    let highest = tested.genes.iter().map(|gene| height(gene.fdr)).fold(line, f64::max);
    let x = format!("{}{}", tested.shift.replace('_', " "), times_power(power));
    let line = ReferenceLine::horizontal(line).with_color(AXIS);
    let layout = layout(&plots, &literal(&x), "−log₁₀ of the false discovery rate")
        .with_y_axis_min(0.0)
        .with_y_axis_max(ROOM * highest)
        .with_reference_line(line.with_label("0.05"));
    finish(render_to_svg(plots, layout), "Shift of each gene against its false discovery rate")
}

/// Mean shift of each gene against the cells that have it; the largest that enough cells
/// have are named, as far as there is room.
pub fn detections(genes: &[RankedGene]) -> String {
    let largest = genes.iter().map(|gene| gene.shift).fold(0.0, f64::max);
    let most = genes.iter().map(|gene| gene.detections as f64).fold(0.0, f64::max);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let point = |gene: &RankedGene| (gene.detections as f64, gene.shift * scale);
    let leading = genes.iter().filter(|gene| gene.detections >= MIN_DETECTIONS);
    let leading = leading.map(|gene| (point(gene), gene.name.as_str()));
    let beside = LabelStyle::Arrow { offset_x: 4.0, offset_y: -4.0 };
    let named = names(&apart(leading, [most * NAME[0], largest * scale * NAME[1]]), beside);
    let plots = vec![points(genes.iter().map(point), ACCENT), named];
    let y = format!("Mean shift, 1 − cosine{}", times_power(power));
    let layout = layout(&plots, "Cells with the gene", &y)
        .with_y_axis_min(0.0)
        .with_x_axis_max(most * (1.0 + NAME[0]))
        .with_x_tick_step(round_step(most / TICKS).max(1.0));
    finish(render_to_svg(plots, layout), "Mean shift of each gene against the cells that have it")
}

/// Median, quartiles and most of each cell's shifts, on a logarithmic axis; shifts of
/// nothing but rounding are drawn at its lower end.
pub fn spread(cells: &[[f64; 5]]) -> String {
    let largest = cells.iter().map(|cell| cell[4]).fold(f64::MIN_POSITIVE, f64::max);
    let positive = cells.iter().map(|cell| cell[0]).filter(|&shift| shift > largest * 1e-6);
    let lowest = positive.fold(largest, f64::min);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let line = |q: usize| cells.iter().map(move |cell| cell[q].max(lowest) * scale);
    let x = || (1..=cells.len()).map(|i| i as f64);
    let band = |low, high, opacity| {
        let band = BandPlot::new(x(), line(low), line(high));
        Plot::from(band.with_color(ACCENT).with_opacity(opacity))
    };
    let median = LinePlot::new().with_data(x().zip(line(2))).with_color(ACCENT);
    let median = Plot::from(median.with_stroke_width(2.0));
    let marks = points(x().zip(line(2)), ACCENT);
    let plots = vec![band(0, 4, 0.15), band(1, 3, 0.3), median, marks];
    let n = cells.len() as f64;
    let y = format!("Shift, 1 − cosine{}", times_power(power));
    let layout = layout(&plots, "Cells, by their median", &y)
        .with_log_y()
        .with_x_axis_min(0.0)
        .with_x_axis_max(n + 1.0)
        .with_x_tick_step(round_step(n / TICKS).max(1.0));
    finish(render_to_svg(plots, layout), "Distribution of the shifts in each cell")
}

fn points(points: impl Iterator<Item = (f64, f64)>, colour: &str) -> Plot {
    let plot = ScatterPlot::new().with_data(points).with_color(colour);
    plot.with_size(2.6).with_marker_opacity(0.7).into()
}

/// A point and its name.
type Named<'a> = ((f64, f64), &'a str);

/// The first whose names, of this width and height, do not cover those before.
fn apart<'a>(points: impl Iterator<Item = Named<'a>>, [width, height]: [f64; 2]) -> Vec<Named<'a>> {
    let mut named: Vec<Named> = Vec::new();
    for (point, name) in points {
        let is_free = |(other, _): &Named| {
            (point.0 - other.0).abs() > width || (point.1 - other.1).abs() > height
        };
        if named.len() < N_NAMED && named.iter().all(is_free) {
            named.push((point, name));
        }
    }
    named
}

/// Small marks with names at them.
fn names(named: &[Named<'_>], style: LabelStyle) -> Plot {
    let plot = ScatterPlot::new().with_data(named.iter().map(|(point, _)| *point));
    plot.with_color(ACCENT_PALE)
        .with_size(1.2)
        .with_labels(named.iter().map(|(_, name)| literal(name)))
        .with_label_style(style)
        .into()
}
