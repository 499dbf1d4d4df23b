//! The cells of one study as they are read: mapped to genes and judged.
//!
//! One thread reads blocks of cells, the others map rows to genes and judge the
//! cells; the order of the cells is kept.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

use rayon::prelude::*;

use crate::{
    OtherFeatures,
    calls::{CalledCells, total},
    counts::{CountMatrix, RowsMut, rename},
    error::{Error, Result},
    gene::Gene,
    ids::IdCheck,
    ingest::{IngestOptions, Progress},
    ledger::FileLedger,
    mapping::{Collapse, Fate, GeneIndex, in_reference_order, map_rows},
    metadata::MetadataField,
    profile::{Profile, Profiler},
    qc::{CellFilter, Verdict},
    shard::StudyBlock,
    source::{CountSource, SourceBlock, SourceGene, SourceOptions, Storage, open_source},
    study::Study,
};

/// Cells read and written at a time.
pub(crate) const BLOCK_CELLS: usize = 512;
/// Blocks that may wait between the reader and the rest.
const QUEUE: usize = 2;
/// Cells mapped by one thread at a time.
const CELLS_AT_ONCE: usize = 64;
/// The place of a row whose name several genes share.
const AMBIGUOUS: u32 = u32::MAX;
/// The place of a row that is no known gene.
const UNKNOWN: u32 = u32::MAX - 1;
/// How many ambiguous or unknown names the ledger quotes.
const QUOTED_NAMES: usize = 10;

/// Opens the file of a study.
pub(crate) fn open(study: &Study, options: &IngestOptions) -> Result<Box<dyn CountSource>> {
    let layer = study.layer.clone().or_else(|| options.source.layer.clone());
    open_source(&study.path, &SourceOptions { layer, ..options.source.clone() })
}

/// A study that is being read.
pub(crate) struct StudyCells {
    study: Study,
    options: IngestOptions,
    plan: Plan,
    book: FileLedger,
    columns: Vec<MetadataField>,
    storage: Storage,
    messages: Receiver<Result<Message>>,
    /// Ends when nobody listens any more.
    reader: Option<JoinHandle<()>>,
    ids: Option<IdCheck>,
    progress: Progress,
    /// Counts of each gene row so far.
    by_row: Vec<u64>,
}

impl StudyCells {
    /// `wants_profiles`: whether [`next_block`](Self::next_block) gives them, or none.
    pub(crate) fn open(
        study: &Study,
        options: &IngestOptions,
        wants_profiles: bool,
    ) -> Result<Self> {
        Self::of(open(study, options)?, study, options, wants_profiles)
    }

    /// Of a study's file that is open already.
    pub(crate) fn of(
        source: Box<dyn CountSource>,
        study: &Study,
        options: &IngestOptions,
        wants_profiles: bool,
    ) -> Result<Self> {
        let (mut plan, book) = plan(study, source.as_ref(), options)?;
        plan.profiler = wants_profiles.then(|| Profiler::new(&plan.genes));
        let (columns, storage) = (source.columns().to_vec(), source.storage());
        let progress = Progress { done: 0, total: source.n_cells() as u64 };
        let by_row = vec![0; plan.places.len()];
        let (sender, messages) = sync_channel(QUEUE);
        let reader = Builder::new().spawn(move || read_all(source, &sender));
        let reader = Some(reader.map_err(Error::io(&study.path))?);
        Ok(Self {
            study: study.clone(),
            options: options.clone(),
            plan,
            book,
            columns,
            storage,
            messages,
            reader,
            ids: Some(IdCheck::new()),
            progress,
            by_row,
        })
    }

    pub(crate) fn genes(&self) -> &[Gene] {
        &self.plan.genes
    }

    pub(crate) fn columns(&self) -> &[MetadataField] {
        &self.columns
    }

    pub(crate) fn storage(&self) -> Storage {
        self.storage
    }

