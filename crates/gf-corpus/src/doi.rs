//! One identity per publication: the DOI in one spelling.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest text looked at, in bytes; the longest DOIs known are far shorter.
const MAX_TEXT: usize = 2048;
/// What may stand before a DOI, in lower case.
const PREFIXES: [&str; 13] = [
    "https://",
    "http://",
    "www.",
    "dx.doi.org/",
    "doi.org/",
    "info:doi/",
    "urn:doi:",
    "doi:",
    "doi=",
    "doi ",
    "doi/",
    "biorxiv.org/content/",
    "medrxiv.org/content/",
];
/// Views of one preprint that bioRxiv and medRxiv append to its DOI.
const VIEWS: [&str; 6] =
    [".full.pdf+html", ".full.pdf", ".full-text", ".full", ".abstract", ".article-info"];

/// A digital object identifier, lower case and without what people put around it.
///
/// Forms of one DOI are equal: URLs, `doi:` and the like, case, percent
/// escapes, surrounding quotes and brackets, trailing punctuation, and the
/// version of a bioRxiv or medRxiv preprint. Escapes are decoded until none
/// is left, so a DOI whose own text holds an escape is not told apart.
///
/// ```
/// use gf_corpus::Doi;
///
/// let doi: Doi = "https://doi.org/10.1038/S41586-023-06139-9.".parse()?;
/// assert_eq!(doi.to_string(), "10.1038/s41586-023-06139-9");
/// assert_eq!(doi, "doi:10.1038/s41586-023-06139-9".parse()?);
/// assert!("PMC10949956".parse::<Doi>().is_err());
/// # Ok::<(), gf_corpus::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Doi(String);

impl Doi {
    /// Reads any of the forms; `None` if what is left is not `10.NNNN/suffix`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut text = text.to_ascii_lowercase();
        // Every step that changes the text shortens it, so this ends.
        loop {
            let next = peel(&text);
            if next == text {
                return is_valid(&text).then_some(Self(text));
            }
            text = next;
        }
    }

    /// The DOI's text, from `10.` on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Doi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Doi {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = || text.chars().take(80).collect();
        Self::new(text).ok_or_else(|| Error::Doi { found: found() })
    }
}

impl TryFrom<String> for Doi {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Doi> for String {
    fn from(doi: Doi) -> Self {
        doi.0
    }
}

/// One layer less around the DOI.
fn peel(text: &str) -> String {
    let inner = trim(text);
    if inner.starts_with("http")
        && let Some((address, _query)) = inner.split_once('?')
    {
        return address.to_owned();
    }
    if let Some(rest) = PREFIXES.iter().find_map(|prefix| inner.strip_prefix(prefix)) {
        return rest.to_owned();
    }
    decoded(inner).unwrap_or_else(|| unversioned(inner).to_owned())
}

/// Without blanks, quotes, leading brackets and trailing punctuation; a
/// closing bracket goes only if nothing in the text opens it.
fn trim(text: &str) -> &str {
    let quote = |c: char| c.is_whitespace() || "\"'`“”‘’«»".contains(c);
    let mut text = text.trim_matches(quote).trim_start_matches(['(', '[', '{', '<']);
    text = text.trim_end_matches(['.', ',', ';', ':', '/']);
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')] {
        let unopened = text.matches(close).count() > text.matches(open).count();
        if let Some(shorter) = text.strip_suffix(close).filter(|_| unopened) {
            return shorter;
        }
    }
    text
}

/// Percent escapes turned into what they stand for; `None` if there are none.
fn decoded(text: &str) -> Option<String> {
    let hex = |pair: &[u8]| {
        let digits = pair.iter().all(u8::is_ascii_hexdigit).then(|| std::str::from_utf8(pair))?;
        u8::from_str_radix(digits.ok()?, 16).ok()
    };
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(hex);
        out.push(escape.unwrap_or(byte).to_ascii_lowercase());
        at += if escape.is_some() { 3 } else { 1 };
    }
    (out.len() < bytes.len()).then(|| String::from_utf8(out).ok()).flatten()
}

/// A preprint's DOI without view and version: Cold Spring Harbor's journals
/// share the registrant, but only its preprints begin with a digit.
fn unversioned(text: &str) -> &str {
    let preprint =
        text.strip_prefix("10.1101/").is_some_and(|s| s.starts_with(|c: char| c.is_ascii_digit()));
    if !preprint {
        return text;
    }
    if let Some(shorter) = VIEWS.iter().find_map(|view| text.strip_suffix(view)) {
        return shorter;
    }
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let versioned = stem.len() < text.len();
    match stem.strip_suffix('v').filter(|_| versioned) {
        Some(stem) if stem.ends_with(|c: char| c == '.' || c.is_ascii_digit()) => stem,
        _ => text,
    }
}

/// `10.`, four to nine digits, perhaps subdivisions, a slash and a suffix.
fn is_valid(text: &str) -> bool {
    let Some((registrant, suffix)) = text.strip_prefix("10.").and_then(|t| t.split_once('/'))
    else {
        return false;
    };
    let mut parts = registrant.split('.');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let first = parts.next().is_some_and(|part| digits(part) && (4..=9).contains(&part.len()));
    let strange = |c: char| c.is_whitespace() || c.is_control();
    first && parts.all(digits) && !suffix.is_empty() && !suffix.contains(strange)
}
