//! From the files of a run to [`Facts`].

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use gf_corpus::{Corpus, Ledger, Route, Verdict};
use gf_embed::Table;
use gf_tokenize::{Dataset, TokenId};
use ndarray::Array2;
use serde::{Deserialize, de::DeserializeOwned};

use crate::render;

use super::{
    ReportError, ReportInput,
    facts::{CellMap, CellPoint, Count, Facts, LogPoint, Quality, RankedGene, Tokens, Training},
    figures::GROUP_COLOURS,
    markers::{self, NO_MARKER},
    page::OTHER,
    perturbation::{self, Perturbation},
};

/// Everything the page shows of what `input` names.
pub fn load(input: &ReportInput) -> Result<Facts, ReportError> {
    let dataset = input.dataset.as_deref().map(Dataset::open).transpose()?;
    Ok(Facts {
        title: input.title.clone(),
        quality: input.corpus.as_deref().map(quality).transpose()?,
        tokens: dataset.as_ref().map(tokens).transpose()?,
        training: training(input)?,
        map: match &input.embeddings {
            Some(path) => cell_map(path, dataset.as_ref(), input.colour_by.as_deref())?,
            None => None,
        },
        genes: input.ranking.as_deref().map(ranking).transpose()?,
        perturbation: perturbation(input)?,
        commands: input.commands.clone(),
        versions: input.versions.clone(),
    })
}

fn quality(folder: &Path) -> Result<Quality, ReportError> {
    let corpus = Corpus::open(folder)?;
    Ok(Quality { genes: corpus.genes().len() as u64, ..account(corpus.ledger()) })
}

fn account(ledger: &Ledger) -> Quality {
    let totals = ledger.totals();
    let cells = totals.cells;
    let dropped = cells.dropped.iter().map(|(&reason, &n)| match reason {
        Verdict::FewProteinCoding => {
            let fewest = ledger.qc.min_protein_coding;
            Count::new(format!("Fewer than {fewest} detected protein-coding genes"), n)
        }
        other => Count::new(sentence(render::reason_name(other)), n),
    });
    let copies = (cells.copies > 0).then(|| Count::new("Copies of other cells", cells.copies));
    Quality {
        sources: ledger.files.iter().map(|file| file.path.clone()).collect(),
        cells_read: cells.read,
        cells_kept: cells.kept,
        cells_dropped: dropped.chain(copies).collect(),
        databases: ledger.by_source_database(),
        gene_rows: gene_rows(ledger),
        genes: 0,
        counts_read: totals.mapped.counts + totals.unmapped.counts,
        counts_kept: totals.counts_kept,
    }
}

/// With a capital at its beginning.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn gene_rows(ledger: &Ledger) -> Vec<Count> {
    let files = &ledger.files;
    let mut routes = BTreeMap::<Route, u64>::new();
    for (route, tally) in files.iter().flat_map(|file| &file.routes) {
        *routes.entry(*route).or_default() += tally.rows;
    }
    let by_route = routes
        .into_iter()
        .map(|(route, rows)| Count::new(sentence(render::route_name(route)), rows));
    let unmapped = [
        Count::new(
            "Left out: several genes share the name",
            files.iter().map(|f| f.ambiguous.rows).sum(),
        ),
        Count::new("Left out: no gene has the name", files.iter().map(|f| f.unknown.rows).sum()),
    ];
    by_route.into_iter().chain(unmapped).filter(|count| count.count > 0).collect()
}

fn tokens(dataset: &Dataset) -> Result<Tokens, ReportError> {
    let vocabulary = dataset.vocabulary();
    let framing = vocabulary.map_or(0, |v| v.special().n_framing());
    let genes = |row| Ok(dataset.length(row)?.saturating_sub(framing) as u64);
    Ok(Tokens {
        genes_per_cell: (0..dataset.len()).map(genes).collect::<Result<_, ReportError>>()?,
        vocabulary: vocabulary.map(|v| v.len() as u64),
    })
}

fn training(input: &ReportInput) -> Result<Option<Training>, ReportError> {
    let Some(log) = &input.train_log else {
        return Ok(None);
    };
    let held_out = input.evaluation.as_deref().map(rows::<LogPoint>).transpose()?;
    Ok(Some(Training { log: rows(log)?, held_out: held_out.unwrap_or_default() }))
}

fn perturbation(input: &ReportInput) -> Result<Option<Perturbation>, ReportError> {
    let load = |shifts| perturbation::load(shifts, input.ranking.as_deref(), &input.tables);
    input.shifts.as_deref().map(load).transpose()
}

/// One line of the ranking, by the columns' names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RankingRow {
    rank: u64,
    #[serde(rename = "Gene_name")]
    name: String,
    #[serde(rename = "Ensembl_ID")]
    ensembl_id: String,
    #[serde(rename = "Cosine_shift_mean")]
    shift: f64,
    #[serde(rename = "Cosine_shift_stdev")]
    spread: f64,
    #[serde(rename = "N_Detections")]
    detections: u64,
}

