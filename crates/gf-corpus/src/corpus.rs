//! A corpus, opened for reading.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    cells::unite,
    counts::CountMatrix,
    duplicates::Copies,
    error::{Error, Result},
    gene::Gene,
    gene_list,
    ledger::Ledger,
    metadata::{MetadataColumn, MetadataField, MetadataValue},
    shard::{ArrowReader, StudyBlock, broken},
    source::Storage,
    store::{MANIFEST, Manifest, StudyManifest, check_version, read_json, study_hash},
    study::Study,
};

/// Some consecutive cells of a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct CellBlock {
    /// One id a cell, unique in the corpus.
    pub cell_ids: Vec<String>,
    /// Which of [`Corpus::studies`] each cell belongs to.
    pub studies: Vec<u32>,
    /// Counts of all gene rows of the cell, mapped or not: the reference's
    /// `n_counts`.
    pub totals: Vec<u64>,
    /// The genes of the counts: those of the corpus, or of the file.
    pub genes: Arc<[Gene]>,
    /// Cells × `genes`.
    pub counts: CountMatrix,
    /// How the file keeps them; a corpus keeps them in one way.
    pub storage: Storage,
    /// One per [`Corpus::columns`], of its kind, one value a cell.
    pub columns: Vec<MetadataColumn>,
}

/// Which cells of a corpus are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection {
    /// Leave out malignant cells and cell lines (the catalogue says which).
    pub only_normal: bool,
    /// Leave out studies whose platform is known not to use droplets.
    pub only_droplets: bool,
}

impl Selection {
    /// Every cell.
    pub const ALL: Self = Self { only_normal: false, only_droplets: false };
    /// What the paper pretrains on: no malignant cells, no cell lines.
    pub const PRETRAINING: Self = Self { only_normal: true, only_droplets: false };
    /// What the paper takes medians over: of those, droplet-based studies.
    pub const MEDIANS: Self = Self { only_normal: true, only_droplets: true };
}

/// An open corpus.
pub struct Corpus {
    folder: PathBuf,
    manifest: Manifest,
    studies: Vec<Study>,
    parts: Vec<Part>,
    genes: Arc<[Gene]>,
    columns: Vec<MetadataField>,
    copies: Copies,
}

/// One study's folder, and how its genes and columns are called in the corpus.
struct Part {
    folder: PathBuf,
    manifest: StudyManifest,
    /// Place of its first cell in the order of all stored cells.
    start: u64,
    /// Shared by the studies of one gene list: a corpus has thousands of studies.
    genes: Arc<[u32]>,
    /// For each column of the corpus, its place among the study's.
    columns: Vec<Option<usize>>,
    qualifier: Option<String>,
}

