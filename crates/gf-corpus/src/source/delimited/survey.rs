//! What a table holds: one pass over it before its counts are read.

use std::path::Path;

use super::{
    fields::{is_missing, name},
    table::{HEADER_LINE, Table},
};
use crate::{
    annotation::{Annotation, Resolution, Route},
    error::{Error, Result},
    mapping::species,
    metadata::{MetadataField, MetadataKind},
    names,
    source::SourceGene,
};

/// Rows looked at to tell columns of text from columns of numbers.
const SNIFFED: usize = 64;
/// Most genes.
const MAX_GENES: usize = 1 << 20;
/// Most bytes of their names.
const MAX_GENE_BYTES: usize = 64 << 20;
/// Most cells.
const MAX_CELLS: usize = 1 << 28;

/// Which way the table lies.
pub(super) enum Layout {
    /// Genes × cells; the counts begin at a column.
    Genes { first_count: usize },
    /// Cells × genes.
    Cells { columns: Vec<Column> },
}

/// What a column of cells × genes is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Gene,
    Text,
}

/// Genes, cells and layout of a table.
pub(super) struct Survey {
    pub(super) layout: Layout,
    pub(super) delimiter: u8,
    pub(super) genes: Vec<SourceGene>,
    pub(super) n_cells: usize,
    /// The columns of text.
    pub(super) metadata: Vec<MetadataField>,
}

/// The first columns of all rows.
struct Rows {
    n: usize,
    /// None if they are too many to be genes.
    genes: Vec<SourceGene>,
    first: String,
    n_ids: usize,
    n_symbols: usize,
}

impl Survey {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let is_text = sniff(Table::open(path)?)?;
        let mut table = Table::open(path)?;
        let rows = read_rows(&mut table, is_text[1])?;
        let (in_header, header) = count_header(&table, path)?;
        let in_column = if rows.n_ids + in_header > 0 { rows.n_ids } else { rows.n_symbols };
        if in_column == in_header {
            let (path, column) = (path.to_owned(), rows.first);
            return Err(Error::Orientation { path, in_column, column, in_header, header });
        }
        if in_header > in_column {
            cells(&table, &rows, &is_text, path)
        } else {
            genes(&table, rows, is_text[1], path)
        }
    }
}

/// Whether each column holds text, and not one number, in the first rows. A
/// single word among numbers does not make text: it is to be refused.
fn sniff(mut table: Table) -> Result<Vec<bool>> {
    let mut has_word = vec![false; table.n_fields];
    let mut has_number = has_word.clone();
    for _ in 0..SNIFFED {
        if !table.next_row()? {
            break;
        }
        for (column, field) in table.fields().enumerate().take(table.n_fields) {
            let is_number = is_number(field);
            has_number[column] |= is_number;
            has_word[column] |= !is_number && !is_missing(field);
        }
    }
    Ok(has_word.iter().zip(has_number).map(|(word, number)| *word && !number).collect())
}

