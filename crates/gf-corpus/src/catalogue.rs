//! A table of studies, and which of them are one study offered twice.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    doi::Doi,
    error::{Error, Result},
    study::{COLUMNS, Row, Study, Wrong, study, wrong},
};

/// Largest catalogue file, in bytes.
pub const MAX_CATALOGUE_BYTES: u64 = 64 << 20;
/// Most rows of a catalogue.
pub const MAX_STUDIES: usize = 1_000_000;

/// Studies in the order of their file.
///
/// Read from `.csv` or `.tsv` with a line of column names, or from `.toml`:
///
/// ```toml
/// [[study]]
/// id = "kang"
/// path = "kang/cells.h5ad"
/// source_database = "GEO"
/// accession = "GSE96583"
/// doi = "10.1038/nbt.4042"
/// assay = "10x 3' v1"
/// organ = "immune"
/// condition = "lupus, interferon beta"
/// malignant = "no"
/// ```
///
/// The columns are those of [`COLUMNS`]; an empty cell is one that is not
/// there, any other column is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The rows.
    pub studies: Vec<Study>,
}

/// What is left of a catalogue when every study enters once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossReference {
    /// Studies that enter, in file order.
    pub kept: Vec<Study>,
    /// Studies that do not, in file order.
    pub superseded: Vec<Superseded>,
}

/// A row whose study another database offers in an earlier row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The row that does not enter.
    pub study: Study,
    /// Id of the row that stands for it.
    pub by: String,
    /// The DOI they share, or the row's own first one if others link the two.
    pub doi: Doi,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`Error::Catalogue`] with line, column, found and expected; a file above
    /// [`MAX_CATALOGUE_BYTES`], more rows than [`MAX_STUDIES`], or another ending.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let rows = match end.to_ascii_lowercase().as_str() {
            "toml" => toml_rows(path)?,
            "csv" => table_rows(path, b',')?,
            "tsv" => table_rows(path, b'\t')?,
            _ => {
                let expected = "a name that ends in .toml, .csv or .tsv";
                return Err(at(path, 0)(wrong("", end, expected)));
            }
        };
        if rows.len() > MAX_STUDIES {
            let expected = format!("at most {MAX_STUDIES} studies");
            return Err(at(path, 0)(wrong("id", &rows.len().to_string(), &expected)));
        }
        Self::from_rows(path, folder, &rows)
    }

    fn from_rows(path: &Path, folder: &Path, rows: &[(u64, Row)]) -> Result<Self> {
        // Folders may not tell case apart, so neither do ids.
        let mut lines: HashMap<String, u64> = HashMap::new();
        let mut studies = Vec::with_capacity(rows.len());
        for (line, row) in rows {
            let study = study(row, folder).map_err(at(path, *line))?;
            if let Some(first) = lines.insert(study.id.to_ascii_lowercase(), *line) {
                let expected = format!("an id of its own (line {first} has it, case aside)");
                return Err(at(path, *line)(wrong("id", &study.id, &expected)));
            }
            studies.push(study);
        }
        Ok(Self { studies })
    }

    /// Lets every study enter once.
    ///
    /// Rows that share a DOI, directly or through other rows, are one study.
    /// Of these, rows of the database that comes first in the file stay, all of
    /// them, as parts; rows of other databases are superseded by its first row.
    /// Rows without a DOI or without a database stay: nothing is known of them.
    #[must_use]
    pub fn cross_reference(self) -> CrossReference {
        let groups = groups(&self.studies);
        let mut first_stated: HashMap<usize, usize> = HashMap::new();
        for (row, &group) in groups.iter().enumerate() {
            if self.studies[row].source_database.is_some() {
                first_stated.entry(group).or_insert(row);
            }
        }
        let verdicts: Vec<_> = (0..groups.len())
            .map(|row| {
                superseded(&self.studies[row], &self.studies[*first_stated.get(&groups[row])?])
            })
            .collect();
        let mut out = CrossReference::default();
        for (study, verdict) in self.studies.into_iter().zip(verdicts) {
            match verdict {
                Some((by, doi)) => out.superseded.push(Superseded { study, by, doi }),
                None => out.kept.push(study),
            }
        }
        out
    }
}

/// By whom and through which DOI a row of another database is superseded.
fn superseded(study: &Study, first: &Study) -> Option<(String, Doi)> {
    let (own, other) = (study.source_database.as_ref()?, first.source_database.as_ref()?);
    if own.to_lowercase() == other.to_lowercase() {
        return None;
    }
    let shared = study.all_dois().find(|doi| first.all_dois().any(|other| other == *doi));
    let doi = shared.or_else(|| study.all_dois().next())?;
    Some((first.id.clone(), doi.clone()))
}

