//! The cells of one study as they are read: mapped to genes and judged.
//!
//! One thread reads blocks of cells, the others map rows to genes and judge the
//! cells; the order of the cells is kept.

use std::{
    collections::{BTreeMap, HashSet},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

use rayon::prelude::*;

use crate::{
    OtherFeatures,
    counts::CountMatrix,
    droplets::{CellRanger22, Threshold},
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
                self.progress.done += block.cell_ids.len() as u64;
                self.ids.iter_mut().try_for_each(|ids| ids.push(&block.cell_ids))?;
                process(block, &self.plan, &mut self.book).map(Some)
            }
            Message::End(other) => {
                self.book.other_features = other;
                let reopen = || open(&self.study, &self.options);
                let ids = self.ids.take();
                ids.map_or(Ok(()), |ids| ids.finish(&self.study.path, reopen)).map(|()| None)
            }
        }
    }

    /// What became of its rows and cells.
    pub(crate) fn into_ledger(self) -> FileLedger {
        self.book
    }
}

/// What is known about a file before its cells are read.
struct Plan {
    /// Fate of each gene row, and its gene in the study where it has one.
    fates: Vec<Fate>,
    places: Vec<u32>,
    genes: Vec<Gene>,
    filter: CellFilter,
    profiler: Option<Profiler>,
    threshold: Option<u64>,
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
    book.droplet_threshold = threshold(study, options)?.map(|threshold| threshold.min_counts);
    let plan = Plan {
        filter: CellFilter::new(&genes, &options.qc)?,
        profiler: None,
        threshold: book.droplet_threshold,
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
    let mut seen = HashSet::new();
    for (row, fate) in rows.iter().zip(fates) {
        places.push(match fate {
            Fate::Gene(id, route) => {
                book.routes.entry(*route).or_default().rows += 1;
                book.summed_rows += u64::from(!seen.insert(*id));
                index.enter(*id, row)?
            }
            Fate::Ambiguous => {
                book.ambiguous.rows += 1;
                quote(&mut book.ambiguous_names, row);
                0
            }
            Fate::Unknown => {
                book.unknown.rows += 1;
                quote(&mut book.unknown_names, row);
                0
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

/// Where cells end and empty droplets begin, by a first pass over the file.
fn threshold(study: &Study, options: &IngestOptions) -> Result<Option<Threshold>> {
    let Some(rule) = options.droplets else { return Ok(None) };
    let rule = match study.expected_cells {
        Some(expected_cells) => CellRanger22 { expected_cells, ..rule },
        None => rule,
    };
    let mut source = open(study, options)?;
    let mut totals = Vec::new();
    while let Some(block) = source.next_block(BLOCK_CELLS)? {
        totals.extend(block.counts.rows().map(|(_, counts)| total(counts)));
    }
    rule.threshold(&totals).map(Some)
}

fn total(counts: &[u32]) -> u64 {
    counts.iter().map(|&count| u64::from(count)).sum()
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

/// A cell over the genes of its study.
struct Mapped {
    row: CountMatrix,
    profile: Option<Profile>,
    total: u64,
    ambiguous: u64,
    unknown: u64,
    verdict: Verdict,
}

fn process(
    block: SourceBlock,
    plan: &Plan,
    book: &mut FileLedger,
) -> Result<(StudyBlock, Vec<Profile>)> {
    let mapped: Vec<Mapped> = (0..block.cell_ids.len())
        .into_par_iter()
        .map(|cell| map_cell(&block.cell_ids[cell], block.counts.row(cell), plan))
        .collect::<Result<_>>()?;
    tally_routes(&block, plan, book);
    let mut counts = CountMatrix::new(plan.genes.len());
    let (mut totals, mut profiles) = (Vec::new(), Vec::new());
    for cell in &mapped {
        let mapped_counts = cell.total - cell.ambiguous - cell.unknown;
        book.cells.add(cell.verdict);
        book.ambiguous.counts += cell.ambiguous;
        book.unknown.counts += cell.unknown;
        if cell.verdict != Verdict::Kept {
            book.counts_in_dropped_cells += mapped_counts;
            continue;
        }
        book.counts_kept += mapped_counts;
        totals.push(cell.total);
        counts.append(&cell.row);
        profiles.extend(cell.profile);
    }
    let kept: Vec<bool> = mapped.iter().map(|cell| cell.verdict == Verdict::Kept).collect();
    let ids = block.cell_ids.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(id, _)| id);
    let mut columns = block.columns;
    columns.iter_mut().for_each(|column| column.retain(&kept));
    Ok((StudyBlock { cell_ids: ids.collect(), totals, counts, columns }, profiles))
}

fn map_cell(id: &str, (rows, counts): (&[u32], &[u32]), plan: &Plan) -> Result<Mapped> {
    let (mut ambiguous, mut unknown) = (0, 0);
    let mut entries = Vec::with_capacity(rows.len());
    for (&row, &count) in rows.iter().zip(counts) {
        match plan.fates[row as usize] {
            Fate::Gene(..) => entries.push((plan.places[row as usize], count)),
            Fate::Ambiguous => ambiguous += u64::from(count),
            Fate::Unknown => unknown += u64::from(count),
        }
    }
    let mut row = CountMatrix::new(plan.genes.len());
    row.push_row(entries)?;
    let total = total(counts);
    let is_empty_droplet = plan.threshold.is_some_and(|threshold| total < threshold);
    let verdict = match is_empty_droplet && total > 0 {
        true => Verdict::EmptyDroplet,
        false => plan.filter.judge(total, row.row(0)),
    };
    let profile = plan.profiler.as_ref().map(|profiler| profiler.profile(id, row.row(0)));
    Ok(Mapped { row, profile, total, ambiguous, unknown, verdict })
}

fn tally_routes(block: &SourceBlock, plan: &Plan, book: &mut FileLedger) {
    let mut by_row = vec![0; plan.fates.len()];
    for (&row, &count) in block.counts.indices().iter().zip(block.counts.values()) {
        by_row[row as usize] += u64::from(count);
    }
    for (fate, counts) in plan.fates.iter().zip(by_row) {
        if let Fate::Gene(_, route) = fate {
            book.routes.entry(*route).or_default().counts += counts;
        }
    }
}
