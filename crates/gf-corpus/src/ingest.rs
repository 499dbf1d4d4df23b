//! The one pipeline: a catalogue of files in, a corpus folder out.
//!
//! Study by study: one thread reads blocks of cells, the others map rows to
//! genes and judge the cells; the order of files and cells is kept, so the
//! bytes written do not depend on the number of threads. A study that is
//! already in the folder, read from the same file in the same way, is not read
//! again: that is how an interrupted ingest resumes and how a corpus grows.
//! Memory holds a few blocks of cells and the gene rows of one file.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use rayon::prelude::*;

use crate::{
    OtherFeatures,
    catalogue::{Catalogue, CrossReference},
    commit::commit,
    counts::CountMatrix,
    droplets::{CellRanger22, Threshold},
    error::{Error, Result},
    gene::Gene,
    gene_map::GeneMap,
    ids::IdCheck,
    ledger::{FileLedger, Ledger, SupersededStudy},
    mapping::{Fate, GeneIndex, map_rows},
    profile::{Profile, Profiler},
    qc::{CellFilter, QcOptions, Verdict},
    shard::StudyBlock,
    source::{CountSource, SourceBlock, SourceGene, SourceOptions, open_source},
    stamp::key,
    store::{Store, StudyEntry, study_hash},
    study::Study,
};

/// Cells read and written at a time.
pub(crate) const BLOCK_CELLS: usize = 512;
/// Blocks that may wait between the reader and the rest.
const QUEUE: usize = 2;
/// How many ambiguous or unknown names the ledger quotes.
const QUOTED_NAMES: usize = 10;

/// How to ingest.
#[derive(Debug, Clone, Default)]
pub struct IngestOptions {
    /// How to read the files; a study's own layer comes first.
    pub source: SourceOptions,
    /// Which names stand for which genes.
    pub genes: GeneMap,
    /// What a cell needs to be kept.
    pub qc: QcOptions,
    /// Calls cells among the droplets of unfiltered matrices. A study's own
    /// number of expected cells comes first.
    pub droplets: Option<CellRanger22>,
    /// Leave copies of cells in the corpus; they are reported all the same.
    pub keep_copies: bool,
    /// Read also what several databases offer under one DOI; copies of cells are
    /// then found by their content alone.
    pub every_offer: bool,
    /// Keep the studies of the corpus that is there, and add to them.
    pub append: bool,
}

/// How far a long call has come, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Cells done.
    pub done: u64,
    /// Cells in all.
    pub total: u64,
}

/// What [`ingest`] calls with the study it reads and how far it has come.
pub type StudyProgress<'a> = dyn FnMut(&Study, Progress) -> ControlFlow<()> + 'a;

/// Reads the studies of a catalogue in order into the corpus folder `out`.
///
/// Studies that several databases offer are read once, and copies of cells are
/// left out; the ledger says which. A cell keeps its id (barcode) unless an
/// earlier study has one of the study's ids: then all its cells are called
/// `STUDY:id`.
///
/// The corpus at `out` changes at one moment, at the end. Until then the studies
/// that are done lie beside it, and the same call finishes the work of one that
/// was interrupted. `progress` may stop it.
///
/// # Errors
/// What is wrong with the first file that cannot be read, [`Error::NotACorpus`]
/// for a target that must not be overwritten, [`Error::Cancelled`].
pub fn ingest(
    catalogue: &Catalogue,
    out: &Path,
    options: &IngestOptions,
    progress: &mut StudyProgress,
) -> Result<Ledger> {
    let CrossReference { kept: studies, superseded } = if options.every_offer {
        CrossReference { kept: catalogue.studies.clone(), ..CrossReference::default() }
    } else {
        catalogue.clone().cross_reference()
    };
    if studies.is_empty() {
        return Err(Error::NoInput);
    }
    let store = Store::open(out)?;
    let mut entries = if options.append { store.entries()? } else { Vec::new() };
    let done = store.studies()?;
    for study in studies {
        let key = key(&study, options)?;
        let folder = match done.get(&key) {
            Some(folder) => folder.clone(),
            None => read_study(&study, key, &store, options, progress)?,
        };
        let xxh3 = study_hash(&store.folder().join(&folder))?;
        enter(&mut entries, StudyEntry { folder, xxh3, study })?;
    }
    let superseded = superseded.into_iter().map(|superseded| {
        let n_cells = open(&superseded.study, options).map(|source| source.n_cells() as u64);
        SupersededStudy { n_cells: n_cells.ok(), superseded }
    });
    commit(&store, entries, superseded.collect(), options)
}

