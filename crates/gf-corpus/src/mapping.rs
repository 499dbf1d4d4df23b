//! From the gene rows of a file to the genes of a corpus.
//!
//! A row's id column is tried first: as an Ensembl id, then as a symbol. If
//! that finds nothing, its name column is tried the same way. A well-formed
//! Ensembl id always stands for itself, listed or not.

use std::{collections::HashMap, path::Path};

use crate::{
    annotation::{Annotation, Resolution, Route},
    error::{Error, Result},
    gene::{Biotype, Gene, GeneId},
    source::SourceGene,
};

/// A file is refused as another species' if this share of its rows, and more
/// rows than those that match, are human symbols only in capitals.
const RECASED_SHARE: f64 = 0.3;

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

/// The fate of each gene row of a file.
pub(crate) fn map_rows(path: &Path, rows: &[SourceGene]) -> Result<Vec<Fate>> {
    let table = Annotation::shipped()?;
    for (row, gene) in rows.iter().enumerate() {
        let names = [Some(gene.id.as_str()), gene.symbol.as_deref()];
        if let Some((found, species)) = names.iter().flatten().find_map(|n| Some((*n, species(n)?)))
        {
            let found = found.to_owned();
            return Err(Error::ForeignSpecies { path: path.to_owned(), row, found, species });
        }
    }
    let fates: Vec<Fate> = rows.iter().map(|row| fate(table, row)).collect();
    refuse_foreign_symbols(path, table, rows, &fates)?;
    Ok(fates)
}

fn fate(table: &Annotation, row: &SourceGene) -> Fate {
    match resolve(table, &row.id) {
        Fate::Gene(id, route) => Fate::Gene(id, route),
        first => match row.symbol.as_deref().map(|symbol| resolve(table, symbol)) {
            None | Some(Fate::Unknown) => first,
            Some(second) => second,
        },
    }
}

fn resolve(table: &Annotation, name: &str) -> Fate {
    if let Some(id) = GeneId::from_versioned(name) {
        let route = if table.gene(id).is_some() { Route::Ensembl } else { Route::Unlisted };
        return Fate::Gene(id, route);
    }
    match table.resolve(name) {
        Resolution::Found(id, route) => Fate::Gene(id, route),
        Resolution::Ambiguous => Fate::Ambiguous,
        Resolution::Unknown => Fate::Unknown,
    }
}

/// The species of an Ensembl gene id that is not human.
pub(crate) fn species(id: &str) -> Option<String> {
    let id = id.split('.').next()?;
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
    if mapped == 0 {
        let example = rows.first().map(|row| row.id.clone()).unwrap_or_default();
        return Err(Error::NoGenes { path: path.to_owned(), rows: rows.len(), example });
    }
    Ok(())
}

/// The genes of a corpus in the order they were first seen.
#[derive(Default)]
pub(crate) struct GeneIndex {
    genes: Vec<Gene>,
    places: HashMap<GeneId, u32>,
}

impl GeneIndex {
    /// The index of a gene, which enters it if it is new.
    pub(crate) fn enter(&mut self, id: GeneId, row: &SourceGene) -> Result<u32> {
        if let Some(&place) = self.places.get(&id) {
            return Ok(place);
        }
        let listed = Annotation::shipped()?.gene(id).cloned();
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
