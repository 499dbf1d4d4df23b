//! The shipped table of human genes, and the way from any name to an id.
//!
//! `HGNC:` and `NCBI:` (or `GeneID:`, `ENTREZ:`, `ncbigene:`) before a number,
//! in any case, make it an id of theirs. Any other name is tried as a current
//! symbol, then as a previous one, then as an alias; the first kind that
//! knows it decides. Where several genes share it,
//! the one that holds the approved (HGNC) entry wins if it is the only one;
//! otherwise the name is ambiguous and nobody guesses. `data/README.md` says
//! where the table comes from.

use std::sync::OnceLock;

use foldhash::HashMapExt;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::{Error, Result},
    gene::{Biotype, Gene, GeneId},
};

const TABLE: &str = include_str!(concat!(env!("OUT_DIR"), "/genes.tsv"));
const HEADER: &str = "ensembl_id\tsymbol\tbiotype\tprevious\taliases\tncbi\thgnc\tretired";
const N_COLUMNS: usize = 8;
/// About as many as the table lists.
const N_GENES: usize = 80_000;
/// What may stand before an NCBI gene id, in any case.
const NCBI_PREFIXES: [&str; 4] = ["NCBI", "GeneID", "ENTREZ", "ncbigene"];

/// By which road a row of a file came to its gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// An Ensembl id that the annotation lists.
    Ensembl,
    /// An Ensembl id that Ensembl has given up since; the gene's id of today
    /// stands for it.
    Retired,
    /// A well-formed Ensembl id that it does not list (kept under that id).
    Unlisted,
    /// A current symbol.
    Symbol,
    /// A previous symbol.
    Previous,
    /// An alias.
    Alias,
    /// An HGNC id, `HGNC:11998`.
    Hgnc,
    /// An NCBI gene id, `NCBI:7157`, or a bare number in a file of such.
    Ncbi,
    /// A name that was made unique (`TBCE.1`, `TBCE-1`) beside its original.
    Uniquified,
    /// An entry of the map that was given in place of the annotation.
    Map,
}

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// One gene.
    Found(GeneId, Route),
    /// Several genes share the name.
    Ambiguous,
    /// No gene has it.
    Unknown,
}

/// The names of one kind.
type Names = foldhash::HashMap<&'static str, Owner>;

/// What a name of one kind stands for.
#[derive(Clone, Copy)]
enum Owner {
    One { gene: u32, approved: bool },
    Many { approved: bool },
}

/// A gene that the annotation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedGene {
    /// Its identity.
    pub id: GeneId,
    /// Its name.
    pub symbol: &'static str,
    /// Its kind.
    pub biotype: Biotype,
}

impl From<&ListedGene> for Gene {
    fn from(listed: &ListedGene) -> Self {
        let ListedGene { id, symbol, biotype } = *listed;
        Self { id, symbol: symbol.to_owned(), biotype }
    }
}

/// Human genes with their names, sorted by id.
///
/// ```
/// use gf_corpus::{Annotation, Resolution, Route};
///
/// let table = Annotation::shipped()?;
/// let gata4 = "ENSG00000136574".parse()?;
/// assert_eq!(table.resolve("GATA4"), Resolution::Found(gata4, Route::Symbol));
/// assert!(table.gene(gata4).unwrap().biotype.is_protein_coding());
/// # Ok::<(), gf_corpus::Error>(())
/// ```
pub struct Annotation {
    genes: Vec<ListedGene>,
    /// Places of the genes by id.
    places: foldhash::HashMap<GeneId, u32>,
    /// Genes of the ids that they had before.
    retired: foldhash::HashMap<GeneId, u32>,
    /// Only files that do not go by Ensembl ids need them.
    names: OnceLock<AllNames>,
}

/// The names of all kinds.
#[derive(Default)]
struct AllNames {
    current: Names,
    previous: Names,
    aliases: Names,
    hgnc: Names,
    ncbi: Names,
}

