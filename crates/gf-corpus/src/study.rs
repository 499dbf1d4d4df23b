//! One row of a catalogue: where a study's counts lie and what they are.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    doi::Doi,
    metadata::MetadataValue,
    organ::{ORGANS, Organ},
    platform::is_droplet,
};

/// The columns of a catalogue. `id` and `path` must be given.
pub const COLUMNS: [&str; 16] = [
    "id",
    "path",
    "source_database",
    "accession",
    "doi",
    "preprint_doi",
    "layer",
    "assay",
    "droplet",
    "organ",
    "condition",
    "malignant",
    "cell_line",
    "assembly",
    "licence",
    "expected_cells",
];
/// Longest study id.
const MAX_ID: usize = 100;

/// One file or folder of counts and what its catalogue says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Study {
    /// Name within the corpus: 1 to 100 of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// The file or folder; a relative path was taken from the catalogue's folder.
    pub path: PathBuf,
    /// Where it was found, such as `GEO` or `CELLxGENE`.
    pub source_database: Option<String>,
    /// Its name there, such as `GSE118767`.
    pub accession: Option<String>,
    /// The publications: the column `doi`, several separated by `;`.
    pub dois: Vec<Doi>,
    /// Their preprints, likewise.
    pub preprint_dois: Vec<Doi>,
    /// The matrix to read; the reader chooses if it is not given.
    pub layer: Option<String>,
    /// Assay or platform, as the catalogue has it.
    pub assay: Option<String>,
    /// Whether cells sat in droplets: as stated, or else by
    /// [`is_droplet`](crate::is_droplet) of the assay; `None` if neither says.
    pub droplet: Option<bool>,
    /// Consolidated organ.
    pub organ: Option<Organ>,
    /// Disease, treatment or donor state, free text.
    pub condition: Option<String>,
    /// Which cells are malignant; none if the catalogue does not say.
    pub malignant: Malignant,
    /// Whether the cells are an immortalised line; no if the catalogue does not say.
    pub cell_line: bool,
    /// Genome assembly of the counts.
    pub assembly: Option<String>,
    /// Terms of use.
    pub licence: Option<String>,
    /// Cells loaded, above 0, for droplet calling.
    pub expected_cells: Option<u64>,
}

impl Study {
    /// A study of which nothing but its file is known.
    #[must_use]
    pub fn new(id: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { id: id.into(), path: path.into(), ..Self::default() }
    }

    /// All DOIs of the study, preprints last.
    pub fn all_dois(&self) -> impl Iterator<Item = &Doi> {
        self.dois.iter().chain(&self.preprint_dois)
    }
}

/// Which cells of a study are malignant: `yes`, `no`, or `COLUMN=VALUE|VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malignant {
    /// None.
    #[default]
    No,
    /// All.
    Yes,
    /// Those whose metadata column holds one of the values.
    Where {
        /// The metadata column.
        column: String,
        /// The values that mean malignant.
        values: Vec<String>,
    },
}

impl Malignant {
    /// Whether every cell is.
    #[must_use]
    pub fn is_whole_study(&self) -> bool {
        *self == Self::Yes
    }

    /// Whether a cell is, given the value of each of its metadata columns.
    pub fn is_cell_malignant<'a>(&self, value: impl FnOnce(&str) -> MetadataValue<'a>) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Where { column, values } => {
                value(column).text().is_some_and(|found| values.contains(&found))
            }
        }
    }

    fn new(text: &str) -> Option<Self> {
        if let Some(all) = yes_no(text) {
            return Some(if all { Self::Yes } else { Self::No });
        }
        let (column, values) = text.split_once('=')?;
        let values: Vec<String> = values.split('|').map(|v| v.trim().to_owned()).collect();
        let named = !column.trim().is_empty() && values.iter().all(|value| !value.is_empty());
        named.then(|| Self::Where { column: column.trim().to_owned(), values })
    }
}

