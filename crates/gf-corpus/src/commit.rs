//! The end of an ingest: what can only be said of all studies together.

use std::path::PathBuf;

use xxhash_rust::xxh3::Xxh3;

use crate::{
    duplicates::{Copies, DuplicateSearch, DuplicateWriter, Places},
    error::{Error, Result},
    ids::IdCollisions,
    ingest::IngestOptions,
    ledger::{Ledger, Overlap, SupersededStudy},
    profile::Profiles,
    shard::Stored,
    store::{FORMAT, Manifest, PRODUCED_BY, Store, StudyEntry, StudyManifest, VERSION},
};

/// A study's folder and its manifest.
struct Part {
    folder: PathBuf,
    manifest: StudyManifest,
}

/// Compares all cells and writes the manifest.
pub(crate) fn commit(
    store: &Store,
    entries: Vec<StudyEntry>,
    superseded: Vec<SupersededStudy>,
    options: &IngestOptions,
) -> Result<Ledger> {
    let part = |entry: &StudyEntry| {
        let folder = store.folder().join(&entry.folder);
        Ok(Part { manifest: StudyManifest::read(&folder)?, folder })
    };
    let parts: Vec<Part> = entries.iter().map(part).collect::<Result<_>>()?;
    let files = parts.iter().map(|part| part.manifest.ledger.clone()).collect();
    let mut ledger = Ledger { qc: options.qc, files, superseded, overlaps: Vec::new() };
    for (file, entry) in ledger.files.iter_mut().zip(&entries) {
        file.source_database.clone_from(&entry.study.source_database);
    }
    let (search, collisions) = compare(&parts)?;
    for (file, collides) in ledger.files.iter_mut().zip(collisions) {
        file.qualified_ids = collides;
    }
    let found = find_duplicates(store, &parts, search, &mut ledger)?;
    let duplicates = (!options.keep_copies).then_some(found);
    if let Some(stored) = duplicates.as_ref().filter(|stored| stored.n_rows > 0) {
        take_out(store, &parts, stored, &mut ledger)?;
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        produced_by: PRODUCED_BY.to_owned(),
        content_hash: content_hash(&parts, &duplicates, &ledger),
        n_cells: ledger.totals().cells.kept,
        studies: entries,
        duplicates,
        ledger,
    };
    let gene_lists: Vec<String> = parts.iter().map(|part| part.manifest.genes.clone()).collect();
    store.commit(&manifest, &gene_lists)?;
    Ok(manifest.ledger)
}

/// Reads every profile once: for copies, and for ids that two studies have.
fn compare(parts: &[Part]) -> Result<(DuplicateSearch, Vec<bool>)> {
    let (mut search, mut ids) = (DuplicateSearch::new(), IdCollisions::new());
    for part in parts {
        ids.next_study();
        let mut profiles = Profiles::open(&part.folder, &part.manifest.profiles)?;
        while let Some(block) = profiles.next_block()? {
            for profile in &block {
                search.push(profile)?;
                ids.push(profile.id)?;
            }
        }
    }
    Ok((search, ids.finish()?))
}

/// Writes the table of copies under a name that its content gives it.
fn find_duplicates(
    store: &Store,
    parts: &[Part],
    search: DuplicateSearch,
    ledger: &mut Ledger,
) -> Result<Stored> {
    let places = Places::new(parts.iter().map(|part| part.manifest.n_cells));
    let scratch = store.scratch()?;
    let mut writer = DuplicateWriter::create(&scratch.path().join("duplicates.arrow"))?;
    search.finish(|cell, copy_of| writer.push(cell, copy_of, &places))?;
    let name = |study: usize| ledger.files[study].name.clone();
    let overlaps = writer.by_study.iter().map(|(&(study, of), &cells)| Overlap {
        study: name(study),
        of: name(of),
        cells,
    });
    ledger.overlaps = overlaps.collect();
    let mut stored = writer.finish()?;
    let written = stored.path(scratch.path())?;
    stored.file = format!("duplicates-{}.arrow", stored.xxh3);
    let target = store.folder().join(&stored.file);
    std::fs::rename(&written, &target).map_err(Error::io(&target))?;
    Ok(stored)
}

/// Moves copies and their counts from the kept to the copies in the ledger.
fn take_out(store: &Store, parts: &[Part], stored: &Stored, ledger: &mut Ledger) -> Result<()> {
    let n_cells = parts.iter().map(|part| part.manifest.n_cells).sum();
    let copies = Copies::read(store.folder(), stored, n_cells)?;
    let mut cell = 0;
    for (part, file) in parts.iter().zip(&mut ledger.files) {
        let mut profiles = Profiles::open(&part.folder, &part.manifest.profiles)?;
        while let Some(block) = profiles.next_block()? {
            for profile in &block {
                if copies.contains(cell) {
                    file.cells.kept -= 1;
                    file.cells.copies += 1;
                    file.counts_kept -= profile.counts;
                    file.counts_in_copies += profile.counts;
                }
                cell += 1;
            }
        }
    }
    Ok(())
}

/// A hash of what the studies hold, in their order; not of where they lay.
fn content_hash(parts: &[Part], duplicates: &Option<Stored>, ledger: &Ledger) -> String {
    let mut hasher = Xxh3::new();
    let mut update = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    };
    for (part, file) in parts.iter().zip(&ledger.files) {
        update(&part.manifest.genes);
        part.manifest.columns.iter().for_each(|column| {
            update(&column.name);
            update(&format!("{:?}", column.kind));
        });
        part.manifest.shards.iter().for_each(|shard| update(&shard.xxh3));
        if file.qualified_ids {
            update(&file.name);
        }
    }
    if let Some(stored) = duplicates {
        update(&stored.xxh3);
    }
    format!("{:032x}", hasher.digest128())
}