impl Annotation {
    /// The table that ships with the crate, read once.
    ///
    /// # Errors
    /// [`Error::Annotation`] if the table inside the binary is damaged.
    pub fn shipped() -> Result<&'static Self> {
        static SHIPPED: OnceLock<Result<Annotation, String>> = OnceLock::new();
        SHIPPED
            .get_or_init(|| Self::parse(TABLE).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|reason| Error::Annotation { line: 0, reason: reason.clone() })
    }

    /// All genes, sorted by id.
    #[must_use]
    pub fn genes(&self) -> &[ListedGene] {
        &self.genes
    }

    /// A hash of the table that ships with the crate.
    pub(crate) fn shipped_hash() -> u128 {
        xxh3_128(TABLE.as_bytes())
    }

    /// The gene of an id.
    #[must_use]
    pub fn gene(&self, id: GeneId) -> Option<&ListedGene> {
        self.places.get(&id).map(|&gene_idx| &self.genes[gene_idx as usize])
    }

    /// The gene whose id this was before Ensembl gave it up, for example the
    /// `CCL5` of GRCh37, or whose id it is on an alternate sequence.
    ///
    /// ```
    /// let table = gf_corpus::Annotation::shipped()?;
    /// let ccl5 = table.successor("ENSG00000161570".parse()?).unwrap();
    /// assert_eq!((ccl5.symbol, ccl5.id), ("CCL5", "ENSG00000271503".parse()?));
    /// # Ok::<(), gf_corpus::Error>(())
    /// ```
    #[must_use]
    pub fn successor(&self, retired: GeneId) -> Option<&ListedGene> {
        self.retired.get(&retired).map(|&gene_idx| &self.genes[gene_idx as usize])
    }

    /// All ids that Ensembl has given up, each with the gene's id of today.
    pub fn retired(&self) -> impl Iterator<Item = (GeneId, GeneId)> {
        self.retired.iter().map(|(&old, &gene_idx)| (old, self.genes[gene_idx as usize].id))
    }

    /// The gene of a name: an id with `HGNC:` or `NCBI:` before it, or a
    /// current symbol, then previous, then alias, in the table's own capitals.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Resolution {
        if let Some((prefix, number)) = name.split_once(':') {
            if prefix.eq_ignore_ascii_case("HGNC") {
                return self.lookup(&self.names().hgnc, number, Route::Hgnc);
            }
            if NCBI_PREFIXES.iter().any(|known| prefix.eq_ignore_ascii_case(known)) {
                return self.ncbi(number);
            }
        }
        let AllNames { current, previous, aliases, .. } = self.names();
        let kinds =
            [(current, Route::Symbol), (previous, Route::Previous), (aliases, Route::Alias)];
        let mut found = kinds.into_iter().map(|(names, route)| self.lookup(names, name, route));
        found.find(|found| *found != Resolution::Unknown).unwrap_or(Resolution::Unknown)
    }

    /// The gene of an NCBI gene id, the bare number.
    pub(crate) fn ncbi(&self, number: &str) -> Resolution {
        self.lookup(&self.names().ncbi, number, Route::Ncbi)
    }

    fn names(&self) -> &AllNames {
        self.names.get_or_init(|| AllNames::of(TABLE))
    }

    fn lookup(&self, names: &Names, name: &str, route: Route) -> Resolution {
        match names.get(name) {
            Some(Owner::One { gene, .. }) => {
                Resolution::Found(self.genes[*gene as usize].id, route)
            }
            Some(Owner::Many { .. }) => Resolution::Ambiguous,
            None => Resolution::Unknown,
        }
    }

    fn parse(text: &'static str) -> Result<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(Error::Annotation { line: 1, reason: format!("expected {HEADER:?}") });
        }
        let mut table = Self {
            genes: Vec::with_capacity(N_GENES),
            places: foldhash::HashMap::with_capacity(N_GENES),
            retired: foldhash::HashMap::default(),
            names: OnceLock::new(),
        };
        for (line_idx, line) in lines.enumerate() {
            table.add(line).map_err(|reason| Error::Annotation { line: line_idx + 2, reason })?;
        }
        Ok(table)
    }

    fn add(&mut self, line: &'static str) -> Result<(), String> {
        let short = || format!("expected {N_COLUMNS} columns");
        let (id, rest) = cell(line).ok_or_else(short)?;
        let (symbol, rest) = cell(rest).ok_or_else(short)?;
        let (biotype, rest) = cell(rest).ok_or_else(short)?;
        // Nine in ten end so, and nothing is searched.
        let (_, retired) = match rest.ends_with('\t') {
            true => ("", ""),
            false => rest.rsplit_once('\t').ok_or_else(short)?,
        };
        let id: GeneId = id.parse().map_err(|e: Error| e.to_string())?;
        if self.genes.last().is_some_and(|last| last.id >= id) {
            return Err(format!("{id} is out of order"));
        }
        let gene = u32::try_from(self.genes.len()).map_err(|e| e.to_string())?;
        for old in retired.split('|').filter(|old| !old.is_empty()) {
            let old: GeneId = old.parse().map_err(|e: Error| e.to_string())?;
            if self.retired.insert(old, gene).is_some() {
                return Err(format!("{old} stands for two genes"));
            }
        }
        let biotype = Biotype::from_gencode(biotype);
        self.places.insert(id, gene);
        self.genes.push(ListedGene { id, symbol, biotype });
        Ok(())
    }
}

