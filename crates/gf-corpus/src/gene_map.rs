//! Whose word counts for a gene's name: the shipped annotation's, or a map's.

use std::path::Path;

use foldhash::{HashMap, HashMapExt, HashSet};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    annotation::Annotation,
    dictionary::{read_dictionary, unfit},
    error::Result,
    gene::GeneId,
    pickle::Value,
    source::Lines,
};

/// Head of the id column of a map in text, if it has a head.
const HEAD: &str = "ensembl_id";

/// How the rows of a file find their genes.
///
/// ```
/// use gf_corpus::GeneMap;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("map.tsv");
/// std::fs::write(&path, "name\tensembl_id\nmy gene\tENSG00000136574\n")?;
/// let GeneMap::Given(map) = GeneMap::open(&path)? else { unreachable!() };
/// assert_eq!(map.get("my gene"), Some("ENSG00000136574".parse()?));
/// assert_eq!(map.get("GATA4"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GeneMap {
    /// By the annotation that ships with the crate.
    #[default]
    Shipped,
    /// By a map of names, and by nothing else.
    Given(GivenMap),
}

/// Names and the ids they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenMap {
    ids: HashMap<String, GeneId>,
    /// The reference writes its keys in capitals and looks names up so.
    in_capitals: bool,
    /// Whether an Ensembl id is found with a version behind it.
    with_versions: bool,
}

impl GeneMap {
    /// Reads the reference's mapping dictionary (a pickle, or the same as JSON),
    /// or a text of `name<TAB>ensembl_id` lines, plain or gzip.
    ///
    /// # Errors
    /// What is wrong with the file, with the line or the entry.
    pub fn open(path: &Path) -> Result<Self> {
        let map = match read_dictionary(path)? {
            Some(entries) => GivenMap::from_entries(path, entries)?,
            None => GivenMap::from_text(path)?,
        };
        Ok(Self::Given(map))
    }

    /// What the reference's tokenizer goes by: its mapping dictionary (a pickle,
    /// or the same as JSON), of which only entries for `tokens` count, or without
    /// one the ids of these tokens themselves. Unlike [`open`](Self::open) it
    /// finds no id with a version behind it.
    ///
    /// # Errors
    /// What is wrong with the file or the entry.
    pub fn reference(
        mapping: Option<&Path>,
        tokens: impl IntoIterator<Item = GeneId>,
    ) -> Result<Self> {
        let known: HashSet<GeneId> = tokens.into_iter().collect();
        let mut ids: HashMap<String, GeneId> = match mapping.map(Self::open).transpose()? {
            Some(Self::Given(map)) => map.ids,
            _ => known.iter().map(|&id| (id.to_string(), id)).collect(),
        };
        ids.retain(|_, id| known.contains(id));
        Ok(Self::Given(GivenMap { ids, in_capitals: true, with_versions: false }))
    }

    /// A hash of what it says, so that files read with another map or another
    /// release of the shipped table are told apart.
    pub(crate) fn hash(&self) -> u128 {
        let Self::Given(map) = self else { return Annotation::shipped_hash() };
        let pair = |(name, id): (&String, &GeneId)| xxh3_128(format!("{name}\0{id}").as_bytes());
        // A sum does not depend on the order of the names.
        let start = u128::from(map.in_capitals) + 2 * u128::from(map.with_versions);
        map.ids.iter().map(pair).fold(start, u128::wrapping_add)
    }

    /// Keeps only entries whose id the reference's token dictionary (a
    /// pickle) knows, as its tokenizer does.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn restricted_to(self, tokens: &Path) -> Result<Self> {
        let Self::Given(mut map) = self else { return Ok(self) };
        let no_dictionary = || unfit(tokens, "the file", "another format".to_owned(), "a pickle");
        let entries = read_dictionary(tokens)?.ok_or_else(no_dictionary)?;
        let known: HashSet<GeneId> =
            entries.iter().filter_map(|(name, _)| GeneId::new(name)).collect();
        map.ids.retain(|_, id| known.contains(id));
        Ok(Self::Given(map))
    }
}

impl GivenMap {
    /// The id of a name; an Ensembl id's version may stand behind it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<GeneId> {
        let capitals = self.in_capitals.then(|| name.to_uppercase());
        let name = capitals.as_deref().unwrap_or(name);
        let bare = || self.ids.get(&GeneId::from_versioned(name)?.to_string());
        self.ids.get(name).or_else(|| bare().filter(|_| self.with_versions)).copied()
    }

    /// Whether it has this name, letter by letter.
    pub(crate) fn has_exactly(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// How many names it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn from_entries(path: &Path, entries: Vec<(String, Value)>) -> Result<Self> {
        let mut ids = HashMap::with_capacity(entries.len());
        for (name, value) in entries {
            let id = match &value {
                Value::Str(text) => GeneId::new(text),
                _ => None,
            };
            let no_id = || unfit(path, &name, format!("{value:?}"), "an Ensembl human gene id");
            let id = id.ok_or_else(no_id)?;
            ids.insert(name, id);
        }
        Ok(Self { ids, in_capitals: true, with_versions: true })
    }

    fn from_text(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut ids = HashMap::new();
        while lines.next_line()?.is_some() {
            let Some((name, id)) = lines.text()?.split_once('\t') else {
                return Err(lines.unexpected("a name, a tab and an Ensembl id".to_owned()));
            };
            if id == HEAD && lines.number() == 1 {
                continue;
            }
            let Some(id) = GeneId::from_versioned(id) else {
                return Err(lines.unexpected("an Ensembl human gene id behind the tab".to_owned()));
            };
            if ids.insert(name.to_owned(), id).is_some_and(|old| old != id) {
                return Err(lines.unexpected("one id for each name".to_owned()));
            }
        }
        Ok(Self { ids, in_capitals: false, with_versions: true })
    }
}
