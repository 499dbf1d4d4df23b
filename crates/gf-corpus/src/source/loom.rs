//! Loom files of any version: without a version attribute, 2.0 and 3.0.
//!
//! A loom matrix is genes × cells in square chunks, so it is read by windows
//! of whole chunk columns: as many cells at once as fit a fixed size, each
//! chunk unpacked once. (Chunks wider than a window are unpacked once for
//! every window they reach into.)
//!
//! Gene ids are the row attribute with most Ensembl ids, usually `Accession`,
//! else `Gene`; where no row attribute is of strings, one of whole numbers that
//! are all different (NCBI ids). Cell ids are the column attribute `CellID` or
//! one of its usual other names; in a file without any, cells are named
//! `cell-1`, `cell-2` and so on. The other column attributes are metadata.
//! Those that cannot be read, and row attributes that no gene is named by, are
//! listed as unread.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    CountSource, Layout, SourceBlock, SourceGene, SourceOptions, Storage,
    gene_columns::{ID_COLUMNS, Roles, SYMBOL_COLUMNS, gene_rows},
    hdf5::{Data, H5},
    texts::{Texts, Vector},
    values::{Values, is_narrow},
};
use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField},
};

/// Column attributes that name the cells, the first preferred.
const CELL_IDS: [&str; 9] = [
    "CellID",
    "obs_names",
    "cell_id",
    "cell_ids",
    "Barcode",
    "barcode",
    "barcodes",
    "cell_names",
    "Cell",
];
/// Row attributes that name the genes, the first preferred.
const GENE_NAMES: [&str; 4] = ["Gene", "var_names", "gene", "GeneName"];
/// Most gene rows a file may have; species have fewer than 100,000 genes.
const MAX_GENES: usize = 1 << 20;
/// Most bytes a window may take, if every value of it is above zero.
const WINDOW_BYTES: usize = 1 << 25;
/// Most bytes of numbers read at a time. Every read looks through the list of
/// all chunks, so few large ones are better than many small ones.
const BAND_BYTES: usize = 1 << 25;
/// Bytes of an entry of a window, and of the widest number.
const ENTRY_BYTES: usize = 8;

/// An open `.loom` file.
pub(super) struct LoomSource {
    path: PathBuf,
    layer: String,
    matrix: Data,
    genes: Vec<SourceGene>,
    cells: Cells,
    window: Window,
    next_cell: usize,
}

/// What the column attributes say, read by windows.
struct Cells {
    texts: Texts,
    n: usize,
    ids: Option<Vector>,
    fields: Vec<MetadataField>,
    vectors: Vec<Vector>,
    unread: Vec<String>,
}

/// The counts of some consecutive cells.
#[derive(Default)]
struct Window {
    start: usize,
    cells: Vec<Vec<(u32, u32)>>,
}

impl LoomSource {
    pub(super) fn open(h5: &H5, options: &SourceOptions) -> Result<Self> {
        let layer = find_layer(h5, options.layer.as_deref())?;
        let matrix = h5.dataset(&layer)?;
        let (n_genes, n_cells) = match matrix.shape()[..] {
            [n_genes, n_cells] if n_genes <= MAX_GENES && n_cells <= u32::MAX as usize => {
                (n_genes, n_cells)
            }
            _ => return Err(matrix.encoding(&format!("at most {MAX_GENES} genes × 2^32 cells"))),
        };
        let mut texts = Texts::open(h5)?;
        let (genes, unused) = match &options.gene_column {
            None => read_genes(h5, &mut texts, n_genes)?,
            Some(name) => (read_gene_column(h5, &mut texts, n_genes, name)?, Vec::new()),
        };
        let mut cells = Cells::open(h5, texts, n_cells)?;
        cells.unread.extend(unused);
        Ok(Self {
            path: h5.path().to_owned(),
            layer,
            matrix,
            genes,
            cells,
            window: Window::default(),
            next_cell: 0,
        })
    }

    /// The counts of the next cell.
    fn next_row(&mut self) -> Result<Vec<(u32, u32)>> {
        let cell = self.next_cell;
        if cell >= self.window.start + self.window.cells.len() {
            // What was served is let go before more is read.
            self.window = Window::default();
            self.window = self.read_window(cell)?;
        }
        self.next_cell += 1;
        Ok(std::mem::take(&mut self.window.cells[cell - self.window.start]))
    }