impl Corpus {
    /// Opens a corpus folder.
    ///
    /// # Errors
    /// [`Error::Corpus`] if the manifest is not one this version reads, or a
    /// part of the folder is missing or is not the one that was written.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let path = folder.join(MANIFEST);
        let manifest: Manifest = read_json(&path)?;
        check_version(&path, &manifest.format, manifest.version)?;
        let mut corpus = Self {
            studies: manifest.studies.iter().map(|entry| entry.study.clone()).collect(),
            parts: Vec::new(),
            genes: Arc::default(),
            columns: Vec::new(),
            copies: Copies::default(),
            folder,
            manifest,
        };
        corpus.open_parts()?;
        if let Some(stored) = &corpus.manifest.duplicates {
            corpus.copies = Copies::read(&corpus.folder, stored, corpus.n_stored())?;
        }
        Ok(corpus)
    }

    fn open_parts(&mut self) -> Result<()> {
        let (mut all_genes, mut gene_places) = (Vec::new(), HashMap::new());
        let mut lists = HashMap::<String, Arc<[u32]>>::new();
        for study_idx in 0..self.studies.len() {
            let mut part = self.open_part(study_idx)?;
            let list = &part.manifest.genes;
            if !lists.contains_key(list) {
                let genes = gene_list::read(&self.folder, list)?;
                let place = |gene: Gene| {
                    *gene_places.entry(gene.id).or_insert_with(|| {
                        all_genes.push(gene);
                        all_genes.len() as u32 - 1
                    })
                };
                lists.insert(list.clone(), genes.into_iter().map(place).collect());
            }
            part.genes = Arc::clone(&lists[list]);
            unite(&mut self.columns, &part.manifest.columns);
            self.parts.push(part);
        }
        self.genes = all_genes.into();
        for part in &mut self.parts {
            let columns = &part.manifest.columns;
            let place = |field: &MetadataField| columns.iter().position(|c| c.name == field.name);
            part.columns = self.columns.iter().map(place).collect();
        }
        Ok(())
    }

    fn open_part(&self, study_idx: usize) -> Result<Part> {
        let entry = &self.manifest.studies[study_idx];
        let is_plain = Path::new(&entry.folder).file_name().is_some_and(|n| *n == *entry.folder);
        let folder = self.folder.join(&entry.folder);
        if !is_plain || study_hash(&folder)? != entry.xxh3 {
            let reason = format!("{:?} is not the study that was ingested", entry.folder);
            return Err(broken(&self.folder.join(MANIFEST), reason));
        }
        let manifest = StudyManifest::read(&folder)?;
        for shard in manifest.shards.iter().chain([&manifest.profiles]) {
            let path = shard.path(&folder)?;
            std::fs::metadata(&path).map_err(Error::io(&path))?;
        }
        let start = self.parts.last().map_or(0, |part| part.start + part.manifest.n_cells);
        let book = self.manifest.ledger.files.get(study_idx);
        let qualifier =
            book.filter(|book| book.qualified_ids).map(|_| format!("{}:", entry.study.id));
        Ok(Part { folder, manifest, start, genes: Arc::default(), columns: Vec::new(), qualifier })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Its genes, in the order they were first seen.
    #[must_use]
    pub fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// Its studies, in the order they were given.
    #[must_use]
    pub fn studies(&self) -> &[Study] {
        &self.studies
    }

    /// Number of cells, copies not counted.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.manifest.n_cells as usize
    }

    /// Number of cells of the studies in a selection, copies not counted;
    /// malignant cells of a mixed study are in it.
    #[must_use]
    pub fn n_cells_in(&self, selection: Selection) -> u64 {
        let books = self.studies.iter().zip(&self.ledger().files);
        let selected = books.filter(|(study, _)| self.is_selected(study, selection));
        selected.map(|(_, book)| book.cells.kept).sum()
    }

    /// Number of cells on disk, copies included.
    fn n_stored(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start + part.manifest.n_cells)
    }

    /// The metadata columns of all studies. What is of several kinds in
    /// different studies is of their [common](crate::MetadataKind::common) kind.
    #[must_use]
    pub fn columns(&self) -> &[MetadataField] {
        &self.columns
    }

    /// The account of the ingest that made it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.manifest.ledger
    }

    /// A hash of genes, cells, counts and metadata (not of where they lay).
    #[must_use]
    pub fn content_hash(&self) -> &str {
        &self.manifest.content_hash
    }

    /// All cells in order, in blocks of some hundreds; after an error, nothing.
    pub fn blocks(&self) -> impl Iterator<Item = Result<CellBlock>> + Send + '_ {
        self.select(Selection::ALL)
    }

    /// The cells of a selection in order; after an error, nothing.
    pub fn select(
        &self,
        selection: Selection,
    ) -> impl Iterator<Item = Result<CellBlock>> + Send + '_ {
        Blocks { corpus: self, selection, at: Place::default(), open: None, failed: false }
    }

    /// A study's cells as those of the corpus, without copies and without
    /// those the selection leaves out.
    fn block(&self, at: Place, block: StudyBlock, selection: Selection) -> Result<CellBlock> {
        let (part, study) = (&self.parts[at.study], &self.studies[at.study]);
        let kept: Vec<bool> = (0..block.cell_ids.len())
            .map(|cell| {
                let is_copy = self.copies.contains(part.start + at.row + cell as u64);
                let column = |name: &str| {
                    let place = part.manifest.columns.iter().position(|field| field.name == name);
                    place.map_or(MetadataValue::Missing, |place| block.columns[place].get(cell))
                };
                let is_left_out =
                    selection.only_normal && study.malignant.is_cell_malignant(column);
                !is_copy && !is_left_out
            })
            .collect();
        let block = if kept.contains(&false) { block.retain(&kept) } else { block };
        let qualified = |id: String| match &part.qualifier {
            Some(qualifier) => format!("{qualifier}{id}"),
            None => id,
        };
        let n_cells = block.cell_ids.len();
        let mut columns = block.columns;
        let column = |(place, field): (&Option<usize>, &MetadataField)| {
            let absent = MetadataColumn::missing(field.kind, n_cells);
            let Some(place) = *place else { return absent };
            std::mem::replace(&mut columns[place], absent).into_kind(field.kind)
        };
        Ok(CellBlock {
            columns: part.columns.iter().zip(&self.columns).map(column).collect(),
            cell_ids: block.cell_ids.into_iter().map(qualified).collect(),
            studies: vec![at.study as u32; n_cells],
            totals: block.totals,
            genes: Arc::clone(&self.genes),
            storage: Storage::default(),
            counts: block.counts.with_genes(&part.genes, self.genes.len())?,
        })
    }

    fn is_selected(&self, study: &Study, selection: Selection) -> bool {
        let is_normal = !study.cell_line && !study.malignant.is_whole_study();
        let is_droplet = study.droplet != Some(false);
        (is_normal || !selection.only_normal) && (is_droplet || !selection.only_droplets)
    }
}

/// Where a reader is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    study: usize,
    shard: usize,
    /// Row within the study.
    row: u64,
}

/// The state of [`Corpus::select`].
struct Blocks<'a> {
    corpus: &'a Corpus,
    selection: Selection,
    at: Place,
    open: Option<ArrowReader>,
    failed: bool,
}

impl Blocks<'_> {
    fn advance(&mut self) -> Result<Option<CellBlock>> {
        let corpus = self.corpus;
        while let Some(part) = corpus.parts.get(self.at.study) {
            if !corpus.is_selected(&corpus.studies[self.at.study], self.selection) {
                self.at = Place { study: self.at.study + 1, ..Place::default() };
                continue;
            }
            if self.open.is_none() {
                let Some(shard) = part.manifest.shards.get(self.at.shard) else {
                    self.at = Place { study: self.at.study + 1, ..Place::default() };
                    continue;
                };
                self.open = Some(shard.open(&part.folder)?);
                self.at.shard += 1;
            }
            let Some(reader) = &mut self.open else { continue };
            let Some(block) = reader.next_block(part.genes.len(), &part.manifest.columns)? else {
                self.open = None;
                continue;
            };
            let at = self.at;
            self.at.row += block.cell_ids.len() as u64;
            let block = corpus.block(at, block, self.selection)?;
            if !block.cell_ids.is_empty() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<CellBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