/// Adds a study, in the place of an older state of itself.
fn enter(entries: &mut Vec<StudyEntry>, new: StudyEntry) -> Result<()> {
    match entries.iter_mut().find(|entry| entry.study.id == new.study.id) {
        None => entries.push(new),
        Some(old) if old.study.path == new.study.path => *old = new,
        Some(old) => {
            return Err(Error::StudyIdTaken {
                id: new.study.id,
                path: new.study.path,
                taken_by: old.study.path.clone(),
            });
        }
    }
    Ok(())
}

fn open(study: &Study, options: &IngestOptions) -> Result<Box<dyn CountSource>> {
    let layer = study.layer.clone().or_else(|| options.source.layer.clone());
    open_source(&study.path, &SourceOptions { layer })
}

/// What is known about a file before its cells are read.
struct Plan {
    /// Fate of each gene row, and its gene in the study where it has one.
    fates: Vec<Fate>,
    places: Vec<u32>,
    genes: Vec<Gene>,
    filter: CellFilter,
    profiler: Profiler,
    threshold: Option<u64>,
}

/// Reads one study into the folder; returns its folder's name.
fn read_study(
    study: &Study,
    key: String,
    store: &Store,
    options: &IngestOptions,
    progress: &mut StudyProgress,
) -> Result<String> {
    let source = open(study, options)?;
    let (plan, mut book) = plan(study, source.as_ref(), options)?;
    let mut writer = store.create_study(&plan.genes, source.columns())?;
    let mut ids = IdCheck::new();
    let (mut done, total) = (0, source.n_cells() as u64);
    std::thread::scope(|scope| {
        let (sender, receiver): (_, Receiver<Result<Message>>) = sync_channel(QUEUE);
        scope.spawn(move || read_all(source, &sender));
        for message in receiver {
            match message? {
                Message::Block(block) => {
                    done += block.cell_ids.len() as u64;
                    ids.push(&block.cell_ids)?;
                    let (block, profiles) = process(block, &plan, &mut book)?;
                    writer.write(&block, &profiles)?;
                    if progress(study, Progress { done, total }).is_break() {
                        return Err(Error::Cancelled);
                    }
                }
                Message::End(other) => book.other_features = other,
            }
        }
        Ok(())
    })?;
    ids.finish(&study.path, || open(study, options))?;
    writer.finish(&study.id, key, book)
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
    let (places, genes) = number_genes(source.genes(), &fates, &mut book)?;
    book.droplet_threshold = threshold(study, options)?.map(|threshold| threshold.min_counts);
    let plan = Plan {
        filter: CellFilter::new(&genes, &options.qc)?,
        profiler: Profiler::new(&genes),
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
    profile: Profile,
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
        profiles.push(cell.profile);
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
    let profile = plan.profiler.profile(id, row.row(0));
    Ok(Mapped { row, profile, total, ambiguous, unknown, verdict })
}

fn tally_routes(block: &SourceBlock, plan: &Plan, book: &mut FileLedger) {
    let entries = block.counts.indices().iter().zip(block.counts.values());
    for (&row, &count) in entries {
        if let Fate::Gene(_, route) = plan.fates[row as usize] {
            book.routes.entry(route).or_default().counts += u64::from(count);
        }
    }
}
