//! Whose word counts for a gene's name: the shipped annotation's, or a map's.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_128;

use crate::{
    annotation::Annotation,
    error::{Error, Result},
    gene::GeneId,
    pickle::{self, Value},
    source::{Lines, open_text},
};

/// Head of the id column of a map in text, if it has a head.
const HEAD: &str = "ensembl_id";

/// How a pickled dictionary starts: protocol 2 or later, which no UTF-8 text
/// does, and protocols 0 and 1.
const PICKLED: [&[u8]; 3] = [b"\x80", b"(dp", b"}q\0"];

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
}

impl GeneMap {
    /// Reads the reference's mapping dictionary (a pickle), or a text of
    /// `name<TAB>ensembl_id` lines, plain or gzip.
    ///
    /// # Errors
    /// What is wrong with the file, with the line or the entry.
    pub fn open(path: &Path) -> Result<Self> {
        let map = if is_pickle(path)? {
            GivenMap::from_pickle(path)?
        } else {
            GivenMap::from_text(path)?
        };
        Ok(Self::Given(map))
    }

    /// A hash of what it says, so that files read with another map or another
    /// release of the shipped table are told apart.
    pub(crate) fn hash(&self) -> u128 {
        let Self::Given(map) = self else { return Annotation::shipped_hash() };
        let pair = |(name, id): (&String, &GeneId)| xxh3_128(format!("{name}\0{id}").as_bytes());
        // A sum does not depend on the order of the names.
        map.ids.iter().map(pair).fold(u128::from(map.in_capitals), u128::wrapping_add)
    }

    /// Keeps only entries whose id the reference's token dictionary (a
    /// pickle) knows, as its tokenizer does.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn restricted_to(self, tokens: &Path) -> Result<Self> {
        let Self::Given(mut map) = self else { return Ok(self) };
        let known: HashSet<GeneId> =
            entries(tokens)?.iter().filter_map(|(name, _)| GeneId::new(name)).collect();
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
        self.ids.get(name).or_else(bare).copied()
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

    fn from_pickle(path: &Path) -> Result<Self> {
        let mut ids = HashMap::new();
        for (name, value) in entries(path)? {
            let id = match &value {
                Value::Str(text) => GeneId::new(text),
                _ => None,
            };
            let unfit = || encoding(path, &name, format!("{value:?}"), "an Ensembl human gene id");
            let id = id.ok_or_else(unfit)?;
            ids.insert(name, id);
        }
        Ok(Self { ids, in_capitals: true })
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
        Ok(Self { ids, in_capitals: false })
    }
}

fn is_pickle(path: &Path) -> Result<bool> {
    let mut text = open_text(path)?;
    let head = text.fill_buf().map_err(Error::io(path))?;
    Ok(PICKLED.iter().any(|start| head.starts_with(start)))
}

/// The entries of a pickled dictionary with text as keys.
fn entries(path: &Path) -> Result<Vec<(String, Value)>> {
    let Value::Dict(pairs) = pickle::read(path)? else {
        return Err(encoding(path, "the pickle", "another value".to_owned(), "a dictionary"));
    };
    let entry = |(key, value)| match key {
        Value::Str(name) => Ok((name, value)),
        other => Err(encoding(path, "a key", format!("{other:?}"), "text")),
    };
    pairs.into_iter().map(entry).collect()
}

fn encoding(path: &Path, object: &str, found: String, expected: &str) -> Error {
    let (object, expected) = (object.to_owned(), expected.to_owned());
    let found = found.chars().take(80).collect();
    Error::Encoding { path: path.to_owned(), object, found, expected }
}