    fn read_window(&mut self, start: usize) -> Result<Window> {
        let n_genes = self.genes.len();
        let (width, height) = window_size(&self.matrix, n_genes);
        let n = width.min(self.cells.n - start);
        let mut cells = vec![Vec::new(); n];
        for gene in (0..n_genes).step_by(height) {
            let n_rows = height.min(n_genes - gene);
            let values = Values::read(&self.matrix, &[gene, start], &[n_rows, n])?;
            let counts = values
                .counts()
                .map_err(|(at, found)| self.not_counts(start + at % n, gene + at / n, found))?;
            for (row, counts) in (gene..).zip(counts.chunks(n)) {
                for (cell, &count) in cells.iter_mut().zip(counts).filter(|(_, count)| **count > 0)
                {
                    cell.push((row as u32, count));
                }
            }
        }
        Ok(Window { start, cells })
    }

    fn not_counts(&mut self, cell: usize, gene: usize, found: String) -> Error {
        let ids = match self.cells.read_ids(cell, cell + 1) {
            Ok(ids) => ids,
            Err(error) => return error,
        };
        Error::NotCounts {
            path: self.path.clone(),
            layer: self.layer.clone(),
            cell: ids.concat(),
            gene: self.genes[gene].id.clone(),
            found,
        }
    }
}

impl CountSource for LoomSource {
    fn path(&self) -> &Path {
        &self.path
    }

    fn layer(&self) -> &str {
        &self.layer
    }

    fn genes(&self) -> &[SourceGene] {
        &self.genes
    }

    fn n_cells(&self) -> usize {
        self.cells.n
    }

    fn columns(&self) -> &[MetadataField] {
        &self.cells.fields
    }

    fn storage(&self) -> Storage {
        Storage { layout: Layout::Loom, is_narrow: is_narrow(&self.matrix) }
    }

    fn unread_columns(&self) -> &[String] {
        &self.cells.unread
    }

    fn next_block(&mut self, max_cells: usize) -> Result<Option<SourceBlock>> {
        let start = self.next_cell;
        let end = self.cells.n.min(start.saturating_add(max_cells.max(1)));
        if start == end {
            return Ok(None);
        }
        let mut counts = CountMatrix::new(self.genes.len());
        while self.next_cell < end {
            let row = self.next_row()?;
            counts.push_row(row)?;
        }
        let cell_ids = self.cells.read_ids(start, end)?;
        let columns = self.cells.read_columns(start, end)?;
        Ok(Some(SourceBlock { cell_ids, counts, columns }))
    }
}