/// What is wrong in one cell of the catalogue.
pub(crate) struct Wrong {
    pub(crate) column: &'static str,
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// The cells of one row by column, none of them empty.
pub(crate) type Row = BTreeMap<&'static str, String>;

/// Makes a study of a row; relative paths start at `folder`.
pub(crate) fn study(row: &Row, folder: &Path) -> Result<Study, Wrong> {
    if let Some((column, text)) = row.iter().find(|(_, text)| text.contains(char::is_control)) {
        return Err(wrong(column, text, "text without control characters"));
    }
    let text = |column: &str| row.get(column).cloned();
    let yes = "yes or no";
    let inside = "a path that does not climb out of the catalogue's folder";
    let ascii = "1 to 100 letters, digits, dots, underscores or hyphens";
    Ok(Study {
        id: need(row, "id", ascii, |id| is_id(id).then(|| id.to_owned()))?,
        path: need(row, "path", inside, |path| Some(folder.join(normal(Path::new(path))?)))?,
        source_database: text("source_database"),
        accession: text("accession"),
        dois: may(row, "doi", DOIS, dois)?.unwrap_or_default(),
        preprint_dois: may(row, "preprint_doi", DOIS, dois)?.unwrap_or_default(),
        layer: text("layer"),
        assay: text("assay"),
        droplet: may(row, "droplet", yes, yes_no)?
            .or_else(|| row.get("assay").and_then(|assay| is_droplet(assay))),
        organ: may(row, "organ", &format!("one of {}", ORGANS.join(", ")), Organ::new)?,
        condition: text("condition"),
        malignant: may(row, "malignant", "yes, no or COLUMN=VALUE|VALUE", Malignant::new)?
            .unwrap_or_default(),
        cell_line: may(row, "cell_line", yes, yes_no)?.unwrap_or(false),
        assembly: text("assembly"),
        licence: text("licence"),
        expected_cells: may(row, "expected_cells", "a whole number above 0", above_zero)?,
    })
}

const DOIS: &str = "a DOI such as 10.1038/s41586-023-06139-9, several separated by ;";

fn may<T>(
    row: &Row,
    column: &'static str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Wrong> {
    let Some(text) = row.get(column) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| wrong(column, text, expected))
}

fn need<T>(
    row: &Row,
    column: &'static str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, Wrong> {
    may(row, column, expected, read)?.ok_or_else(|| wrong(column, "", expected))
}

pub(crate) fn wrong(column: &'static str, found: &str, expected: &str) -> Wrong {
    const SHOWN: usize = 80;
    let found = found.chars().take(SHOWN).collect();
    Wrong { column, found, expected: expected.to_owned() }
}

/// Ids become the names of folders.
fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(plain) && id != "." && id != ".."
}

fn yes_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn above_zero(text: &str) -> Option<u64> {
    u64::from_str(text).ok().filter(|&n| n > 0)
}

/// Without `.` and `..`; `None` if a `..` climbs above the start. Links are
/// not looked at.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    let mut depth = 0u32;
    for part in path.components() {
        match part {
            Component::Prefix(_) | Component::RootDir => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                depth = depth.checked_sub(1)?;
                parts.pop();
            }
            Component::Normal(name) => {
                depth += 1;
                parts.push(name);
            }
        }
    }
    Some(parts)
}

/// DOIs separated by `;`. A DOI may itself hold one, so what is no DOI by
/// itself belongs to the DOI before it.
fn dois(text: &str) -> Option<Vec<Doi>> {
    let mut texts: Vec<String> = Vec::new();
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        match texts.last_mut() {
            Some(last) if Doi::new(part).is_none() => *last = format!("{last};{part}"),
            _ => texts.push(part.to_owned()),
        }
    }
    let mut dois: Vec<Doi> = texts.iter().map(|text| Doi::new(text)).collect::<Option<_>>()?;
    let mut seen = std::collections::BTreeSet::new();
    dois.retain(|doi| seen.insert(doi.clone()));
    (!dois.is_empty()).then_some(dois)
}