/// For each row the first row that DOIs link it to.
fn groups(studies: &[Study]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..studies.len()).collect();
    let mut rows: HashMap<&Doi, usize> = HashMap::new();
    for (row, study) in studies.iter().enumerate() {
        for doi in study.all_dois() {
            match rows.entry(doi) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(place) => {
                    let (a, b) = (root(&mut parents, *place.get()), root(&mut parents, row));
                    parents[a.max(b)] = a.min(b);
                }
            }
        }
    }
    (0..studies.len()).map(|row| root(&mut parents, row)).collect()
}

fn root(parents: &mut [usize], mut row: usize) -> usize {
    while parents[row] != row {
        parents[row] = parents[parents[row]];
        row = parents[row];
    }
    row
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    #[serde(default)]
    study: Vec<toml::Spanned<toml::Table>>,
}

fn toml_rows(path: &Path) -> Result<Vec<(u64, Row)>> {
    let text = text(path)?;
    let line_at = |byte: usize| newlines(&text.as_bytes()[..byte.min(text.len())]) + 1;
    let file: TomlFile = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_at(span.start));
        at(path, line)(wrong("", error.message(), "TOML tables [[study]]"))
    })?;
    let (mut line, mut seen) = (1, 0);
    let mut rows = Vec::with_capacity(file.study.len());
    for table in file.study {
        let start = table.span().start.clamp(seen, text.len());
        line += newlines(&text.as_bytes()[seen..start]);
        seen = start;
        let mut row = Row::new();
        for (key, value) in table.into_inner() {
            let cell = cell(&key, &value).map_err(at(path, line))?;
            put(&mut row, &key, &cell).map_err(at(path, line))?;
        }
        rows.push((line, row));
    }
    Ok(rows)
}

/// A TOML value as the text a table would have; a list is joined by `;`.
fn cell(key: &str, value: &toml::Value) -> Result<String, Wrong> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.to_owned()),
        toml::Value::Array(list) if list.iter().all(toml::Value::is_str) => {
            Ok(list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(";"))
        }
        other => {
            Err(wrong(known(key)?, other.type_str(), "text, a whole number, a truth or texts"))
        }
    }
}

fn table_rows(path: &Path, delimiter: u8) -> Result<Vec<(u64, Row)>> {
    let text = text(path)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let broken = |error: csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        at(path, line)(wrong("", &error.to_string(), "a row as long as the line of column names"))
    };
    let headers = reader.headers().map_err(broken)?.clone();
    let mut seen = Row::new();
    for header in &headers {
        let column = known(header.trim()).map_err(at(path, 1))?;
        if seen.insert(column, String::new()).is_some() {
            return Err(at(path, 1)(wrong(column, column, "every column once")));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut row = Row::new();
        for (header, text) in headers.iter().zip(&record) {
            put(&mut row, header.trim(), text).map_err(at(path, line))?;
        }
        rows.push((line, row));
    }
    Ok(rows)
}

fn put(row: &mut Row, key: &str, text: &str) -> Result<(), Wrong> {
    let column = known(key)?;
    // Blanks only: a control character at an end is refused later, not cut.
    let text = text.trim_matches(' ');
    if !text.is_empty() {
        row.insert(column, text.to_owned());
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static str, Wrong> {
    let column = COLUMNS.into_iter().find(|column| *column == name);
    column.ok_or_else(|| wrong("", name, &format!("one of the columns {}", COLUMNS.join(", "))))
}

/// A whole catalogue as text, without a byte order mark.
fn text(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_CATALOGUE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_CATALOGUE_BYTES {
        let expected = format!("at most {MAX_CATALOGUE_BYTES} bytes");
        return Err(at(path, 0)(wrong("", "a larger file", &expected)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = newlines(&error.as_bytes()[..error.utf8_error().valid_up_to()]) + 1;
        at(path, line)(wrong("", "other bytes", "UTF-8 text"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Puts file and line beside what is wrong.
fn at(path: &Path, line: u64) -> impl Fn(Wrong) -> Error {
    let path: PathBuf = path.to_owned();
    move |wrong| Error::Catalogue {
        path: path.clone(),
        line,
        column: wrong.column,
        found: wrong.found,
        expected: wrong.expected,
    }
}
