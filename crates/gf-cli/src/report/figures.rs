//! The page's pictures as inline SVG. Colours are the light theme's; the page's
//! style sheet replaces each of them in the dark theme by its value, so every
//! ink here is one of the named constants below.

use gf_corpus::SourceTally;
use kuva::prelude::{
    BarPlot, ForestPlot, ForestRow, Histogram, Layout, LinePlot, Plot, ReferenceLine, ScatterPlot,
    Theme, TickFormat,
};
use kuva::render_to_svg;

use super::facts::{CellMap, LogPoint, RankedGene, Tokens, Training};
use super::words::{grouped, significant, small_power, times_power};

/// Text in figures.
const INK: &str = "#1d2733";
/// Axes and ticks.
pub const AXIS: &str = "#7b8794";
/// Grid lines.
const GRID: &str = "#e4e9ee";
/// The one colour of figures without groups.
pub const ACCENT: &str = "#0f7d85";
/// The same, behind a smoothed line.
pub const ACCENT_PALE: &str = "#a9d3d5";
/// Points of the evaluations.
const HELD_OUT: &str = "#ef8636";
/// Anything without a group of its own.
pub const GREY: &str = "#a3aeb9";

/// Colours of the groups of cells, told apart on white and on black.
pub const GROUP_COLOURS: [&str; 10] = [
    "#3b76af", "#ef8636", "#519e3e", "#c53a32", "#8d69b8", "#a0705f", "#d57dbe", "#b9a13a",
    "#46b1c4", "#5b6b7a",
];

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 380.0;
/// Points a line keeps; more only make the page heavy.
const MAX_LINE_POINTS: usize = 600;
/// Points of a map that carry their cell's name as a tooltip.
const MAX_TOOLTIPS: usize = 3000;
/// Bars of a histogram and ticks of its axis, at most about.
const BINS: f64 = 40.0;
pub const TICKS: f64 = 6.0;
/// Cells that must have a gene for it to be drawn: a mean over fewer says more
/// about the cells than about the gene.
pub const MIN_DETECTIONS: u64 = 3;
/// Genes in the dot plot.
const TOP_GENES: usize = 20;

/// The colour of group `index`; `plain` groups ("No marker", "Other") are grey.
pub fn group_colour(index: usize, plain: bool) -> &'static str {
    match plain {
        true => GREY,
        false => GROUP_COLOURS[index % GROUP_COLOURS.len()],
    }
}

