//! The consolidated organs into which studies are grouped.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The organs, in the words of Geneformer's authors where those are public.
///
/// The first 27 are the consolidated organs which they list for their cancer
/// corpus (discussion 430 of the model's repository); heart, testis,
/// esophagus, decidua and placenta are labels of Genecorpus-30M. The full list
/// of Genecorpus-104M was not at hand: the remaining names are ours.
pub const ORGANS: [&str; 45] = [
    "brain",
    "immune",
    "breast",
    "large intestine",
    "lung",
    "liver",
    "kidney",
    "bone marrow",
    "pancreas",
    "skin",
    "stomach",
    "adipose",
    "eye",
    "muscle",
    "lymph node",
    "reproductive system",
    "abdomen",
    "peripheral nervous system",
    "nasal",
    "spinal cord",
    "nervous system unspecified",
    "unlabeled",
    "prostate",
    "small intestine",
    "adrenal",
    "mouth",
    "bone",
    "heart",
    "testis",
    "esophagus",
    "decidua",
    "placenta",
    "airway",
    "bladder",
    "gallbladder",
    "ovary",
    "pleura",
    "spleen",
    "thymus",
    "thyroid",
    "uterus",
    "vasculature",
    "yolk sac",
    "embryo",
    "other",
];

/// Other words for them.
const SYNONYMS: [(&str, &str); 46] = [
    ("blood", "immune"),
    ("pbmc", "immune"),
    ("cord blood", "immune"),
    ("immune system", "immune"),
    ("peripheral blood", "immune"),
    ("marrow", "bone marrow"),
    ("colon", "large intestine"),
    ("rectum", "large intestine"),
    ("cecum", "large intestine"),
    ("appendix", "large intestine"),
    ("colorectal", "large intestine"),
    ("duodenum", "small intestine"),
    ("jejunum", "small intestine"),
    ("ileum", "small intestine"),
    ("mammary gland", "breast"),
    ("fat", "adipose"),
    ("adipose tissue", "adipose"),
    ("retina", "eye"),
    ("cornea", "eye"),
    ("skeletal muscle", "muscle"),
    ("nose", "nasal"),
    ("adrenal gland", "adrenal"),
    ("oral cavity", "mouth"),
    ("tongue", "mouth"),
    ("gingiva", "mouth"),
    ("salivary gland", "mouth"),
    ("oesophagus", "esophagus"),
    ("trachea", "airway"),
    ("bronchus", "airway"),
    ("urinary bladder", "bladder"),
    ("bladder organ", "bladder"),
    ("gall bladder", "gallbladder"),
    ("endometrium", "uterus"),
    ("blood vessel", "vasculature"),
    ("aorta", "vasculature"),
    ("artery", "vasculature"),
    ("cortex of brain", "brain"),
    ("cerebral cortex", "brain"),
    ("cerebellum", "brain"),
    ("prostate gland", "prostate"),
    ("thyroid gland", "thyroid"),
    ("myocardium", "heart"),
    ("left ventricle", "heart"),
    ("testes", "testis"),
    ("unknown", "unlabeled"),
    ("unlabelled", "unlabeled"),
];

/// One of [`ORGANS`], held as its place there.
///
/// ```
/// use gf_corpus::Organ;
///
/// let organ: Organ = "Colon".parse()?;
/// assert_eq!(organ.to_string(), "large intestine");
/// assert!("elbow".parse::<Organ>().is_err());
/// # Ok::<(), gf_corpus::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Organ(u8);

impl Organ {
    /// An organ by its name or another word for it; case, `_` and `-` do not matter.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || "_-".contains(c))
            .filter(|w| !w.is_empty())
            .collect();
        let name = words.join(" ").to_lowercase();
        let other = SYNONYMS.iter().find(|(word, _)| *word == name).map(|&(_, organ)| organ);
        let name = other.unwrap_or(&name);
        ORGANS.iter().position(|organ| *organ == name).map(|place| Self(place as u8))
    }

    /// The name in [`ORGANS`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ORGANS[usize::from(self.0)]
    }
}

impl fmt::Display for Organ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Organ {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text).ok_or_else(|| Error::Organ { found: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for Organ {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Organ> for String {
    fn from(organ: Organ) -> Self {
        organ.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_synonym_leads_to_an_organ() {
        for (word, organ) in SYNONYMS {
            assert!(!ORGANS.contains(&word), "{word} is an organ itself");
            assert_eq!(Organ::new(word), Organ::new(organ), "{word}");
            assert!(Organ::new(word).is_some(), "{word}");
        }
    }
}
