//! Which gene has which token.
//!
//! The V2 table is fully determined by its sorted gene ids: four special tokens, then the genes in
//! ascending order. On disk it is the reference's `token_dictionary`, a pickle, or the same as
//! JSON or a table of two columns.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use gf_corpus::{GeneId, pickle::Value, read_dictionary};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::{Error, Result},
    output::write_beside,
    token::{SpecialTokens, TokenId},
};

const HEADER: &str = "key\ttoken_id";
/// Bytes of a line of the table, as a rule.
const LINE: usize = 24;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A one-to-one table of gene ids and tokens, with the special tokens.
///
/// ```
/// use gf_tokenize::{TokenId, Vocabulary};
/// let genes = ["ENSG00000000005", "ENSG00000000003"].map(|id| id.parse().unwrap());
/// let vocabulary = Vocabulary::from_genes(genes);
/// assert_eq!(vocabulary.id(genes[1]), Some(TokenId(4)));
/// assert_eq!(vocabulary.gene(TokenId(5)), Some(genes[0]));
/// assert_eq!(vocabulary.name(TokenId(2)).as_deref(), Some("<cls>"));
/// assert_eq!(vocabulary.len(), 6);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    special: SpecialTokens,
    /// By token; `None` for the special ones.
    genes: Vec<Option<GeneId>>,
    tokens: foldhash::HashMap<GeneId, TokenId>,
    content_hash: String,
}

impl Vocabulary {
    /// The V2 layout over these genes: `<pad>` 0, `<mask>` 1, `<cls>` 2, `<eos>` 3, then the genes in
    /// ascending order from 4. Repeated genes count once.
    pub fn from_genes(genes: impl IntoIterator<Item = GeneId>) -> Self {
        let mut genes: Vec<GeneId> = genes.into_iter().collect();
        genes.sort_unstable();
        genes.dedup();
        let special = SpecialTokens::V2.named().map(|_| None);
        Self::new(SpecialTokens::V2, special.chain(genes.into_iter().map(Some)).collect())
    }

    /// Reads a vocabulary as it comes: the reference's token dictionary (a pickle), the same as a
    /// JSON object, or a table as [`Vocabulary::read_tsv`] takes. The content decides, not the name;
    /// each may be gzipped.
    ///
    /// # Errors
    /// The file cannot be read; an entry is not a gene id or special token with a number; a key or
    /// number repeats; the numbers leave a gap; `<pad>` or `<mask>` is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let Some(entries) = read_dictionary(path)? else { return Self::read_tsv(path) };
        let mut draft = Draft::default();
        for (idx, (key, value)) in entries.into_iter().enumerate() {
            let entry = idx + 1;
            let bad_entry = || Error::VocabularyEntry {
                path: path.into(),
                entry,
                found: format!("{key:?}: {value:?}"),
            };
            let token = match value {
                Value::Int(token) => u32::try_from(token).map_err(|_| bad_entry())?,
                _ => return Err(bad_entry()),
            };
            let Some(is_new) = draft.add(&key, TokenId(token)) else { return Err(bad_entry()) };
            if !is_new {
                return Err(Error::VocabularyRepeat { path: path.into(), line: entry, key, token });
            }
        }
        draft.finish(path)
    }

    /// Reads a table with the header `key<TAB>token_id`, gzipped or plain.
    ///
    /// # Errors
    /// The file cannot be read; a line is not a gene id or special token with a number; a key or
    /// number repeats; the numbers leave a gap; `<pad>` or `<mask>` is missing.
    pub fn read_tsv(path: &Path) -> Result<Self> {
        let mut draft = Draft::default();
        for (idx, line) in open_lines(path)?.enumerate() {
            let line = line.map_err(|source| io_error(path, source))?;
            match idx {
                0 if line == HEADER => {}
                0 => return Err(Error::VocabularyHeader { path: path.into(), found: line }),
                _ => draft.add_line(path, idx + 1, &line)?,
            }
        }
        draft.finish(path)
    }

    /// Writes the table in the order of the tokens, uncompressed, in place of any file of that name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_tsv(&self, path: &Path) -> Result<()> {
        write_beside(path, |file| {
            writeln!(file, "{HEADER}")?;
            file.write_all(self.table().as_bytes())
        })
    }

    /// The token of a gene.
    pub fn id(&self, gene: GeneId) -> Option<TokenId> {
        self.tokens.get(&gene).copied()
    }

    /// The gene of a token; none for special tokens and numbers beyond the table.
    pub fn gene(&self, token: TokenId) -> Option<GeneId> {
        self.genes.get(token.index()).copied().flatten()
    }

    /// The key of a token as it stands in the table: a gene id, or a name such as `<cls>`.
    pub fn name(&self, token: TokenId) -> Option<String> {
        let special = self.special.named().find(|&(_, id)| id == token);
        special
            .map(|(name, _)| name.to_owned())
            .or_else(|| self.gene(token).map(|gene| gene.to_string()))
    }

    /// The genes with their tokens, in the order of the tokens.
    pub fn genes(&self) -> impl Iterator<Item = (GeneId, TokenId)> {
        let numbered = (0..).map(TokenId).zip(&self.genes);
        numbered.filter_map(|(token, gene)| Some(((*gene)?, token)))
    }

    /// Number of tokens, special ones included: the model's `vocab_size`.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.genes.len()
    }

    /// The tokens that are not genes.
    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// XXH3-128 of the table's lines in the order of the tokens, 32 hexadecimal digits.
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    fn new(special: SpecialTokens, genes: Vec<Option<GeneId>>) -> Self {
        let mut vocabulary = Self {
            special,
            genes,
            tokens: foldhash::HashMap::default(),
            content_hash: String::new(),
        };
        vocabulary.tokens = vocabulary.genes().collect();
        vocabulary.content_hash = format!("{:032x}", xxh3_128(vocabulary.table().as_bytes()));
        vocabulary
    }

    fn table(&self) -> String {
        let mut lines = String::with_capacity(LINE * self.genes.len());
        for (token, gene) in (0..).map(TokenId).zip(&self.genes) {
            // Writing to a text cannot fail.
            let _ = match gene {
                Some(gene) => writeln!(lines, "{gene}\t{token}"),
                None => self.name(token).map_or(Ok(()), |name| writeln!(lines, "{name}\t{token}")),
            };
        }
        lines
    }
}

