//! From the gene rows of a file to the genes of a corpus.
//!
//! The precedence: an Ensembl id in the id column, else one in the name
//! column; it stands for itself, listed or not, unless Ensembl has given it up
//! and the gene goes by another id today. Then the id column by
//! its content: HGNC id, NCBI id, current symbol, previous symbol, alias. If
//! that finds nothing, the name column by the same order. A bare number is an
//! NCBI id only where the whole id column is one (a decision per file).
//!
//! Around a name, the prefix of an assembly is taken off (`GRCh38_TP53`), an
//! Ensembl id is found beside a symbol (`TP53_ENSG00000141510`), a symbol that
//! a spreadsheet turned into a date is taken back if it can be only one
//! (`10-Mar`), and what R or scanpy put behind the second row of a name
//! (`TBCE.1`, `TBCE-1`) is taken off if the plain name is in the file too.
//! With a [`GeneMap`] of the user's, that alone decides.

use std::{collections::HashSet, path::Path};

use foldhash::HashMapExt;

use crate::{
    annotation::{Annotation, Resolution, Route},
    error::{Error, Result},
    gene::{Biotype, Gene, GeneId},
    gene_map::{GeneMap, GivenMap},
    names,
    source::{Layout, SourceGene},
};

/// A file is refused as another species' if this share of its rows, and more
/// rows than those that match, are human symbols only in capitals.
const RECASED_SHARE: f64 = 0.3;

/// A column of numbers holds NCBI gene ids if this share of them is known.
/// Of the numbers 1 to 3,000, which may just as well count the rows, 2,210
/// are, so that numbers which mostly follow each other are not taken for ids.
const NCBI_SHARE: f64 = 0.8;

/// Ensembl's codes of the species one meets most.
const SPECIES: [(&str, &str); 10] = [
    ("MUS", "mouse"),
    ("RNO", "rat"),
    ("DAR", "zebrafish"),
    ("MMU", "macaque"),
    ("MFA", "crab-eating macaque"),
    ("PTR", "chimpanzee"),
    ("SSC", "pig"),
    ("BTA", "cow"),
    ("CAF", "dog"),
    ("GAL", "chicken"),
];

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Gene(GeneId, Route),
    Ambiguous,
    Unknown,
}

/// What becomes of several rows of one gene.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Collapse {
    /// Their counts are summed; genes come in the order of their first rows.
    #[default]
    Sum,
    /// As the reference's `sum_ensembl_ids`: they are summed, and come behind
    /// all other genes, unless the file has as many different names in the map
    /// as these name genes: then they stay apart, each as a gene of its own.
    /// For a [`GeneMap`] of the reference.
    Reference,
}

/// Puts genes into the reference's order; whether it sums rows of one gene.
/// `places` says for each row of a gene which of `genes` it is.
pub(crate) fn in_reference_order(
    rows: &[SourceGene],
    fates: &[Fate],
    map: &GeneMap,
    layout: Layout,
    places: &mut [u32],
    genes: &mut Vec<Gene>,
) -> bool {
    let is_gene = |fate: &Fate| matches!(fate, Fate::Gene(..));
    let mapped = || (0..rows.len()).filter(|&row| is_gene(&fates[row]));
    let is_listed = |name: &&str| match map {
        GeneMap::Given(map) => map.has_exactly(name),
        GeneMap::Shipped => true,
    };
    let names: HashSet<&str> = mapped().map(|row| rows[row].id.as_str()).collect();
    let new: Vec<u32> = if names.iter().filter(|name| is_listed(name)).count() == genes.len() {
        let apart = mapped().map(|row| genes[places[row] as usize].clone()).collect();
        *genes = apart;
        mapped().enumerate().for_each(|(new, row)| places[row] = new as u32);
        return false;
    } else {
        let mut n_rows = vec![0; genes.len()];
        mapped().for_each(|row| n_rows[places[row] as usize] += 1);
        let mut order: Vec<usize> = (0..genes.len()).collect();
        if layout == Layout::Loom {
            order.sort_by_key(|&gene| (n_rows[gene] > 1).then(|| genes[gene].id.to_string()));
        } else {
            order.sort_by_key(|&gene| n_rows[gene] > 1);
        }
        let mut new = vec![0; genes.len()];
        order.iter().enumerate().for_each(|(place, &gene)| new[gene] = place as u32);
        *genes = order.into_iter().map(|gene| genes[gene].clone()).collect();
        new
    };
    mapped().for_each(|row| places[row] = new[places[row] as usize]);
    true
}

