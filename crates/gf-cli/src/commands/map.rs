//! `gf map`

use std::{collections::HashMap, path::PathBuf};

use clap::{Args, ValueEnum};
use gf_embed::{Error, Table, principal_components, umap};

use crate::{
    args::Common,
    drawing::{self, Scatter},
    failure::Failure,
    outputs::claim_file,
    shell::Shell,
};

/// Label of rows without one, and of those beyond the last colour.
const MISSING: &str = "no value";
const OTHER: &str = "other";

/// Arguments of `gf map`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    gf map cells.csv --colour cell_type,donor -o map.html\n\n\
    The table is made before with\n  \
    gf embed --model model --data cells.dataset --labels cell_type,donor -o cells.csv\n\n\
    UMAP takes 15 neighbours by Euclidean distance and a minimal distance of 0.5, as scanpy does;\n\
    every two rows are compared, so time grows with the square of their number.")]
pub struct MapArgs {
    /// Table of `gf embed` (.csv).
    #[arg(value_name = "CSV")]
    embeddings: PathBuf,
    /// Columns that colour the map, as A,B; one picture for each.
    #[arg(long, required = true, value_delimiter = ',', value_name = "COLUMNS")]
    colour: Vec<String>,
    /// How the vectors become points.
    #[arg(long, value_enum, default_value = "umap")]
    method: Method,
    /// File to write: .svg of one column, .html of any number.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Ways into two dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Neighbours stay neighbours; distances between groups mean little.
    Umap,
    /// The two principal components.
    Pca,
}

/// Draws the rows of a table as points.
pub fn run(args: &MapArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let is_html = is_html(args)?;
    claim_file(&args.output)?;
    let table = Table::read_csv(&args.embeddings)?;
    let columns = args
        .colour
        .iter()
        .map(|name| Ok((name, table.text(name)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let (points, axes) = points(args.method, &table, common)?;
    let picture = |(name, texts): &(&String, &[String])| {
        let (groups, group_of) = groups(texts);
        drawing::scatter(&Scatter {
            points: &points,
            groups: &groups,
            group_of: &group_of,
            axes: &axes,
            title: name,
        })
    };
    let pictures: Vec<String> = columns.iter().map(picture).collect();
    match is_html {
        true => {
            drawing::write_html(&args.output, &args.embeddings.display().to_string(), &pictures)?
        }
        false => drawing::write_svg(&args.output, &pictures.concat())?,
    }
    shell.say(format!("{}: {} points", args.output.display(), points.len()))?;
    shell.summary(&serde_json::json!({ "map": args.output, "points": points.len() }))
}

fn is_html(args: &MapArgs) -> Result<bool, Failure> {
    match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok(true),
        Some("svg") if args.colour.len() == 1 => Ok(false),
        _ => Err(Failure::Usage(format!(
            "found {} for {} columns, expected .html, or .svg for one column",
            args.output.display(),
            args.colour.len()
        ))),
    }
}

/// Points and what their axes are.
type Points = (Vec<[f64; 2]>, [String; 2]);

fn points(method: Method, table: &Table, common: &Common) -> Result<Points, Failure> {
    let values = table.values.view();
    match method {
        Method::Umap => {
            let points = umap(values, common.seed.unwrap_or(super::DEFAULT_SEED))?;
            Ok((points, ["UMAP 1".to_owned(), "UMAP 2".to_owned()]))
        }
        Method::Pca => {
            let (rows, width) = values.dim();
            let components = principal_components(values);
            let components = components.ok_or(Error::NoMap { rows, width, least: 3 })?;
            let axis = |k: usize| {
                let share = 100.0 * components.explained[k];
                format!("Principal component {} ({share:.1} % of variance)", k + 1)
            };
            Ok((components.points.clone(), [axis(0), axis(1)]))
        }
    }
}

/// The labels with most rows, as many as there are colours, and which of them each row has.
fn groups(texts: &[String]) -> (Vec<String>, Vec<usize>) {
    let label = |text: &String| if text.is_empty() { MISSING.to_owned() } else { text.clone() };
    let labels: Vec<String> = texts.iter().map(label).collect();
    let mut counts = HashMap::<&str, usize>::new();
    labels.iter().for_each(|label| *counts.entry(label).or_default() += 1);
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    let n_own = if order.len() > drawing::N_COLOURS { drawing::N_COLOURS - 1 } else { order.len() };
    let place: HashMap<&str, usize> =
        order.iter().take(n_own).enumerate().map(|(i, (label, _))| (*label, i)).collect();
    let group_of = labels.iter().map(|label| place.get(label.as_str()).copied().unwrap_or(n_own));
    let group_of = group_of.collect();
    let mut groups: Vec<String> =
        order.iter().take(n_own).map(|(label, n)| format!("{label} ({n})")).collect();
    let n_other: usize = order[n_own..].iter().map(|(_, n)| n).sum();
    groups.extend((n_other > 0).then(|| format!("{OTHER} ({n_other})")));
    (groups, group_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_groups_have_colours() {
        let texts: Vec<String> = (0..12).flat_map(|i| vec![format!("{i:02}"); 12 - i]).collect();
        let (groups, group_of) = groups(&texts);
        assert_eq!(groups.len(), drawing::N_COLOURS);
        assert_eq!((groups[0].as_str(), groups[9].as_str()), ("00 (12)", "other (6)"));
        assert_eq!((group_of[0], group_of[texts.len() - 1]), (0, 9));
        assert_eq!(groups_of(&["", "a", "a"]), ["a (2)", "no value (1)"]);
    }

    fn groups_of(texts: &[&str]) -> Vec<String> {
        groups(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).0
    }
}
