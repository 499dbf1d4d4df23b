//! Cells in order: of a corpus, or straight from files.

use std::{path::Path, sync::Arc};

use xxhash_rust::xxh3::xxh3_128;

use crate::{
    corpus::{CellBlock, Corpus, Selection},
    error::{Error, Result},
    gene::Gene,
    ingest::IngestOptions,
    ledger::FileLedger,
    metadata::{MetadataColumn, MetadataField},
    shard::StudyBlock,
    source::CountSource,
    stamp::key,
    study::Study,
    study_cells::{StudyCells, open},
};

/// Cells that are read once, in order.
pub trait Cells {
    /// Where they lie: the corpus, or the first file.
    fn path(&self) -> &Path;

    /// Their metadata.
    fn columns(&self) -> &[MetadataField];

    /// How many cells will be read.
    fn n_cells(&self) -> u64;

    /// How many cells there are, with those that are not read.
    fn n_all(&self) -> u64 {
        self.n_cells()
    }

    /// How many of them were read so far.
    fn n_read(&self) -> u64;

    /// A hash of what the cells come from and of all that decides how they are
    /// read: the same gives the same cells.
    fn fingerprint(&self) -> String;

    /// The next cells; perhaps none of a block that was read.
    ///
    /// # Errors
    /// What is wrong with the corpus or the file.
    fn next_block(&mut self) -> Result<Option<CellBlock>>;
}

/// A selection of a corpus.
pub struct CorpusCells<'a> {
    corpus: &'a Corpus,
    selection: Selection,
    blocks: Box<dyn Iterator<Item = Result<CellBlock>> + Send + 'a>,
    n_read: u64,
}

impl<'a> CorpusCells<'a> {
    /// The cells of a selection.
    #[must_use]
    pub fn new(corpus: &'a Corpus, selection: Selection) -> Self {
        Self { corpus, selection, blocks: Box::new(corpus.select(selection)), n_read: 0 }
    }
}

impl Cells for CorpusCells<'_> {
    fn path(&self) -> &Path {
        self.corpus.path()
    }

    fn columns(&self) -> &[MetadataField] {
        self.corpus.columns()
    }

    fn n_cells(&self) -> u64 {
        self.corpus.n_cells_in(self.selection)
    }

    fn n_all(&self) -> u64 {
        self.corpus.n_cells() as u64
    }

    fn n_read(&self) -> u64 {
        self.n_read
    }

    fn fingerprint(&self) -> String {
        let read_as = (self.corpus.content_hash(), self.selection);
        format!("{:032x}", xxh3_128(format!("{read_as:?}").as_bytes()))
    }

    fn next_block(&mut self) -> Result<Option<CellBlock>> {
        let block = self.blocks.next().transpose()?;
        self.n_read += block.iter().map(|block| block.cell_ids.len() as u64).sum::<u64>();
        Ok(block)
    }
}

/// Files that are read one after the other, without a corpus on disk: copies
/// of cells are not looked for. Of several files, a cell is called `STUDY:id`.
///
/// ```no_run
/// use gf_corpus::{Cells, FileCells, Found, IngestOptions};
///
/// let found = Found::under(&["donor1.h5ad".into(), "donor2.loom".into()])?;
/// let mut cells = FileCells::open(found.catalogue.studies, IngestOptions::default())?;
/// while let Some(block) = cells.next_block()? {
///     println!("{} cells of {} genes", block.cell_ids.len(), block.genes.len());
/// }
/// println!("{:?}", cells.ledgers());
/// # Ok::<(), gf_corpus::Error>(())
/// ```
pub struct FileCells {
    studies: Vec<Study>,
    options: IngestOptions,
    columns: Vec<MetadataField>,
    n_cells: u64,
    n_read: u64,
    fingerprint: String,
    /// The first file, until it is read.
    first: Option<Box<dyn CountSource>>,
    /// The study that is being read, and its genes.
    open: Option<(StudyCells, Arc<[Gene]>)>,
    ledgers: Vec<FileLedger>,
}