/// The fate of each gene row of a file.
pub(crate) fn map_rows(path: &Path, rows: &[SourceGene], map: &GeneMap) -> Result<Vec<Fate>> {
    let table = Annotation::shipped()?;
    refuse_foreign_ids(path, rows)?;
    if let GeneMap::Given(names) = map {
        let fates: Vec<Fate> = rows.iter().map(|row| given_fate(names, row)).collect();
        refuse_no_genes(path, rows, &fates)?;
        return Ok(fates);
    }
    let resolver = Resolver { table, numbers_are_ncbi: numbers_are_ncbi(table, rows) };
    let mut fates: Vec<Fate> = rows.iter().map(|row| resolver.fate(row)).collect();
    resolver.settle_uniquified(rows, &mut fates);
    refuse_foreign_symbols(path, table, rows, &fates)?;
    refuse_no_genes(path, rows, &fates)?;
    Ok(fates)
}

fn given_fate(names: &GivenMap, row: &SourceGene) -> Fate {
    let found = texts(row).find_map(|name| names.get(name));
    found.map_or(Fate::Unknown, |id| Fate::Gene(id, Route::Map))
}

/// The id column, then the name column.
fn texts(row: &SourceGene) -> impl Iterator<Item = &str> {
    [Some(row.id.as_str()), row.symbol.as_deref()].into_iter().flatten()
}

/// Whether the id column holds NCBI gene ids without a prefix: nothing but
/// numbers, nearly all of them known, and not just 0, 1, 2 and so on.
fn numbers_are_ncbi(table: &Annotation, rows: &[SourceGene]) -> bool {
    let digits = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    if !rows.iter().all(|row| digits(&row.id)) {
        return false;
    }
    let number = |row: &SourceGene| row.id.parse::<u64>().ok();
    let follows = |pair: &&[SourceGene]| number(&pair[1]) == number(&pair[0]).map(|n| n + 1);
    let running = rows.windows(2).filter(follows).count();
    let known = rows.iter().filter(|row| matches!(table.ncbi(&row.id), Resolution::Found(..)));
    let share = known.count() as f64 / rows.len() as f64;
    share >= NCBI_SHARE && 2 * running < rows.len()
}

/// The shipped annotation, as one file is to be read with it.
struct Resolver {
    table: &'static Annotation,
    numbers_are_ncbi: bool,
}

impl Resolver {
    fn fate(&self, row: &SourceGene) -> Fate {
        if let Some(id) = texts(row).find_map(names::ensembl) {
            return self.ensembl(id);
        }
        if self.numbers_are_ncbi
            && let Resolution::Found(id, route) = self.table.ncbi(&row.id)
        {
            return Fate::Gene(id, route);
        }
        let mut fates = texts(row).map(|name| self.resolve(name));
        let first = fates.next().unwrap_or(Fate::Unknown);
        match (first, fates.next()) {
            (Fate::Gene(id, route), _) => Fate::Gene(id, route),
            (first, None | Some(Fate::Unknown)) => first,
            (_, Some(second)) => second,
        }
    }

    fn ensembl(&self, id: GeneId) -> Fate {
        if self.table.gene(id).is_some() {
            return Fate::Gene(id, Route::Ensembl);
        }
        let successor = self.table.successor(id);
        successor
            .map_or(Fate::Gene(id, Route::Unlisted), |gene| Fate::Gene(gene.id, Route::Retired))
    }

    fn resolve(&self, name: &str) -> Fate {
        let name = names::without_assembly(name.trim());
        match self.table.resolve(name) {
            Resolution::Found(id, route) => Fate::Gene(id, route),
            Resolution::Ambiguous => Fate::Ambiguous,
            Resolution::Unknown => self.resolve_date(name),
        }
    }

    /// A symbol that a spreadsheet took for a date, if it was surely one gene.
    fn resolve_date(&self, name: &str) -> Fate {
        let Some(symbols) = names::before_spreadsheet(name) else { return Fate::Unknown };
        let mut found = symbols.iter().map(|symbol| self.table.resolve(symbol));
        let mut known = found.by_ref().filter(|found| *found != Resolution::Unknown);
        match (known.next(), known.next()) {
            (Some(Resolution::Found(id, route)), None) => Fate::Gene(id, route),
            _ => Fate::Ambiguous,
        }
    }

    /// Gives `TBCE.1` the gene of `TBCE` where the file has both.
    fn settle_uniquified(&self, rows: &[SourceGene], fates: &mut [Fate]) {
        if !fates.contains(&Fate::Unknown) {
            return;
        }
        let all: HashSet<&str> = rows.iter().flat_map(texts).collect();
        let unknown = rows.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Unknown);
        for (row, fate) in unknown {
            let base = texts(row).filter_map(names::before_uniquifying);
            match base.filter(|base| all.contains(base)).map(|base| self.resolve(base)).next() {
                Some(Fate::Gene(id, _)) => *fate = Fate::Gene(id, Route::Uniquified),
                Some(Fate::Ambiguous) => *fate = Fate::Ambiguous,
                _ => {}
            }
        }
    }
}

