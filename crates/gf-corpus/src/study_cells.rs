//! The cells of one study as they are read: mapped to genes and judged.
//!
//! One thread reads blocks of cells, the others map rows to genes and judge the
//! cells; the order of the cells is kept.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

use rayon::prelude::*;

use crate::{
    OtherFeatures,
    calls::{CalledCells, total},
    counts::CountMatrix,
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
    let mut index = GeneIndex::default();
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

/// Some cells over the genes of their study.
struct Mapped {
    /// Of the cells kept.
    counts: CountMatrix,
    profiles: Vec<Profile>,
    cells: Vec<Judged>,
}

/// What became of a cell, and of its counts.
struct Judged {
    verdict: Verdict,
    total: u64,
    ambiguous: u64,
    unknown: u64,
}

/// Maps and judges a block whose cells begin at `first` in the file.
fn process(
    block: SourceBlock,
    first: usize,
    plan: &Plan,
    book: &mut FileLedger,
) -> Result<(StudyBlock, Vec<Profile>)> {
    let n_cells = block.cell_ids.len();
    let mapped: Vec<Mapped> = (0..n_cells.div_ceil(CELLS_AT_ONCE))
        .into_par_iter()
        .map(|part| {
            let start = part * CELLS_AT_ONCE;
            map_cells(&block, first, start..n_cells.min(start + CELLS_AT_ONCE), plan)
        })
        .collect::<Result<_>>()?;
    let mut counts = CountMatrix::new(plan.genes.len());
    counts.reserve(mapped.iter().map(|some| some.counts.n_entries()).sum());
    let (mut totals, mut profiles, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for some in mapped {
        counts.append(&some.counts);
        profiles.extend(some.profiles);
        for cell in some.cells {
            tally(&cell, book);
            kept.push(cell.verdict == Verdict::Kept);
            totals.extend((cell.verdict == Verdict::Kept).then_some(cell.total));
        }
    }
    let ids = block.cell_ids.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(id, _)| id);
    let mut columns = block.columns;
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

fn map_cells(
    block: &SourceBlock,
    first: usize,
    cells: Range<usize>,
    plan: &Plan,
) -> Result<Mapped> {
    let (n_genes, n_cells) = (plan.genes.len(), cells.len());
    let mut mapped = Mapped {
        counts: CountMatrix::new(n_genes),
        profiles: Vec::new(),
        cells: Vec::with_capacity(n_cells),
    };
    mapped.counts.reserve(block.counts.indptr()[cells.end] - block.counts.indptr()[cells.start]);
    let mut scratch = (Vec::new(), Vec::new());
    for cell in cells {
        let row = block.counts.row(cell);
        let judged = map_cell(first + cell, row, plan, &mut scratch, &mut mapped.counts)?;
        if let Some(profiler) = plan.profiler.as_ref().filter(|_| judged.verdict == Verdict::Kept) {
            let row = mapped.counts.row(mapped.counts.n_cells() - 1);
            mapped.profiles.push(profiler.profile(&block.cell_ids[cell], row));
        }
        mapped.cells.push(judged);
    }
    Ok(mapped)
}

/// Adds a cell to `mapped` if it is kept.
fn map_cell(
    droplet: usize,
    (rows, counts): (&[u32], &[u32]),
    plan: &Plan,
    (genes, of_genes): &mut (Vec<u32>, Vec<u32>),
    mapped: &mut CountMatrix,
) -> Result<Judged> {
    genes.clear();
    of_genes.clear();
    let (mut ambiguous, mut unknown) = (0, 0);
    for (&row, &count) in rows.iter().zip(counts) {
        match plan.places[row as usize] {
            AMBIGUOUS => ambiguous += u64::from(count),
            UNKNOWN => unknown += u64::from(count),
            gene => {
                genes.push(gene);
                of_genes.push(count);
            }
        }
    }
    mapped.push_slices(genes, of_genes)?;
    let total = total(counts);
    let is_empty_droplet = plan.called.as_ref().is_some_and(|cells| !cells.calls(droplet, total));
    let verdict = match is_empty_droplet && total > 0 {
        true => Verdict::EmptyDroplet,
        false => plan.filter.judge(total, mapped.row(mapped.n_cells() - 1)),
    };
    if verdict != Verdict::Kept {
        mapped.pop_row();
    }
    Ok(Judged { verdict, total, ambiguous, unknown })
}