impl FileCells {
    /// Opens all files, to see what they hold, and reads none. Of the options,
    /// those that are about whole corpora mean nothing here.
    ///
    /// # Errors
    /// [`Error::NoInput`] without studies; what is wrong with a file.
    pub fn open(studies: Vec<Study>, options: IngestOptions) -> Result<Self> {
        if studies.is_empty() {
            return Err(Error::NoInput);
        }
        let (mut columns, mut n_cells, mut keys) = (Vec::<MetadataField>::new(), 0, String::new());
        let mut first = None;
        for study in &studies {
            let source = open(study, &options)?;
            n_cells += source.n_cells() as u64;
            unite(&mut columns, source.columns());
            keys += &key(study, &options)?;
            first.get_or_insert(source);
        }
        let fingerprint = format!("{:032x}", xxh3_128(keys.as_bytes()));
        let ledgers = Vec::new();
        let (n_read, open) = (0, None);
        Ok(Self { studies, options, columns, n_cells, n_read, fingerprint, first, open, ledgers })
    }

    /// What became of the rows and cells of each file that was read to its end.
    #[must_use]
    pub fn ledgers(&self) -> &[FileLedger] {
        &self.ledgers
    }

    /// A block of the study that is open, as one of all files.
    fn block(&self, cells: &StudyCells, genes: Arc<[Gene]>, block: StudyBlock) -> CellBlock {
        let study = self.ledgers.len();
        let qualified = |id: String| match self.studies.len() {
            1 => id,
            _ => format!("{}:{id}", self.studies[study].id),
        };
        let n_cells = block.cell_ids.len();
        let mut own = block.columns;
        let column = |field: &MetadataField| {
            let absent = MetadataColumn::missing(field.kind, n_cells);
            let place = cells.columns().iter().position(|own| own.name == field.name);
            let Some(place) = place else { return absent };
            std::mem::replace(&mut own[place], absent).into_kind(field.kind)
        };
        CellBlock {
            columns: self.columns.iter().map(column).collect(),
            cell_ids: block.cell_ids.into_iter().map(qualified).collect(),
            studies: vec![study as u32; n_cells],
            totals: block.totals,
            genes,
            counts: block.counts,
            storage: cells.storage(),
        }
    }
}

/// Adds columns that are new, and the kinds of those that are there.
pub(crate) fn unite(columns: &mut Vec<MetadataField>, more: &[MetadataField]) {
    for field in more {
        match columns.iter_mut().find(|known| known.name == field.name) {
            Some(known) => {
                known.kind = known.kind.common(field.kind);
                known.is_single &= field.is_single;
            }
            None => columns.push(field.clone()),
        }
    }
}

impl Cells for FileCells {
    fn path(&self) -> &Path {
        &self.studies[0].path
    }

    fn columns(&self) -> &[MetadataField] {
        &self.columns
    }

    fn n_cells(&self) -> u64 {
        self.n_cells
    }

    fn n_read(&self) -> u64 {
        self.n_read + self.open.as_ref().map_or(0, |(cells, _)| cells.progress().done)
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn next_block(&mut self) -> Result<Option<CellBlock>> {
        loop {
            let (mut cells, genes) = match self.open.take() {
                Some(open) => open,
                None => {
                    let Some(study) = self.studies.get(self.ledgers.len()) else { return Ok(None) };
                    let source = match self.first.take() {
                        Some(source) => source,
                        None => open(study, &self.options)?,
                    };
                    let cells = StudyCells::of(source, study, &self.options, false)?;
                    let genes = cells.genes().into();
                    (cells, genes)
                }
            };
            if let Some((block, _)) = cells.next_block()? {
                let block = self.block(&cells, Arc::clone(&genes), block);
                self.open = Some((cells, genes));
                return Ok(Some(block));
            }
            self.n_read += cells.progress().done;
            self.ledgers.push(cells.into_ledger());
        }
    }
}
