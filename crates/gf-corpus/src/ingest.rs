//! The one pipeline: files of counts in, a corpus folder out.
//!
//! Each file is opened twice: once to learn its genes and columns, so that
//! the corpus knows all of them before the first cell, and once to stream its
//! cells. One thread reads, the others map rows to genes and filter cells;
//! the order of files and cells is kept, so the bytes written do not depend
//! on the number of threads. Memory holds a few blocks of cells, the index
//! tables of one file and 16 bytes per cell kept.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    corpus::{CellBlock, is_corpus},
    counts::CountMatrix,
    error::{Error, Result},
    ledger::{FileLedger, Ledger},
    mapping::{Fate, GeneIndex, map_rows},
    qc::{CellFilter, MIN_PROTEIN_CODING, QcOptions, Verdict},
    source::{CountSource, SourceBlock, SourceGene, SourceOptions, open_source},
    writer::CorpusWriter,
};

/// Cells read and written at a time.
const BLOCK_CELLS: usize = 512;
/// Blocks that may wait between the reader and the rest.
const QUEUE: usize = 2;
/// How many ambiguous or unknown names the ledger quotes.
const QUOTED_NAMES: usize = 10;
/// Folder names that say nothing about the sample.
const GENERIC_FOLDERS: [&str; 9] = [
    "filtered_feature_bc_matrix",
    "raw_feature_bc_matrix",
    "filtered_gene_bc_matrices",
    "raw_gene_bc_matrices",
    "outs",
    "hg19",
    "hg38",
    "GRCh37",
    "GRCh38",
];

/// How to ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// How to read the files.
    pub source: SourceOptions,
    /// Detected protein-coding genes a cell needs to be kept.
    pub min_protein_coding: usize,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self { source: SourceOptions::default(), min_protein_coding: MIN_PROTEIN_CODING }
    }
}

/// How far a long call has come, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Cells done.
    pub done: u64,
    /// Cells in all.
    pub total: u64,
}

