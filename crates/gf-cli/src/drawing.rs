//! Pictures that stand alone: a white ground, a legend, as SVG or in a small page.

use std::{io::Write, path::Path, sync::Arc};

use atomic_write_file::AtomicWriteFile;
use kuva::prelude::{BoxPlot, Layout, Plot, ScatterPlot, Theme};
use kuva::{TickFormat, render_to_svg};

use crate::{
    failure::Failure,
    report::{
        figures::{GROUP_COLOURS, literal, theme},
        words::{small_power, times_power},
    },
};

/// Groups that can be told apart.
pub const N_COLOURS: usize = GROUP_COLOURS.len();
const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 560.0;
/// Width of a letter in a legend, and of its mark and margins.
const LETTER: f64 = 7.6;
const LEGEND_MARGIN: f64 = 50.0;
/// Up to here points are drawn large; the square root of the number makes them smaller.
const FEW_POINTS: f64 = 500.0;
const LARGE_POINT: f64 = 4.0;
const SMALL_POINT: f64 = 1.2;

/// Points of groups.
pub struct Scatter<'a> {
    /// Where they are.
    pub points: &'a [[f64; 2]],
    /// Names of the groups, at most [`N_COLOURS`].
    pub groups: &'a [String],
    /// The group of each point.
    pub group_of: &'a [usize],
    /// What the axes are.
    pub axes: &'a [String; 2],
    /// Above the picture.
    pub title: &'a str,
}

/// The points in the colours of their groups, as SVG.
pub fn scatter(scatter: &Scatter<'_>) -> String {
    let size = LARGE_POINT * (FEW_POINTS / scatter.points.len() as f64).sqrt().min(1.0);
    let plot = |group: usize| {
        let points = scatter.points.iter().zip(scatter.group_of);
        let members = points.filter(|(_, of)| **of == group).map(|(point, _)| (point[0], point[1]));
        ScatterPlot::new()
            .with_data(members)
            .with_color(GROUP_COLOURS[group])
            .with_size(size.max(SMALL_POINT))
            .with_marker_opacity(0.75)
            .with_legend(literal(&scatter.groups[group]))
    };
    let plots: Vec<Plot> = (0..scatter.groups.len()).map(|group| plot(group).into()).collect();
    let [x, y] = scatter.axes;
    let longest = scatter.groups.iter().map(|group| group.chars().count()).max().unwrap_or(0);
    let legend = LEGEND_MARGIN + LETTER * longest as f64;
    let layout = layout(&plots, scatter.title)
        .with_x_label(x.as_str())
        .with_y_label(y.as_str())
        .with_width(WIDTH + legend)
        .with_legend_width(legend);
    render_to_svg(plots, layout)
}

/// Median and quartiles of each group of cosines, whiskers to the last value within 1.5
/// times the distance of the quartiles, as SVG.
pub fn cosine_boxes(groups: &[(&str, Vec<f64>)]) -> String {
    let plots = boxes(groups);
    let layout = layout(&plots, "")
        .with_y_label("Cosine similarity")
        .with_y_axis_max(1.0)
        .with_y_tick_format(TickFormat::Custom(Arc::new(decimal)));
    render_to_svg(plots, layout)
}

/// With all digits that a tick has: cosines may differ in the fifth alone.
fn decimal(tick: f64) -> String {
    let digits = format!("{tick:.9}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The same of shifts, `1 − cosine`.
pub fn shift_boxes(groups: &[(&str, Vec<f64>)]) -> String {
    let largest = groups.iter().flat_map(|(_, shifts)| shifts).copied().fold(0.0, f64::max);
    let power = small_power(largest);
    let scale = 10.0_f64.powi(-power);
    let scaled = |shifts: &[f64]| shifts.iter().map(|shift| shift * scale).collect();
    let groups: Vec<_> = groups.iter().map(|(name, shifts)| (*name, scaled(shifts))).collect();
    let plots = boxes(&groups);
    let label = format!("Mean shift, 1 − cosine{}", times_power(power));
    let layout = layout(&plots, "").with_y_label(label).with_y_axis_min(0.0);
    render_to_svg(plots, layout)
}

fn boxes(groups: &[(&str, Vec<f64>)]) -> Vec<Plot> {
    let boxes = groups.iter().fold(BoxPlot::new(), |plot, (name, values)| {
        plot.with_group(literal(name), values.clone())
    });
    let colours = GROUP_COLOURS.iter().cycle().take(groups.len()).copied();
    vec![Plot::from(boxes.with_group_colors(colours))]
}

fn layout(plots: &[Plot], title: &str) -> Layout {
    let theme = Theme { background: "white".into(), ..theme() };
    let layout = Layout::auto_from_plots(plots)
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_theme(theme)
        .with_label_size(15)
        .with_tick_size(13)
        .with_body_size(14);
    if title.is_empty() { layout } else { layout.with_title(literal(title)) }
}

/// Writes a picture.
///
/// # Errors
///
/// It cannot be written.
pub fn write_svg(path: &Path, svg: &str) -> Result<(), Failure> {
    write(path, svg)
}

/// Writes a page of pictures that needs nothing beside it.
///
/// # Errors
///
/// It cannot be written.
pub fn write_html(path: &Path, title: &str, pictures: &[String]) -> Result<(), Failure> {
    let mut page = minijinja::Environment::new();
    page.add_template("map.html", include_str!("../templates/map.html"))?;
    let context = minijinja::context! { title, pictures => pictures.to_vec() };
    write(path, &page.get_template("map.html")?.render(context)?)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        let mut file = AtomicWriteFile::open(path)?;
        file.write_all(text.as_bytes())?;
        file.commit()
    };
    write().map_err(|error| Failure::Error(format!("{}: {error}", path.display()).into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn decimals() {
        fn t(tick: f64, expected: &str) {
            assert_eq!(super::decimal(tick), expected);
        }
        t(1.0, "1");
        t(0.0, "0");
        t(-0.5, "-0.5");
        t(0.99998 + 1e-16, "0.99998");
        t(0.1 + 0.2, "0.3");
    }
}
