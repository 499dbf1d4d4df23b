//! The one pipeline: a catalogue of files in, a corpus folder out.
//!
//! Study by study, in the order of files and cells, so that the bytes written
//! do not depend on the number of threads. A study that is
//! already in the folder, read from the same file in the same way, is not read
//! again: that is how an interrupted ingest resumes and how a corpus grows.
//! Memory holds a few blocks of cells and the gene rows of one file.

use std::{ops::ControlFlow, path::Path};

use crate::{
    calls::CallCells,
    catalogue::{Catalogue, CrossReference},
    commit::commit,
    error::{Error, Result},
    gene_map::GeneMap,
    ledger::{Ledger, SupersededStudy},
    mapping::Collapse,
    qc::QcOptions,
    source::SourceOptions,
    stamp::key,
    store::{Store, StudyEntry, study_hash},
    study::Study,
    study_cells::{StudyCells, open},
};

/// How to ingest.
#[derive(Debug, Clone, Default)]
pub struct IngestOptions {
    /// How to read the files; a study's own layer comes first.
    pub source: SourceOptions,
    /// Which names stand for which genes.
    pub genes: GeneMap,
    /// What becomes of several rows of one gene.
    pub collapse: Collapse,
    /// What a cell needs to be kept.
    pub qc: QcOptions,
    /// Calls cells among the droplets of unfiltered matrices. A study's own
    /// number of expected cells comes first.
    pub droplets: Option<CallCells>,
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

/// Reads one study into the folder; returns its folder's name.
fn read_study(
    study: &Study,
    key: String,
    store: &Store,
    options: &IngestOptions,
    progress: &mut StudyProgress,
) -> Result<String> {
    let mut cells = StudyCells::open(study, options, true)?;
    let mut writer = store.create_study(cells.genes(), cells.columns())?;
    while let Some((block, profiles)) = cells.next_block()? {
        writer.write(&block, &profiles)?;
        if progress(study, cells.progress()).is_break() {
            return Err(Error::Cancelled);
        }
    }
    writer.finish(&study.id, key, cells.into_ledger())
}
