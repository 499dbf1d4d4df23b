//! `gf similarity`

use std::{collections::HashMap, path::PathBuf};

use clap::Args;
use gf_embed::{
    CsvTable, Item, PairClass, PairCosine, Table, TableHeader, TableRows, pair_cosines,
};
use serde::Serialize;

use crate::{args::Common, drawing, failure::Failure, outputs::claim_file, render, shell::Shell};

/// Arguments of `gf similarity`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gf similarity cells.csv --label cell_type --batch donor --figure cells.svg\n  \
    gf similarity genes.csv --label gene --within cell_type --batch donor\n\n\
    The tables are made before with\n  \
    gf embed --model model --data cells.dataset --labels cell_type,donor -o cells.csv\n  \
    gf embed --model model --data cells.dataset --labels cell_type,donor --mode gene --gene-style all -o genes.csv")]
pub struct SimilarityArgs {
    /// Table of `gf embed` (.csv) with columns of labels.
    #[arg(value_name = "CSV")]
    embeddings: PathBuf,
    /// Column that makes two rows the same: the type of a cell, or gene.
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// Column that says where a row was measured; without one all are one batch.
    #[arg(long, value_name = "COLUMN")]
    batch: Option<String>,
    /// Column in which both rows of every pair agree.
    #[arg(long, value_name = "COLUMN")]
    within: Option<String>,
    /// Pairs of each class; all of them where there are fewer.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pairs: usize,
    /// Write every pair with its cosine.
    #[arg(short, long, value_name = "CSV")]
    output: Option<PathBuf>,
    /// Draw each class as a box: median, quartiles and whiskers (.svg).
    #[arg(long, value_name = "SVG")]
    figure: Option<PathBuf>,
}

/// Compares pairs of rows.
pub fn run(args: &SimilarityArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    args.output.iter().chain(&args.figure).try_for_each(|path| claim_file(path))?;
    let table = Table::read_csv(&args.embeddings)?;
    let seed = common.seed.unwrap_or(super::DEFAULT_SEED);
    let pairs = pair_cosines(table.values.view(), &items(args, &table)?, args.pairs, seed)?;
    if let Some(output) = &args.output {
        write_pairs(output, &table, &pairs)?;
    }
    let classes: Vec<ClassSummary> =
        PairClass::ALL.into_iter().filter_map(|class| summary(class, &pairs)).collect();
    if classes.is_empty() {
        let path = args.embeddings.display();
        return Err(Failure::Error(
            format!("{path}: found no pairs, expected at least two rows").into(),
        ));
    }
    if let Some(figure) = &args.figure {
        let groups: Vec<_> = classes.iter().map(|c| (c.class, cosines(c.kind, &pairs))).collect();
        drawing::write_svg(figure, &drawing::cosine_boxes(&groups))?;
    }
    let rows = classes.iter().map(|c| (c.class, c.pairs, [c.mean, c.sd, c.median]));
    shell.say(render::similarity(rows))?;
    shell.summary(&serde_json::json!({ "embeddings": args.embeddings, "classes": classes }))
}

/// The values of up to three columns as numbers.
fn items(args: &SimilarityArgs, table: &Table) -> Result<Vec<Item>, Failure> {
    let column = |name: Option<&String>| match name {
        Some(name) => Ok(numbered(table.text(name)?)),
        None => Ok::<_, Failure>(vec![0; table.values.nrows()]),
    };
    let labels = column(Some(&args.label))?;
    let (batches, within) = (column(args.batch.as_ref())?, column(args.within.as_ref())?);
    let items = labels.into_iter().zip(batches).zip(within);
    Ok(items.map(|((label, batch), within)| Item { within, label, batch }).collect())
}

/// Equal texts as equal numbers.
pub fn numbered(texts: &[String]) -> Vec<u32> {
    let mut numbers = HashMap::new();
    let mut number = |text| {
        let next = numbers.len() as u32;
        *numbers.entry(text).or_insert(next)
    };
    texts.iter().map(|text| number(text.as_str())).collect()
}

/// The cosines of a class.
#[derive(Debug, Serialize)]
struct ClassSummary {
    class: &'static str,
    #[serde(skip)]
    kind: PairClass,
    pairs: usize,
    mean: f64,
    /// Standard deviation.
    sd: f64,
    /// Of two in the middle the lower.
    median: f64,
}

fn cosines(class: PairClass, pairs: &[PairCosine]) -> Vec<f64> {
    pairs.iter().filter(|pair| pair.class == class).map(|pair| pair.cosine).collect()
}

/// Nothing where there is no pair.
fn summary(class: PairClass, pairs: &[PairCosine]) -> Option<ClassSummary> {
    let mut cosines = cosines(class, pairs);
    cosines.sort_by(f64::total_cmp);
    let median = *cosines.get(cosines.len().checked_sub(1)? / 2)?;
    let n = cosines.len() as f64;
    let mean = cosines.iter().sum::<f64>() / n;
    let variance = cosines.iter().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / n;
    Some(ClassSummary {
        class: class.name(),
        kind: class,
        pairs: cosines.len(),
        mean,
        sd: variance.sqrt(),
        median,
    })
}

/// The pairs by the first column of the table, which names its rows.
fn write_pairs(path: &std::path::Path, table: &Table, pairs: &[PairCosine]) -> Result<(), Failure> {
    let ids = table.texts().next().map(|(_, ids)| ids).unwrap_or_default();
    let name = |row: usize| ids.get(row).cloned().unwrap_or_else(|| row.to_string());
    let header = TableHeader::new(["class", "a", "b", "cosine"], 0);
    let mut csv = CsvTable::create(path, &header)?;
    let of = |text: &dyn Fn(&PairCosine) -> String| pairs.iter().map(text).collect();
    csv.push(&TableRows {
        names: vec![
            of(&|pair| pair.class.name().to_owned()),
            of(&|pair| name(pair.rows[0])),
            of(&|pair| name(pair.rows[1])),
            of(&|pair| pair.cosine.to_string()),
        ],
        values: ndarray::Array2::zeros((pairs.len(), 0)).view(),
        labels: vec![],
    })?;
    Ok(csv.finish()?)
}