/// Histogram of the genes in each cell's sequence.
pub fn genes_per_cell(tokens: &Tokens) -> String {
    let values: Vec<f64> = tokens.genes_per_cell.iter().map(|&n| n as f64).collect();
    let (low, high) =
        values.iter().fold((f64::MAX, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
    let bin = round_step((high - low) / BINS).max(1.0);
    let range = ((low / bin).floor() * bin, (high / bin).floor() * bin + bin);
    let bins = ((range.1 - range.0) / bin).round() as usize;
    let histogram =
        Histogram::new().with_data(values).with_bins(bins).with_range(range).with_color(ACCENT);
    let plots = vec![Plot::from(histogram)];
    let layout = layout(&plots, "Genes in the cell's sequence", "Cells")
        .with_y_axis_min(0.0)
        .with_x_axis_min(range.0)
        .with_x_axis_max(range.1)
        .with_x_tick_step(round_step((range.1 - range.0) / TICKS).max(1.0));
    finish(render_to_svg(plots, layout), "Histogram of the number of genes per tokenised cell")
}

/// The step of 1, 2 or 5 times a power of ten that is next to `step` from above.
pub fn round_step(step: f64) -> f64 {
    let power = 10.0_f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= step * (1.0 - 1e-12))
        .unwrap_or(10.0 * power)
}

/// Total against unique cells of each source database, as bars.
pub fn source_databases(tallies: &[SourceTally]) -> String {
    let groups = tallies.iter().fold(BarPlot::new(), |plot, tally| {
        let bars = vec![(tally.cells as f64, ACCENT_PALE), (tally.unique_cells as f64, ACCENT)];
        plot.with_group(literal(&tally.source_database), bars)
    });
    let plots = vec![Plot::from(groups.with_legend(vec!["all", "unique"]))];
    let layout = layout(&plots, "", "Cells").with_y_axis_min(0.0);
    finish(render_to_svg(plots, layout), "All and unique cells of each source database")
}

/// Loss by step: each logged value, their running mean, and the evaluations on
/// held-out cells as points.
pub fn loss_curve(training: &Training, vocabulary: Option<u64>) -> String {
    let points = thin(&training.log);
    let smooth = running_mean(&points);
    let raw = LinePlot::new().with_data(points).with_color(ACCENT_PALE).with_stroke_width(1.2);
    let mean = LinePlot::new().with_data(smooth).with_color(ACCENT).with_stroke_width(2.4);
    let held_out = training.held_out.iter().map(|p| (p.step, p.loss));
    let held_out = ScatterPlot::new().with_data(held_out).with_color(HELD_OUT).with_size(5.5);
    let mut plots = vec![Plot::from(raw), Plot::from(mean), Plot::from(held_out)];
    let guess = vocabulary.filter(|v| *v > 1).map(|v| (v as f64).ln());
    plots.extend(guess.and_then(|g| room_above(&training.log, g)).map(Plot::from));
    let mut layout = layout(&plots, "Training step", "Loss (nats per masked gene)");
    if let Some(guess) = guess {
        let line = ReferenceLine::horizontal(guess).with_color(AXIS).with_label("uniform guess");
        layout = layout.with_reference_line(line);
    }
    finish(render_to_svg(plots, layout), "Training loss by step")
}

/// An invisible line above the level of a uniform guess, so that the axis
/// leaves room for it and its label.
fn room_above(log: &[LogPoint], guess: f64) -> Option<LinePlot> {
    let step = log.first()?.step;
    let lowest = log.iter().map(|p| p.loss).fold(guess, f64::min);
    let room = guess + 0.12 * (guess - lowest);
    let line = LinePlot::new().with_data([(step, room), (step, room)]);
    Some(line.with_color("none").with_stroke_width(0.0))
}

/// The cells on two principal components, one colour per group.
pub fn cell_map(map: &CellMap, plain: &[bool]) -> String {
    let tooltips = map.points.len() <= MAX_TOOLTIPS;
    let plots: Vec<Plot> = (0..map.groups.len())
        .rev()
        .map(|g| group_scatter(map, g, plain[g], tooltips).into())
        .collect();
    let axis = |k: usize| {
        format!("Principal component {} ({:.1} % of variance)", k + 1, 100.0 * map.explained[k])
    };
    let layout = layout(&plots, &axis(0), &axis(1)).with_height(480.0);
    finish(
        render_to_svg(plots, layout),
        "Cells on the first two principal components of their embeddings",
    )
}

fn group_scatter(map: &CellMap, group: usize, plain: bool, tooltips: bool) -> ScatterPlot {
    let members = || map.points.iter().filter(move |p| p.group == group);
    let scatter = ScatterPlot::new()
        .with_data(members().map(|p| (p.position[0], p.position[1])))
        .with_color(group_colour(group, plain))
        .with_size(3.6)
        .with_marker_opacity(0.78);
    match tooltips {
        true => scatter.with_tooltip_labels(
            members().map(|p| format!("{} · {}", p.cell_id, map.groups[group].label)),
        ),
        false => scatter,
    }
}

/// The first genes of the ranking that enough cells have.
pub fn leading(genes: &[RankedGene]) -> Vec<&RankedGene> {
    let enough = genes.iter().filter(|gene| gene.detections >= MIN_DETECTIONS);
    enough.take(TOP_GENES).collect()
}

/// Shift of each gene, its spread over the cells, and the number of cells as the
/// size of the mark.
pub fn top_genes(top: &[&RankedGene]) -> String {
    let power = small_power(top.iter().map(|gene| gene.shift).fold(0.0, f64::max));
    let scale = 10.0_f64.powi(-power);
    let mut forest = ForestPlot::new()
        .with_color(ACCENT)
        .with_marker_size(7.0)
        .with_whisker_width(1.6)
        .with_show_null_line(false);
    forest.rows = top.iter().map(|gene| forest_row(gene, scale)).collect();
    let plots = vec![Plot::from(forest)];
    let layout = layout(
        &plots,
        &format!("Shift of the cell embedding, 1 − cosine{}", times_power(power)),
        "",
    )
    .with_x_axis_min(0.0)
    .with_height(90.0 + 24.0 * top.len() as f64);
    finish(render_to_svg(plots, layout), "Genes whose deletion moves the cells most, with spread")
}

fn forest_row(gene: &RankedGene, scale: f64) -> ForestRow {
    let (shift, spread) = (gene.shift * scale, gene.spread * scale);
    // A shift is never negative; a symmetric spread would draw past zero.
    let low = (shift - spread).max(0.0).min(shift);
    let mut row = ForestRow::new(literal(&gene.name), shift, low, shift + spread);
    row.weight = Some(gene.detections as f64);
    row
}

/// The layout of the page's pictures.
pub fn layout(plots: &[Plot], x_label: &str, y_label: &str) -> Layout {
    let layout = Layout::auto_from_plots(plots)
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_theme(theme())
        .with_label_size(15)
        .with_tick_size(14)
        .with_body_size(14)
        .with_axis_line_width(1.0)
        .with_tick_format(TickFormat::Custom(std::sync::Arc::new(tick)))
        .with_x_label(x_label);
    if y_label.is_empty() { layout } else { layout.with_y_label(y_label) }
}

/// "12,000" for whole numbers from a thousand on, else as few digits as needed.
fn tick(value: f64) -> String {
    if value.abs() >= 1000.0 && value.fract() == 0.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", grouped(value.abs() as u64));
    }
    significant(value)
}