/// Reads files and folders in order and writes the corpus folder `out`.
///
/// A cell keeps its id (barcode) unless an earlier cell of the corpus has it:
/// then it becomes `NAME:id`, `NAME` being the file's name without its
/// extension (for a MEX folder, the nearest folder with a telling name), and
/// if that is taken too, `NAME:id#2`, `NAME:id#3` and so on. The ledger counts
/// the renamed cells.
///
/// `out` appears whole or not at all; an existing corpus there is replaced,
/// anything else is left alone. `progress` may stop the work.
///
/// # Errors
/// What is wrong with the first file that cannot be read, [`Error::NotACorpus`]
/// for a target that must not be overwritten, [`Error::Cancelled`].
pub fn ingest(
    inputs: &[PathBuf],
    out: &Path,
    options: &IngestOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Ledger> {
    check_target(out)?;
    let (plans, genes, columns) = plan(inputs, &options.source)?;
    let qc = QcOptions { min_protein_coding: options.min_protein_coding, ..QcOptions::default() };
    let filter = CellFilter::new(&genes, &qc)?;
    let total = plans.iter().map(|plan| plan.n_cells as u64).sum();
    let mut writer = CorpusWriter::create(out, genes, columns)?;
    let mut books: Vec<FileLedger> = plans.iter().map(|plan| plan.ledger.clone()).collect();
    let mut ids = CellIds::default();
    let mut done = 0;
    std::thread::scope(|scope| {
        let (sender, receiver): (_, Receiver<Result<Message>>) = sync_channel(QUEUE);
        let (plans, source) = (&plans, &options.source);
        scope.spawn(move || read_all(plans, source, &sender));
        for message in receiver {
            match message? {
                Message::Block(file_idx, block) => {
                    done += block.cell_ids.len() as u64;
                    let context = (&plans[file_idx], &filter, file_idx as u32);
                    writer.write(&process(block, context, &mut books[file_idx], &mut ids)?)?;
                    if progress(Progress { done, total }).is_break() {
                        return Err(Error::Cancelled);
                    }
                }
                Message::End(file_idx, other) => books[file_idx].other_features = other,
            }
        }
        Ok(())
    })?;
    let ledger = Ledger { min_protein_coding: options.min_protein_coding, files: books };
    writer.finish(ledger.clone())?;
    Ok(ledger)
}

/// Refuses a target that holds anything but an older corpus.
pub(crate) fn check_target(out: &Path) -> Result<()> {
    let Ok(mut inside) = std::fs::read_dir(out) else {
        let free = !out.exists();
        return free.then_some(()).ok_or_else(|| Error::NotACorpus { path: out.to_owned() });
    };
    if inside.next().is_none() || is_corpus(out) {
        return Ok(());
    }
    Err(Error::NotACorpus { path: out.to_owned() })
}

/// What is known about a file before its cells are read.
struct Plan {
    path: PathBuf,
    n_cells: usize,
    /// Fate of each gene row, and its gene in the corpus where it has one.
    fates: Vec<Fate>,
    genes: Vec<u32>,
    /// For each column of the corpus, its place among the file's.
    columns: Vec<Option<usize>>,
    ledger: FileLedger,
}

fn plan(
    inputs: &[PathBuf],
    options: &SourceOptions,
) -> Result<(Vec<Plan>, Vec<crate::Gene>, Vec<String>)> {
    if inputs.is_empty() {
        return Err(Error::NoInput);
    }
    let (mut index, mut columns) = (GeneIndex::default(), Vec::<String>::new());
    let mut plans = Vec::new();
    let mut file_columns = Vec::new();
    for path in inputs {
        let source = open_source(path, options)?;
        plans.push(plan_file(source.as_ref(), &mut index)?);
        file_columns.push(source.columns().to_vec());
        let new = source.columns().iter().filter(|name| !columns.contains(name));
        columns.extend(new.cloned().collect::<Vec<_>>());
    }
    for (plan, names) in plans.iter_mut().zip(&file_columns) {
        let place = |column: &String| names.iter().position(|name| name == column);
        plan.columns = columns.iter().map(place).collect();
    }
    Ok((plans, index.into_genes(), columns))
}

fn plan_file(source: &dyn CountSource, index: &mut GeneIndex) -> Result<Plan> {
    let rows = source.genes();
    let fates = map_rows(source.path(), rows)?;
    let mut ledger = FileLedger {
        path: source.path().display().to_string(),
        name: sample_name(source.path()),
        layer: source.layer().to_owned(),
        unread_columns: source.unread_columns().to_vec(),
        ..FileLedger::default()
    };
    let mut genes = Vec::with_capacity(rows.len());
    let mut seen = HashSet::new();
    for (row, fate) in rows.iter().zip(&fates) {
        genes.push(match fate {
            Fate::Gene(id, route) => {
                ledger.routes.entry(*route).or_default().rows += 1;
                ledger.summed_rows += u64::from(!seen.insert(*id));
                index.enter(*id, row)?
            }
            Fate::Ambiguous => {
                ledger.ambiguous.rows += 1;
                quote(&mut ledger.ambiguous_names, row);
                0
            }
            Fate::Unknown => {
                ledger.unknown.rows += 1;
                quote(&mut ledger.unknown_names, row);
                0
            }
        });
    }
    let (path, n_cells) = (source.path().to_owned(), source.n_cells());
    Ok(Plan { path, n_cells, fates, genes, columns: Vec::new(), ledger })
}

fn quote(names: &mut Vec<String>, row: &SourceGene) {
    if names.len() < QUOTED_NAMES {
        names.push(row.id.clone());
    }
}

/// What the reading thread sends.
enum Message {
    Block(usize, SourceBlock),
    End(usize, std::collections::BTreeMap<String, crate::OtherFeatures>),
}

fn read_all(plans: &[Plan], options: &SourceOptions, sender: &SyncSender<Result<Message>>) {
    for (file_idx, plan) in plans.iter().enumerate() {
        // A send fails only when the other side has stopped, and knows why.
        let send = |message| sender.send(message).map_err(|_| ());
        if let Err(error) = read_file(file_idx, plan, options, &|message| send(Ok(message))) {
            if let Some(error) = error {
                let _ = send(Err(error));
            }
            return;
        }
    }
}

/// Sends a file's blocks; fails with an error to report or, if nobody listens, none.
fn read_file(
    file_idx: usize,
    plan: &Plan,
    options: &SourceOptions,
    send: &dyn Fn(Message) -> Result<(), ()>,
) -> Result<(), Option<Error>> {
    let mut source = open_source(&plan.path, options).map_err(Some)?;
    if source.genes().len() != plan.fates.len() || source.n_cells() != plan.n_cells {
        let what = "gene rows at the second reading".to_owned();
        let (found, expected) = (source.genes().len() as u64, plan.fates.len() as u64);
        return Err(Some(Error::Length { path: plan.path.clone(), what, found, expected }));
    }
    while let Some(block) = source.next_block(BLOCK_CELLS).map_err(Some)? {
        send(Message::Block(file_idx, block)).map_err(|()| None)?;
    }
    send(Message::End(file_idx, source.other_features().clone())).map_err(|()| None)
}

/// A cell over the genes of the corpus.
struct Mapped {
    row: CountMatrix,
    total: u64,
    ambiguous: u64,
    unknown: u64,
    verdict: Verdict,
}

fn process(
    block: SourceBlock,
    (plan, filter, source): (&Plan, &CellFilter, u32),
    book: &mut FileLedger,
    ids: &mut CellIds,
) -> Result<CellBlock> {
    let cells = 0..block.cell_ids.len();
    let mapped: Vec<Mapped> = cells
        .into_par_iter()
        .map(|cell| map_cell(block.counts.row(cell), plan, filter))
        .collect::<Result<_>>()?;
    tally_routes(&block, plan, book);
    let mut kept = CellBlock {
        cell_ids: Vec::new(),
        sources: Vec::new(),
        totals: Vec::new(),
        counts: CountMatrix::new(filter.n_genes()),
        columns: vec![Vec::new(); plan.columns.len()],
    };
    for (cell, (id, mapped)) in block.cell_ids.iter().zip(&mapped).enumerate() {
        let counts = mapped.total - mapped.ambiguous - mapped.unknown;
        book.cells.add(mapped.verdict);
        book.ambiguous.counts += mapped.ambiguous;
        book.unknown.counts += mapped.unknown;
        if mapped.verdict != Verdict::Kept {
            book.counts_in_dropped_cells += counts;
            continue;
        }
        book.counts_kept += counts;
        let id = ids.unique(id, &book.name, &mut book.cells.renamed);
        kept.cell_ids.push(id);
        kept.sources.push(source);
        kept.totals.push(mapped.total);
        kept.counts.append(&mapped.row);
        for (to, from) in kept.columns.iter_mut().zip(&plan.columns) {
            to.push(from.and_then(|column| block.columns[column][cell].clone()));
        }
    }
    Ok(kept)
}

fn map_cell((rows, counts): (&[u32], &[u32]), plan: &Plan, filter: &CellFilter) -> Result<Mapped> {
    let (mut total, mut ambiguous, mut unknown) = (0, 0, 0);
    let mut entries = Vec::with_capacity(rows.len());
    for (&row, &count) in rows.iter().zip(counts) {
        total += u64::from(count);
        match plan.fates[row as usize] {
            Fate::Gene(..) => entries.push((plan.genes[row as usize], count)),
            Fate::Ambiguous => ambiguous += u64::from(count),
            Fate::Unknown => unknown += u64::from(count),
        }
    }
    let mut row = CountMatrix::new(filter.n_genes());
    row.push_row(entries)?;
    let verdict = filter.judge(total, row.row(0));
    Ok(Mapped { row, total, ambiguous, unknown, verdict })
}

fn tally_routes(block: &SourceBlock, plan: &Plan, book: &mut FileLedger) {
    let entries = block.counts.indices().iter().zip(block.counts.values());
    for (&row, &count) in entries {
        if let Fate::Gene(_, route) = plan.fates[row as usize] {
            book.routes.entry(route).or_default().counts += u64::from(count);
        }
    }
}

/// The ids given so far, as hashes.
#[derive(Default)]
struct CellIds(HashSet<u128>);

impl CellIds {
    fn unique(&mut self, id: &str, name: &str, renamed: &mut u64) -> String {
        if self.0.insert(xxh3_128(id.as_bytes())) {
            return id.to_owned();
        }
        *renamed += 1;
        let numbered =
            |n: u64| if n == 1 { format!("{name}:{id}") } else { format!("{name}:{id}#{n}") };
        let mut candidates = (1..).map(numbered);
        let free = candidates.find(|candidate| self.0.insert(xxh3_128(candidate.as_bytes())));
        free.unwrap_or_else(|| id.to_owned())
    }
}

/// A short name for a file: the stem, or the nearest telling folder.
fn sample_name(path: &Path) -> String {
    let names =
        path.ancestors().filter_map(|p| if p == path { p.file_stem() } else { p.file_name() });
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .find(|name| !GENERIC_FOLDERS.contains(&name.as_str()))
        .unwrap_or_else(|| "cells".to_owned())
}