    /// How many cells were read, and how many there are.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// The cells kept of the next block read; perhaps none.
    pub(crate) fn next_block(&mut self) -> Result<Option<(StudyBlock, Vec<Profile>)>> {
        let Ok(message) = self.messages.recv() else {
            // It has sent its last message before, or has panicked.
            let ended = self.reader.take().map_or(Ok(()), JoinHandle::join);
            return ended.map(|()| None).or_else(|panic| std::panic::resume_unwind(panic));
        };
        match message? {
            Message::Block(block) => {
                let first = self.progress.done as usize;
                self.progress.done += block.cell_ids.len() as u64;
                self.ids.iter_mut().try_for_each(|ids| ids.push(&block.cell_ids))?;
                self.add_by_row(&block.counts);
                process(block, first, &self.plan, &mut self.book).map(Some)
            }
            Message::End(other) => {
                self.tally_routes();
                self.book.other_features = other;
                let reopen = || open(&self.study, &self.options);
                let ids = self.ids.take();
                ids.map_or(Ok(()), |ids| ids.finish(&self.study.path, reopen)).map(|()| None)
            }
        }
    }

    fn add_by_row(&mut self, counts: &CountMatrix) {
        for (&row, &count) in counts.indices().iter().zip(counts.values()) {
            self.by_row[row as usize] += u64::from(count);
        }
    }

    fn tally_routes(&mut self) {
        for (fate, counts) in self.plan.fates.iter().zip(&self.by_row) {
            if let Fate::Gene(_, route) = fate {
                self.book.routes.entry(*route).or_default().counts += counts;
            }
        }
    }

    /// What became of its rows and cells, once all are read.
    pub(crate) fn into_ledger(self) -> FileLedger {
        self.book
    }
}

/// What is known about a file before its cells are read.
struct Plan {
    /// Fate of each gene row, and its gene in the study; [`AMBIGUOUS`] or [`UNKNOWN`] where it has
    /// none.
    fates: Vec<Fate>,
    places: Vec<u32>,
    genes: Vec<Gene>,
    filter: CellFilter,
    profiler: Option<Profiler>,
    /// The droplets that are cells, where they were called.
    called: Option<CalledCells>,
}

fn plan(
    study: &Study,
    source: &dyn CountSource,
    options: &IngestOptions,
) -> Result<(Plan, FileLedger)> {
    let mut book = FileLedger {
        path: study.path.display().to_string(),
        name: study.id.clone(),
        source_database: study.source_database.clone(),
        layer: source.layer().to_owned(),
        unread_columns: source.unread_columns().to_vec(),
        ..FileLedger::default()
    };
    let fates = map_rows(source.path(), source.genes(), &options.genes)?;
    let (mut places, mut genes) = number_genes(source.genes(), &fates, &mut book)?;
    if options.collapse == Collapse::Reference {
        let layout = source.storage().layout;
        let rows = source.genes();
        if !in_reference_order(rows, &fates, &options.genes, layout, &mut places, &mut genes) {
            book.summed_rows = 0;
        }
    }
    let called = CalledCells::of(study, options)?;
    book.droplet_threshold = called.as_ref().map(|called| called.min_counts);
    book.droplet_test = called.as_ref().and_then(|called| called.test);
    let plan = Plan {
        filter: CellFilter::new(&genes, &options.qc)?,
        profiler: None,
        called,
        fates,
        places,
        genes,
    };
    Ok((plan, book))
}

/// The genes of a study in the order of its rows, and each row's place among them.
fn number_genes(
    rows: &[SourceGene],
    fates: &[Fate],
    book: &mut FileLedger,
) -> Result<(Vec<u32>, Vec<Gene>)> {
    let mut index = GeneIndex::with_capacity(rows.len());
    let mut places = Vec::with_capacity(rows.len());
    for (row, fate) in rows.iter().zip(fates) {
        places.push(match fate {
            Fate::Gene(id, route) => {
                book.routes.entry(*route).or_default().rows += 1;
                let n_before = index.len();
                let place = index.enter(*id, row)?;
                book.summed_rows += u64::from(index.len() == n_before);
                place
            }
            Fate::Ambiguous => {
                book.ambiguous.rows += 1;
                quote(&mut book.ambiguous_names, row);
                AMBIGUOUS
            }
            Fate::Unknown => {
                book.unknown.rows += 1;
                quote(&mut book.unknown_names, row);
                UNKNOWN
            }
        });
    }
    Ok((places, index.into_genes()))
}

fn quote(names: &mut Vec<String>, row: &SourceGene) {
    if names.len() < QUOTED_NAMES {
        let mut texts = [Some(row.id.as_str()), row.symbol.as_deref()].into_iter().flatten();
        let name = texts.find(|text| !text.is_empty()).unwrap_or("(no name)");
        names.push(name.to_owned());
    }
}