impl AllNames {
    /// Those of a table whose lines have been checked.
    fn of(text: &'static str) -> Self {
        let mut names = Self::default();
        for (gene, line) in (0..).zip(text.lines().skip(1)) {
            let Some([_, symbol, _, previous, aliases, ncbi, hgnc, _]) = cells(line) else {
                continue;
            };
            let approved = !hgnc.is_empty();
            for (kind, words) in [
                (&mut names.current, symbol),
                (&mut names.previous, previous),
                (&mut names.aliases, aliases),
                (&mut names.ncbi, ncbi),
                (&mut names.hgnc, hgnc),
            ] {
                words.split('|').for_each(|word| claim(kind, word, gene, approved));
            }
        }
        names
    }
}

/// The first cell of a line, and the rest. Cells are so short that byte by byte is quickest.
fn cell(line: &str) -> Option<(&str, &str)> {
    let end = line.bytes().position(|byte| byte == b'\t')?;
    Some((&line[..end], &line[end + 1..]))
}

/// The cells of a line, if there are as many as the table has columns.
fn cells(line: &str) -> Option<[&str; N_COLUMNS]> {
    let mut cells = line.split('\t');
    let mut found = [""; N_COLUMNS];
    for place in &mut found {
        *place = cells.next()?;
    }
    cells.next().is_none().then_some(found)
}

/// Enters a gene's claim on a name; an approved claim beats those that are not.
fn claim(names: &mut Names, name: &'static str, gene: u32, approved: bool) {
    if name.is_empty() {
        return;
    }
    let claimed = Owner::One { gene, approved };
    names
        .entry(name)
        .and_modify(|owner| {
            let (Owner::One { approved: held, .. } | Owner::Many { approved: held }) = *owner;
            *owner = match (held, approved) {
                (false, true) => claimed,
                (true, false) => *owner,
                _ => Owner::Many { approved },
            };
        })
        .or_insert(claimed);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Resolution) {
        assert_eq!(Annotation::shipped().unwrap().resolve(name), expected, "{name}");
    }

    fn found(id: &str, route: Route) -> Resolution {
        Resolution::Found(id.parse().unwrap(), route)
    }

    #[test]
    fn names_find_their_gene() {
        check("TP53", found("ENSG00000141510", Route::Symbol));
        check("MT-CO1", found("ENSG00000198804", Route::Symbol));
        check("MATR3", found("ENSG00000015479", Route::Symbol));
        check("MTRNR2L8", found("ENSG00000255823", Route::Symbol));
        check("AMY1", Resolution::Ambiguous);
        check("MKI67IP", found("ENSG00000155438", Route::Previous));
        check("CD20", found("ENSG00000156738", Route::Previous));
        check("HER2", found("ENSG00000141736", Route::Alias));
        check("OCT4", Resolution::Ambiguous);
        check("RP11-1143G9.4", found("ENSG00000257764", Route::Previous));
        check("HGNC:11998", found("ENSG00000141510", Route::Hgnc));
        check("hgnc:11998", found("ENSG00000141510", Route::Hgnc));
        for prefix in ["NCBI", "GeneID", "ENTREZ", "ncbigene", "NCBIGene"] {
            check(&format!("{prefix}:7157"), found("ENSG00000141510", Route::Ncbi));
        }
        check("7157", Resolution::Unknown);
        check("HGNC:", Resolution::Unknown);
        check("HGNC:99999999", Resolution::Unknown);
        check("Actb", Resolution::Unknown);
        check("", Resolution::Unknown);
    }

    #[test]
    fn retired_ids_are_no_ids_of_today() {
        let table = Annotation::shipped().unwrap();
        let mut n_retired = 0;
        for (old, now) in table.retired() {
            assert!(table.gene(old).is_none() && table.gene(now).is_some(), "{old} {now}");
            n_retired += 1;
        }
        // As data/README.md says.
        assert_eq!(n_retired, 7_214);
    }

    #[test]
    fn an_approved_claim_beats_the_others() {
        let mut names = Names::default();
        let owner = |names: &Names| match names["X"] {
            Owner::One { gene, .. } => Some(gene),
            Owner::Many { .. } => None,
        };
        claim(&mut names, "X", 0, false);
        claim(&mut names, "X", 1, false);
        assert_eq!(owner(&names), None);
        claim(&mut names, "X", 2, true);
        claim(&mut names, "X", 3, false);
        assert_eq!(owner(&names), Some(2));
        claim(&mut names, "X", 4, true);
        assert_eq!(owner(&names), None);
    }
}