/// A vocabulary while its lines are read.
#[derive(Default)]
struct Draft {
    special: HashMap<&'static str, TokenId>,
    genes: foldhash::HashMap<GeneId, TokenId>,
    taken: foldhash::HashMap<TokenId, Option<GeneId>>,
}

impl Draft {
    /// Adds a line of a table.
    fn add_line(&mut self, path: &Path, line: usize, text: &str) -> Result<()> {
        let bad_line = || Error::VocabularyLine { path: path.into(), line, found: text.into() };
        let (key, token) = text.split_once('\t').ok_or_else(bad_line)?;
        let token = TokenId(token.parse().map_err(|_| bad_line())?);
        match self.add(key, token).ok_or_else(bad_line)? {
            true => Ok(()),
            false => Err(Error::VocabularyRepeat {
                path: path.into(),
                line,
                key: key.into(),
                token: token.0,
            }),
        }
    }

    /// Adds a key with its token; whether both are new, or nothing if the key is none.
    fn add(&mut self, key: &str, token: TokenId) -> Option<bool> {
        let (gene, repeated) = match special_name(key) {
            Some(name) => (None, self.special.insert(name, token).is_some()),
            None => {
                let gene = GeneId::new(key)?;
                (Some(gene), self.genes.insert(gene, token).is_some())
            }
        };
        let taken = self.taken.insert(token, gene).is_some();
        Some(!repeated && !taken)
    }

    fn finish(self, path: &Path) -> Result<Vocabulary> {
        let required = |name| {
            let token = self.special.get(name).copied();
            token.ok_or_else(|| Error::MissingSpecial { path: path.into(), name })
        };
        let special = SpecialTokens {
            pad: required(SpecialTokens::PAD)?,
            mask: required(SpecialTokens::MASK)?,
            cls: self.special.get(SpecialTokens::CLS).copied(),
            eos: self.special.get(SpecialTokens::EOS).copied(),
        };
        let n_tokens = self.taken.len();
        let genes: Result<Vec<_>> = (0..n_tokens)
            .map(|idx| {
                let gene = self.taken.get(&TokenId(idx as u32)).copied();
                gene.ok_or_else(|| Error::VocabularyGap {
                    path: path.into(),
                    missing: idx,
                    n_tokens,
                })
            })
            .collect();
        Ok(Vocabulary::new(special, genes?))
    }
}

fn special_name(key: &str) -> Option<&'static str> {
    [SpecialTokens::PAD, SpecialTokens::MASK, SpecialTokens::CLS, SpecialTokens::EOS]
        .into_iter()
        .find(|&name| name == key)
}

fn open_lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let mut file = BufReader::new(File::open(path).map_err(|source| io_error(path, source))?);
    let start = file.fill_buf().map_err(|source| io_error(path, source))?;
    let lines: Box<dyn BufRead> = match start.starts_with(GZIP_MAGIC) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    };
    Ok(lines.lines())
}

fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.into(), source }
}