/// What the reading thread sends.
enum Message {
    Block(SourceBlock),
    End(BTreeMap<String, OtherFeatures>),
}

fn read_all(mut source: Box<dyn CountSource>, sender: &SyncSender<Result<Message>>) {
    // A send fails only when the other side has stopped, and knows why.
    loop {
        let message = match source.next_block(BLOCK_CELLS) {
            Ok(Some(block)) => Ok(Message::Block(block)),
            Ok(None) => Ok(Message::End(source.other_features().clone())),
            Err(error) => Err(error),
        };
        let is_last = !matches!(message, Ok(Message::Block(_)));
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

/// What became of a cell, and of its counts.
struct Judged {
    verdict: Verdict,
    /// Entries left of its row.
    n_entries: usize,
    total: u64,
    ambiguous: u64,
    unknown: u64,
    /// Of a cell that is kept, if it is wanted.
    profile: Option<Profile>,
}

impl Judged {
    fn is_kept(&self) -> bool {
        self.verdict == Verdict::Kept
    }
}

/// Maps and judges a block whose cells begin at `first` in the file.
fn process(
    block: SourceBlock,
    first: usize,
    plan: &Plan,
    book: &mut FileLedger,
) -> Result<(StudyBlock, Vec<Profile>)> {
    let SourceBlock { cell_ids, mut counts, mut columns } = block;
    let ids = cell_ids.par_chunks(CELLS_AT_ONCE).enumerate();
    let mut cells: Vec<Judged> = ids
        .zip(counts.rows_mut(CELLS_AT_ONCE))
        .map(|((part, ids), rows)| map_cells(ids, first + part * CELLS_AT_ONCE, rows, plan))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    cells.iter().for_each(|cell| tally(cell, book));
    let kept: Vec<bool> = cells.iter().map(Judged::is_kept).collect();
    let lengths = cells.iter().map(|cell| cell.is_kept().then_some(cell.n_entries));
    let counts = counts.shortened(lengths, plan.genes.len());
    let totals = cells.iter().filter(|cell| cell.is_kept()).map(|cell| cell.total).collect();
    let profiles = cells.iter_mut().filter_map(|cell| cell.profile.take()).collect();
    let ids = cell_ids.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(id, _)| id);
    columns.iter_mut().for_each(|column| column.retain(&kept));
    Ok((StudyBlock { cell_ids: ids.collect(), totals, counts, columns }, profiles))
}

fn tally(cell: &Judged, book: &mut FileLedger) {
    let mapped_counts = cell.total - cell.ambiguous - cell.unknown;
    book.cells.add(cell.verdict);
    book.ambiguous.counts += cell.ambiguous;
    book.unknown.counts += cell.unknown;
    match cell.verdict {
        Verdict::Kept => book.counts_kept += mapped_counts,
        _ => book.counts_in_dropped_cells += mapped_counts,
    }
}

fn map_cells(ids: &[String], first: usize, mut rows: RowsMut, plan: &Plan) -> Result<Vec<Judged>> {
    let cells = ids.iter().enumerate();
    cells.map(|(idx, id)| map_cell(id, first + idx, rows.row(idx), plan)).collect()
}

/// Renames the genes of a cell in place, and judges it.
fn map_cell(
    id: &str,
    droplet: usize,
    (genes, counts): (&mut [u32], &mut [u32]),
    plan: &Plan,
) -> Result<Judged> {
    let total = total(counts);
    let (mut ambiguous, mut unknown) = (0, 0);
    let left_out = |place, count| match place {
        AMBIGUOUS => ambiguous += u64::from(count),
        _ => unknown += u64::from(count),
    };
    let renamed = rename((genes, counts), &plan.places, plan.genes.len(), left_out);
    let n_entries = renamed.map_err(|reason| Error::Counts { cell: droplet, reason })?;
    let row = (&genes[..n_entries], &counts[..n_entries]);
    let is_empty_droplet = plan.called.as_ref().is_some_and(|cells| !cells.calls(droplet, total));
    let verdict = match is_empty_droplet && total > 0 {
        true => Verdict::EmptyDroplet,
        false => plan.filter.judge(total, row),
    };
    let profiler = plan.profiler.as_ref().filter(|_| verdict == Verdict::Kept);
    let profile = profiler.map(|profiler| profiler.profile(id, row));
    Ok(Judged { verdict, n_entries, total, ambiguous, unknown, profile })
}