fn ranking(path: &Path) -> Result<Vec<RankedGene>, ReportError> {
    let gene = |row: RankingRow| RankedGene {
        rank: row.rank,
        name: row.name,
        ensembl_id: row.ensembl_id,
        shift: row.shift,
        spread: row.spread,
        detections: row.detections,
    };
    Ok(rows::<RankingRow>(path)?.into_iter().map(gene).collect())
}

fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReportError> {
    let mut reader = csv::Reader::from_path(path).map_err(table_error(path))?;
    reader.deserialize().collect::<Result<_, _>>().map_err(table_error(path))
}

/// Puts the path into an error of a table.
pub fn table_error(path: &Path) -> impl Fn(csv::Error) -> ReportError + '_ {
    move |source| ReportError::Table { path: path.to_owned(), source }
}

/// Ids and embeddings, `[cells, dimensions]`.
fn embeddings(path: &Path) -> Result<(Vec<String>, Array2<f32>), ReportError> {
    let table = Table::read_csv(path)?;
    let ids = table.texts().next().map(|(_, ids)| ids.to_vec());
    Ok((ids.unwrap_or_default(), table.values))
}

fn cell_map(
    path: &Path,
    dataset: Option<&Dataset>,
    column: Option<&str>,
) -> Result<Option<CellMap>, ReportError> {
    let (ids, values) = embeddings(path)?;
    let Some(components) = gf_embed::principal_components(values.view()) else {
        return Ok(None);
    };
    let labels = labels(&ids, dataset, column)?;
    let groups = groups(&labels);
    let group_of = |label: &str| {
        let named = groups.iter().position(|group| group.label == label);
        named.unwrap_or(groups.len().saturating_sub(1))
    };
    let cells = ids.into_iter().zip(components.points).zip(&labels);
    let points = cells
        .map(|((cell_id, position), label)| CellPoint { cell_id, position, group: group_of(label) })
        .collect();
    Ok(Some(CellMap {
        points,
        groups,
        explained: components.explained,
        dimensions: values.ncols(),
        column: column.map(str::to_string),
    }))
}

/// Each cell's value of the column, or the type of its first marker.
fn labels(
    ids: &[String],
    dataset: Option<&Dataset>,
    column: Option<&str>,
) -> Result<Vec<String>, ReportError> {
    let Some(dataset) = dataset else {
        return Ok(vec!["Cells".to_string(); ids.len()]);
    };
    let named = (0..dataset.len()).map(|row| Ok((dataset.cell_id(row)?, row)));
    let rows: HashMap<String, usize> = named.collect::<Result<_, ReportError>>()?;
    let values = column.map(|name| dataset.column(name)).transpose()?;
    let label = |row: usize| match &values {
        Some(values) => Ok(values.get(row)?.text().unwrap_or_else(|| "No value".to_string())),
        None => Ok(first_marker(dataset, row)?.unwrap_or(NO_MARKER).to_string()),
    };
    let of = |id| rows.get(id).map_or_else(|| Ok(OTHER.to_string()), |row| label(*row));
    ids.iter().map(of).collect()
}

fn first_marker(dataset: &Dataset, row: usize) -> Result<Option<&'static str>, ReportError> {
    let Some(vocabulary) = dataset.vocabulary() else { return Ok(None) };
    Ok(dataset.tokens(row)?.iter().find_map(|token| {
        let gene = vocabulary.gene(TokenId(u32::try_from(*token).ok()?))?;
        markers::cell_type(&gene.to_string())
    }))
}

/// The labels with most cells, and [`OTHER`] last for the rest.
fn groups(labels: &[String]) -> Vec<Count> {
    let mut cells: HashMap<&str, u64> = HashMap::new();
    for label in labels {
        *cells.entry(label).or_default() += 1;
    }
    let rest = cells.remove(OTHER).unwrap_or(0);
    let mut groups: Vec<Count> = cells.into_iter().map(|(label, n)| Count::new(label, n)).collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    let beyond = groups.split_off(groups.len().min(GROUP_COLOURS.len()));
    let rest = rest + beyond.iter().map(|group| group.count).sum::<u64>();
    groups.extend((rest > 0).then(|| Count::new(OTHER, rest)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_size_and_the_rest_last() {
        let mut labels: Vec<String> =
            (0..12).flat_map(|i| vec![format!("type {i:02}"); 20 - i]).collect();
        labels.push(OTHER.to_string());
        let groups = groups(&labels);
        assert_eq!(groups.len(), GROUP_COLOURS.len() + 1);
        assert_eq!(groups[0], Count::new("type 00", 20));
        assert_eq!(groups[10], Count::new(OTHER, 10 + 9 + 1));
    }
}