fn is_number(field: &[u8]) -> bool {
    let text = std::str::from_utf8(field.trim_ascii());
    field == b"0" || text.is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn read_rows(table: &mut Table, has_symbols: bool) -> Result<Rows> {
    let annotation = Annotation::shipped()?;
    let mut rows = Rows { n: 0, genes: Vec::new(), first: String::new(), n_ids: 0, n_symbols: 0 };
    let mut n_bytes = 0;
    while table.next_row()? {
        rows.n += 1;
        if rows.n > MAX_CELLS {
            return Err(table.unexpected(&format!("at most {MAX_CELLS} rows")));
        }
        if rows.n > MAX_GENES || n_bytes > MAX_GENE_BYTES {
            rows.genes = Vec::new();
            continue;
        }
        let mut fields = table.fields();
        let id = table.text(fields.next().unwrap_or_default())?;
        let symbol =
            fields.next().filter(|_| has_symbols).map(|field| table.text(field)).transpose()?;
        n_bytes += id.len() + symbol.as_ref().map_or(0, String::len);
        rows.n_ids += usize::from(is_gene(annotation, &id));
        rows.n_symbols += usize::from(symbol.as_ref().is_some_and(|s| is_gene(annotation, s)));
        if rows.n == 1 {
            rows.first.clone_from(&id);
        }
        rows.genes.push(SourceGene { id, symbol });
    }
    Ok(rows)
}

/// How many names of the header are genes, and the first name.
fn count_header(table: &Table, path: &Path) -> Result<(usize, String)> {
    let annotation = Annotation::shipped()?;
    let (mut n, mut first) = (0, None);
    let unnamed = 1 - table.first_named();
    for field in table.header().skip(unnamed).take(MAX_GENES) {
        let name = name(field, path, HEADER_LINE)?;
        n += usize::from(is_gene(annotation, &name));
        first.get_or_insert(name);
    }
    Ok((n, first.unwrap_or_default()))
}

/// Whether a name is a gene's: of this species or another, so that mapping can
/// say of which. Aliases do not count, as cells may be called so (`cell1`).
fn is_gene(annotation: &Annotation, text: &str) -> bool {
    let text = names::without_assembly(text);
    let is_symbol = |name: &str| {
        let found = annotation.resolve(name);
        matches!(found, Resolution::Found(_, Route::Symbol | Route::Previous))
    };
    let has_lower = || text.bytes().any(|b| b.is_ascii_lowercase());
    names::ensembl(text).is_some()
        || is_symbol(text)
        || species(text).is_some()
        || (has_lower() && is_symbol(&text.to_ascii_uppercase()))
}

fn genes(table: &Table, rows: Rows, has_symbols: bool, path: &Path) -> Result<Survey> {
    let first_count = 1 + usize::from(has_symbols);
    check_length(path, "gene rows", rows.n, rows.genes.len())?;
    let n_cells = table.n_fields - first_count;
    check_length(path, "columns of counts", n_cells, n_cells.max(1))?;
    Ok(Survey {
        layout: Layout::Genes { first_count },
        delimiter: table.delimiter,
        genes: rows.genes,
        n_cells,
        metadata: Vec::new(),
    })
}

fn cells(table: &Table, rows: &Rows, is_text: &[bool], path: &Path) -> Result<Survey> {
    let annotation = Annotation::shipped()?;
    let n_unnamed = has_ids(table, is_text[0], path)?.into();
    let mut columns = vec![Column::Id; n_unnamed];
    let (mut genes, mut metadata, mut n_bytes) = (Vec::new(), Vec::new(), 0);
    let names = table.header().skip(n_unnamed - table.first_named());
    for (field, is_text) in names.zip(&is_text[n_unnamed..]) {
        let id = name(field, path, HEADER_LINE)?;
        n_bytes += id.len();
        if columns.len() > MAX_GENES || n_bytes > MAX_GENE_BYTES {
            return Err(Error::Length {
                path: path.to_owned(),
                what: format!("columns of a table of cells × genes (names of {n_bytes} bytes)"),
                found: table.n_fields as u64,
                expected: MAX_GENES as u64,
            });
        }
        if *is_text && !is_gene(annotation, &id) {
            columns.push(Column::Text);
            metadata.push(MetadataField::new(id, MetadataKind::Text));
        } else {
            columns.push(Column::Gene);
            genes.push(SourceGene { id, symbol: None });
        }
    }
    let delimiter = table.delimiter;
    Ok(Survey { layout: Layout::Cells { columns }, delimiter, genes, n_cells: rows.n, metadata })
}

/// Whether the first column of cells × genes holds the cells' ids: unless it
/// holds numbers and has a gene's id or current symbol for a name (`cell` is a
/// former one), as when a table is written without index.
fn has_ids(table: &Table, is_text: bool, path: &Path) -> Result<bool> {
    if is_text || table.is_header_short {
        return Ok(true);
    }
    let first = name(table.header().next().unwrap_or_default(), path, HEADER_LINE)?;
    let is_symbol = || -> Result<bool> {
        let found = Annotation::shipped()?.resolve(names::without_assembly(&first));
        Ok(matches!(found, Resolution::Found(_, Route::Symbol)))
    };
    Ok(names::ensembl(&first).is_none() && !is_symbol()?)
}

fn check_length(path: &Path, what: &str, found: usize, expected: usize) -> Result<()> {
    let (found, expected) = (found as u64, expected as u64);
    let (path, what) = (path.to_owned(), what.to_owned());
    (found == expected).then_some(()).ok_or(Error::Length { path, what, found, expected })
}