impl Cells {
    fn open(h5: &H5, mut texts: Texts, n: usize) -> Result<Self> {
        let (mut names, mut vectors, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for name in h5.children("col_attrs") {
            let object = format!("col_attrs/{name}");
            match Vector::open(h5, &object).filter(|vector| texts.can_read(vector)) {
                Some(vector) => {
                    h5.agree(
                        &format!("{object} against the cells of the matrix"),
                        vector.len(),
                        n,
                    )?;
                    names.push(name);
                    vectors.push(vector);
                }
                None => unread.push(name),
            }
        }
        let place = CELL_IDS.iter().find_map(|id| names.iter().position(|name| name == id));
        let ids = place.map(|place| {
            names.remove(place);
            vectors.remove(place)
        });
        let kinds = names.into_iter().zip(&vectors);
        let fields = kinds.map(|(name, vector)| vector.metadata_field(name)).collect();
        Ok(Self { texts, n, ids, fields, vectors, unread })
    }

    fn read_ids(&mut self, start: usize, end: usize) -> Result<Vec<String>> {
        match &self.ids {
            Some(ids) => self.texts.words(ids, start, end),
            None => Ok((start..end).map(|cell| format!("cell-{}", cell + 1)).collect()),
        }
    }

    fn read_columns(&mut self, start: usize, end: usize) -> Result<Vec<MetadataColumn>> {
        let vectors = self.vectors.iter();
        vectors.map(|vector| self.texts.metadata(vector, start, end)).collect()
    }
}

/// The object of a layer: the main matrix if none is named.
fn find_layer(h5: &H5, layer: Option<&str>) -> Result<String> {
    let object = match layer {
        None | Some("matrix") => "matrix".to_owned(),
        Some(name) => format!("layers/{}", name.strip_prefix("layers/").unwrap_or(name)),
    };
    if h5.has(&object) && !h5.is_group(&object) {
        return Ok(object);
    }
    let mut present: Vec<String> =
        h5.children("layers").iter().map(|name| format!("layers/{name}")).collect();
    present.extend(h5.has("matrix").then(|| "matrix".to_owned()));
    let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
    Err(Error::MissingLayer { path: h5.path().to_owned(), layer: object, present })
}

/// A row attribute and its values.
type Attribute = (String, Vec<String>);

/// The gene rows the row attributes describe, and the attributes not used.
fn read_genes(
    h5: &H5,
    texts: &mut Texts,
    n_genes: usize,
) -> Result<(Vec<SourceGene>, Vec<String>)> {
    let (mut words, mut numbers, mut unused) = (Vec::new(), Vec::new(), Vec::new());
    for name in h5.children("row_attrs") {
        let object = format!("row_attrs/{name}");
        match Vector::open(h5, &object).filter(|vector| texts.can_read(vector)) {
            Some(vector) if vector.is_text() || vector.is_whole() => {
                h5.agree(
                    &format!("{object} against the genes of the matrix"),
                    vector.len(),
                    n_genes,
                )?;
                let list = if vector.is_text() { &mut words } else { &mut numbers };
                list.push((name, vector));
            }
            _ => unused.push(name),
        }
    }
    let named = if words.is_empty() {
        numbered(texts, numbers, n_genes, &mut unused)?
    } else {
        unused.extend(numbers.into_iter().map(|(name, _)| name));
        let read = |(name, vector): (String, Vector)| Ok((name, texts.words(&vector, 0, n_genes)?));
        words.into_iter().map(read).collect::<Result<_>>()?
    };
    let genes = named_genes(h5, named, &mut unused)?;
    unused.sort();
    Ok((genes, unused.into_iter().map(|name| format!("row_attrs/{name}")).collect()))
}

/// The gene rows as one row attribute names them.
fn read_gene_column(
    h5: &H5,
    texts: &mut Texts,
    n_genes: usize,
    name: &str,
) -> Result<Vec<SourceGene>> {
    let object = format!("row_attrs/{name}");
    let vector = Vector::expect(h5, &object)?;
    h5.agree(&format!("{object} against the genes of the matrix"), vector.len(), n_genes)?;
    let gene = |id| SourceGene { id, symbol: None };
    Ok(texts.words(&vector, 0, n_genes)?.into_iter().map(gene).collect())
}

/// The first vector of whole numbers that differ from gene to gene. Whether
/// they are ids, the mapping judges.
fn numbered(
    texts: &mut Texts,
    vectors: Vec<(String, Vector)>,
    n_genes: usize,
    unused: &mut Vec<String>,
) -> Result<Vec<Attribute>> {
    let mut found = Vec::new();
    for (name, vector) in vectors {
        let ids = texts.words(&vector, 0, n_genes)?;
        if found.is_empty() && ids.iter().collect::<HashSet<_>>().len() == ids.len() {
            found.push((name, ids));
        } else {
            unused.push(name);
        }
    }
    Ok(found)
}

fn named_genes(
    h5: &H5,
    mut columns: Vec<Attribute>,
    unused: &mut Vec<String>,
) -> Result<Vec<SourceGene>> {
    let mut usual = GENE_NAMES.iter().chain(&SYMBOL_COLUMNS).chain(&ID_COLUMNS);
    let place = usual.find_map(|usual| columns.iter().position(|(name, _)| name == usual));
    if columns.is_empty() {
        let expected = "Accession or Gene, of strings or of different numbers";
        return Err(h5.encoding("row_attrs", "no vector of strings", expected));
    }
    let (name, index) = columns.remove(place.unwrap_or(0));
    let roles = Roles::of(&index, &columns);
    unused.extend((!roles.use_index()).then_some(name));
    let is_used = |place| [roles.id, roles.symbol].contains(&Some(place));
    let others = columns.iter().enumerate().filter(|&(place, _)| !is_used(place));
    unused.extend(others.map(|(_, (name, _))| name.clone()));
    Ok(gene_rows(&index, &columns))
}

/// Cells of a window and genes read at a time: whole chunks, where they fit.
fn window_size(matrix: &Data, n_genes: usize) -> (usize, usize) {
    let chunk = matrix.chunk_dims().unwrap_or_default();
    let [tall, wide] = chunk[..] else { return window_of([1, 1], n_genes) };
    window_of([tall.max(1), wide.max(1)], n_genes)
}

fn window_of([tall, wide]: [usize; 2], n_genes: usize) -> (usize, usize) {
    let whole = |fit: usize, chunk: usize| if fit < chunk { fit.max(1) } else { fit - fit % chunk };
    let width = whole(WINDOW_BYTES / ENTRY_BYTES / n_genes.max(1), wide);
    (width, whole(BAND_BYTES / ENTRY_BYTES / width, tall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_chunks_that_fit() {
        let check = |chunk, n_genes, expected| assert_eq!(window_of(chunk, n_genes), expected);
        check([64, 64], 32_768, (128, 32_768));
        check([64, 64], 30_000, (128, 32_768));
        check([64, 64], 60_000, (64, 65_536));
        check([1, 1], 30_000, (139, 30_174));
        // A chunk wider than a window: as many cells as fit.
        check([1, 1_000_000], 30_000, (139, 30_174));
        check([1, 1], MAX_GENES, (4, 1_048_576));
        check([1, 1], 0, (4_194_304, 1));
    }
}
