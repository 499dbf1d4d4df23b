//! One identity per gene: the Ensembl id, held as a number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Set in the ids of the pseudo-autosomal copies on Y (`ENSGR…`).
const PAR_Y: u64 = 1 << 63;

/// An Ensembl human gene id, such as `ENSG00000136574` (GATA4).
///
/// Ids sort as their text does; the old `ENSGR…` ids of genes on the
/// pseudo-autosomal region of Y come last.
///
/// ```
/// use gf_corpus::GeneId;
///
/// let gata4: GeneId = "ENSG00000136574".parse()?;
/// assert_eq!(gata4.to_string(), "ENSG00000136574");
/// assert_eq!(GeneId::from_versioned("ENSG00000136574.17"), Some(gata4));
/// assert!("ENSG00000136574.17".parse::<GeneId>().is_err());
/// assert!("ENSMUSG00000021944".parse::<GeneId>().is_err());
/// assert!(gata4 < "ENSGR0000185960".parse()?);
/// # Ok::<(), gf_corpus::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GeneId(u64);

impl GeneId {
    /// Reads an id without a version; `None` for any other text.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let tail = text.strip_prefix("ENSG")?;
        let (flag, digits) = match tail.strip_prefix('R') {
            Some(digits) if digits.len() == 10 => (PAR_Y, digits),
            None if tail.len() == 11 => (0, tail),
            _ => return None,
        };
        let number = digits
            .bytes()
            .try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))?;
        Some(Self(flag | number))
    }

    /// Reads an id with or without a version (`.5`, or GENCODE's `.5_PAR_Y`).
    #[must_use]
    pub fn from_versioned(text: &str) -> Option<Self> {
        Self::new(text).or_else(|| {
            let (id, version) = text.split_once('.')?;
            let digits = version.strip_suffix("_PAR_Y").unwrap_or(version);
            let numbered = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            numbered.then(|| Self::new(id)).flatten()
        })
    }
}

impl fmt::Display for GeneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole vocabularies are written out to be hashed: digit by digit is quicker than padding.
        let (mut text, first) = match self.0 & PAR_Y {
            0 => (*b"ENSG00000000000", 4),
            _ => (*b"ENSGR0000000000", 5),
        };
        let mut rest = self.0 & !PAR_Y;
        for digit in text[first..].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for GeneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GeneId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text).ok_or_else(|| Error::GeneId { found: text.to_owned() })
    }
}

impl TryFrom<String> for GeneId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<GeneId> for String {
    fn from(id: GeneId) -> Self {
        id.to_string()
    }
}

/// What kind of gene it is, as far as this project tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Biotype {
    /// GENCODE `protein_coding`.
    ProteinCoding,
    /// GENCODE `miRNA`.
    MiRna,
    /// GENCODE `lncRNA`.
    LncRna,
    /// Any other GENCODE biotype.
    Other,
    /// An id that GENCODE does not list (any more), so nobody says.
    Unlisted,
}

impl Biotype {
    /// The kind of a GENCODE biotype name, or of `retired`, the table's word
    /// for ids that GENCODE has dropped.
    #[must_use]
    pub fn from_gencode(name: &str) -> Self {
        match name {
            "protein_coding" => Self::ProteinCoding,
            "miRNA" => Self::MiRna,
            "lncRNA" => Self::LncRna,
            "retired" => Self::Unlisted,
            _ => Self::Other,
        }
    }

    /// Every kind.
    const ALL: [Self; 5] =
        [Self::ProteinCoding, Self::MiRna, Self::LncRna, Self::Other, Self::Unlisted];

    /// Its name in tables of this crate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProteinCoding => "protein_coding",
            Self::MiRna => "miRNA",
            Self::LncRna => "lncRNA",
            Self::Other => "other",
            Self::Unlisted => "unlisted",
        }
    }

    /// The kind of such a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|biotype| biotype.name() == name)
    }

    /// Whether the paper's cell filter counts it.
    #[must_use]
    pub fn is_protein_coding(self) -> bool {
        self == Self::ProteinCoding
    }
}

/// A gene of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gene {
    /// Its identity.
    pub id: GeneId,
    /// Its name: the annotation's, or the file's for an id it does not list.
    pub symbol: String,
    /// Its kind.
    pub biotype: Biotype,
}