fn refuse_foreign_ids(path: &Path, rows: &[SourceGene]) -> Result<()> {
    for (row, gene) in rows.iter().enumerate() {
        if let Some((found, species)) = texts(gene).find_map(|name| Some((name, species(name)?))) {
            let found = found.to_owned();
            return Err(Error::ForeignSpecies { path: path.to_owned(), row, found, species });
        }
    }
    Ok(())
}

/// The species of an Ensembl gene id that is not human.
pub(crate) fn species(id: &str) -> Option<String> {
    let id = id.starts_with("ENS").then(|| id.split('.').next())??;
    let digits = id.len().checked_sub(11).filter(|&at| id.is_char_boundary(at))?;
    let (prefix, number) = id.split_at(digits);
    let code = prefix.strip_prefix("ENS")?.strip_suffix('G')?;
    let letters = !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase());
    if !letters || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let known = SPECIES.iter().find(|(c, _)| *c == code);
    Some(
        known.map_or_else(|| format!("another species ({prefix})"), |(_, name)| (*name).to_owned()),
    )
}

fn refuse_foreign_symbols(
    path: &Path,
    table: &Annotation,
    rows: &[SourceGene],
    fates: &[Fate],
) -> Result<()> {
    let name = |row: &SourceGene| row.symbol.clone().unwrap_or_else(|| row.id.clone());
    let human_in_capitals = |name: &str| {
        let capitals = name.to_uppercase();
        capitals != name && matches!(table.resolve(&capitals), Resolution::Found(..))
    };
    let unknown = rows.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Unknown);
    let recased: Vec<String> =
        unknown.map(|(row, _)| name(row)).filter(|name| human_in_capitals(name)).collect();
    let mapped = fates.iter().filter(|fate| matches!(fate, Fate::Gene(..))).count();
    if recased.len() > mapped && recased.len() as f64 >= RECASED_SHARE * rows.len() as f64 {
        return Err(Error::ForeignSymbols {
            path: path.to_owned(),
            recased: recased.len(),
            rows: rows.len(),
            example: recased[0].clone(),
        });
    }
    Ok(())
}

fn refuse_no_genes(path: &Path, rows: &[SourceGene], fates: &[Fate]) -> Result<()> {
    if !fates.iter().any(|fate| matches!(fate, Fate::Gene(..))) {
        let example = rows.first().map(|row| row.id.clone()).unwrap_or_default();
        return Err(Error::NoGenes { path: path.to_owned(), rows: rows.len(), example });
    }
    Ok(())
}

/// The genes of a corpus in the order they were first seen.
pub(crate) struct GeneIndex {
    genes: Vec<Gene>,
    places: foldhash::HashMap<GeneId, u32>,
}

impl GeneIndex {
    /// With room for as many genes.
    pub(crate) fn with_capacity(n_genes: usize) -> Self {
        let places = foldhash::HashMap::with_capacity(n_genes);
        Self { genes: Vec::with_capacity(n_genes), places }
    }

    /// The index of a gene, which enters it if it is new.
    pub(crate) fn enter(&mut self, id: GeneId, row: &SourceGene) -> Result<u32> {
        if let Some(&place) = self.places.get(&id) {
            return Ok(place);
        }
        let listed = Annotation::shipped()?.gene(id).map(Gene::from);
        let named = row.symbol.clone().filter(|symbol| !symbol.is_empty());
        let unlisted = || Gene {
            id,
            symbol: named.unwrap_or_else(|| id.to_string()),
            biotype: Biotype::Unlisted,
        };
        let place = self.genes.len() as u32;
        self.genes.push(listed.unwrap_or_else(unlisted));
        self.places.insert(id, place);
        Ok(place)
    }

    /// How many genes it has.
    pub(crate) fn len(&self) -> usize {
        self.genes.len()
    }

    pub(crate) fn into_genes(self) -> Vec<Gene> {
        self.genes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_species_are_named() {
        let check =
            |id: &str, expected: Option<&str>| assert_eq!(species(id).as_deref(), expected, "{id}");
        check("ENSMUSG00000021944", Some("mouse"));
        check("ENSMUSG00000021944.12", Some("mouse"));
        check("ENSRNOG00000010708", Some("rat"));
        check("ENSXETG00000018635", Some("another species (ENSXETG)"));
        check("ENSG00000136574", None);
        check("ENSG00000136574.5", None);
        check("ENST00000335135", None);
        check("GATA4", None);
        check("", None);
    }
}
