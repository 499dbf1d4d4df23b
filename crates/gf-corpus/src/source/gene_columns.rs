//! Which column of a table of genes holds the ids, and which the symbols.
//!
//! Formats and tools name these columns as they please, so the id column is
//! the one in which most values are Ensembl ids; names only break ties.

use super::SourceGene;
use crate::{gene::GeneId, mapping::species};

/// Columns that usually hold ids, the first preferred on a tie.
pub(super) const ID_COLUMNS: [&str; 6] =
    ["ensembl_id", "gene_ids", "feature_id", "gene_id", "ensembl", "Accession"];
/// Columns that usually hold symbols, the first preferred.
pub(super) const SYMBOL_COLUMNS: [&str; 8] = [
    "feature_name",
    "gene_symbols",
    "gene_symbol",
    "gene_names",
    "gene_name",
    "symbol",
    "symbols",
    "name",
];

/// A column of a table with one row a gene.
pub(super) trait GeneColumn {
    /// The value of a row, as text.
    fn get(&self, row: usize) -> Option<String>;

    /// Whether its values are words rather than numbers.
    fn is_text(&self) -> bool;
}

impl GeneColumn for Vec<String> {
    fn get(&self, row: usize) -> Option<String> {
        <[String]>::get(self, row).cloned()
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The gene rows a table describes by its index and its named columns.
pub(super) fn gene_rows<C: GeneColumn>(
    index: &[String],
    columns: &[(String, C)],
) -> Vec<SourceGene> {
    let Roles { id, symbol } = Roles::of(index, columns);
    let column = |place: Option<usize>| place.map(|place| &columns[place].1);
    let (id, symbol) = (column(id), column(symbol));
    let row = |gene: usize| {
        let index = index[gene].clone();
        let named = symbol.and_then(|column| column.get(gene));
        match id {
            Some(column) => {
                let id = column.get(gene).unwrap_or_default();
                SourceGene { id, symbol: named.or(Some(index)) }
            }
            None => SourceGene { id: index, symbol: named },
        }
    };
    (0..index.len()).map(row).collect()
}

/// The places of the columns that name genes.
pub(super) struct Roles {
    /// The column that holds more Ensembl ids than the index and any other.
    pub(super) id: Option<usize>,
    /// The column of symbols.
    pub(super) symbol: Option<usize>,
}

impl Roles {
    pub(super) fn of<C: GeneColumn>(index: &[String], columns: &[(String, C)]) -> Self {
        let symbol = SYMBOL_COLUMNS.into_iter().find_map(|name| place(columns, name));
        Self { id: id_column(index, columns), symbol }
    }

    /// Whether the index itself names genes.
    pub(super) fn use_index(&self) -> bool {
        self.id.is_none() || self.symbol.is_none()
    }
}

fn id_column<C: GeneColumn>(index: &[String], columns: &[(String, C)]) -> Option<usize> {
    let in_index = index.iter().filter(|id| looks_ensembl(id)).count();
    let preferred = ID_COLUMNS.into_iter().filter_map(|name| place(columns, name));
    let mut best = (in_index, None);
    for place in preferred.chain(0..columns.len()) {
        let column = &columns[place].1;
        if !column.is_text() {
            continue;
        }
        let rows = 0..index.len();
        let ids = rows.filter(|&i| column.get(i).is_some_and(|id| looks_ensembl(&id))).count();
        if ids > best.0 {
            best = (ids, Some(place));
        }
    }
    best.1
}

fn place<C>(columns: &[(String, C)], name: &str) -> Option<usize> {
    columns.iter().position(|(n, _)| n == name)
}

/// A human gene id, or one of another species (which the mapping refuses).
fn looks_ensembl(text: &str) -> bool {
    GeneId::from_versioned(text).is_some() || species(text).is_some()
}