/// The colours of text and lines.
pub fn theme() -> Theme {
    Theme {
        background: "none".into(),
        axis_color: AXIS.into(),
        grid_color: GRID.into(),
        tick_color: AXIS.into(),
        text_color: INK.into(),
        ..Theme::light()
    }
}

/// Dollar signs start a formula in kuva's labels.
pub fn literal(label: &str) -> String {
    label.replace('$', "\\$")
}

/// Gives the root element a view box, so that the picture scales with the page.
pub fn finish(svg: String, description: &str) -> String {
    let (width, height) = (attribute(&svg, "width"), attribute(&svg, "height"));
    let open =
        format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{description}""#);
    svg.replacen("<svg", &open, 1)
}

fn attribute<'a>(svg: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=\"");
    svg.split_once(&start)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("0", |(value, _)| value)
}

/// Means over equal runs of steps, when there are more than a line needs.
fn thin(log: &[LogPoint]) -> Vec<(f64, f64)> {
    let run = log.len().div_ceil(MAX_LINE_POINTS).max(1);
    log.chunks(run)
        .map(|chunk| {
            let mean =
                |of: fn(&LogPoint) -> f64| chunk.iter().map(of).sum::<f64>() / chunk.len() as f64;
            (mean(|p| p.step), mean(|p| p.loss))
        })
        .collect()
}

/// Mean over a window of a fifteenth of the points, centred, cut off at the ends.
fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 30;
    (0..points.len())
        .map(|i| {
            let window = &points[i.saturating_sub(reach)..(i + reach + 1).min(points.len())];
            (points[i].0, window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_scales() {
        let tokens = Tokens { genes_per_cell: vec![10, 20, 20, 30], vocabulary: None };
        let svg = genes_per_cell(&tokens);
        assert!(svg.starts_with(r#"<svg viewBox="0 0 680 380" role="img""#), "{}", &svg[..120]);
    }

    #[test]
    fn one_length_only() {
        assert!(
            genes_per_cell(&Tokens { genes_per_cell: vec![7; 9], vocabulary: None })
                .contains("<rect")
        );
    }

    #[test]
    fn thinning_keeps_the_mean() {
        let log: Vec<LogPoint> = (0..6000)
            .map(|i| LogPoint { step: f64::from(i), epoch: 0.0, loss: f64::from(i % 10) })
            .collect();
        let thinned = thin(&log);
        assert_eq!((thinned.len(), thinned[0]), (MAX_LINE_POINTS, (4.5, 4.5)));
    }

    #[test]
    fn running_mean_is_centred() {
        let points: Vec<(f64, f64)> = (0..60).map(|i| (f64::from(i), f64::from(i))).collect();
        let mean = running_mean(&points);
        assert_eq!(mean[2..58], points[2..58], "the mean of a straight line is the line");
        assert_eq!((mean[0].1, mean[59].1), (1.0, 58.0), "of three points at each end");
    }

    #[test]
    fn round_steps() {
        for (step, round) in
            [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (47.0, 50.0), (71.0, 100.0), (100.0, 100.0)]
        {
            assert_eq!(round_step(step), round);
        }
    }

    #[test]
    fn ticks() {
        for (value, text) in [
            (12_000.0, "12,000"),
            (-2000.0, "−2,000"),
            (0.0, "0"),
            (0.5, "0.5"),
            (0.0004, "0.0004"),
        ] {
            assert_eq!(tick(value), text);
        }
    }
}
