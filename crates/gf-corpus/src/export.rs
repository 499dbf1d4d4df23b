//! A corpus as one `.h5ad`: every cell with its counts, its metadata, and the
//! study it is of.

use std::{collections::HashSet, ops::ControlFlow, path::Path};

use serde::Serialize;

use crate::{
    corpus::{CellBlock, Corpus, Selection},
    error::{Error, Result},
    h5ad_writer::{H5adWriter, is_name},
    ingest::Progress,
    metadata::{MetadataColumn, MetadataField, MetadataKind},
};

/// Columns that the export adds: the study's id, the counts of all gene rows of
/// the cell (the reference's `n_counts`), its detected genes.
const OWN: [&str; 3] = ["study", "n_counts", "n_genes"];

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Cells written.
    pub cells: u64,
    /// Cells of the corpus that the selection left out.
    pub not_selected: u64,
    /// Genes.
    pub genes: u64,
    /// The sum of all counts written.
    pub counts: u64,
    /// Columns of obs.
    pub columns: u64,
    /// Columns of the corpus under another name: old and new.
    pub renamed: Vec<(String, String)>,
}

/// Writes the cells of a selection to an `.h5ad`, in the order of the corpus;
/// a file that is there is replaced.
///
/// Columns of the corpus whose name HDF5 or this export needs get another one.
///
/// # Errors
/// As [`H5adWriter`] and [`Corpus::select`]; [`Error::Cancelled`] if `progress`
/// asks to stop. The target is as it was then.
pub fn export_h5ad(
    corpus: &Corpus,
    path: &Path,
    selection: Selection,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ExportReport> {
    let names = obs_names(corpus.columns());
    let mut writer = H5adWriter::create(path, corpus.genes(), &obs_columns(corpus, &names))?;
    let total = corpus.n_cells_in(selection);
    let mut counts = 0;
    for block in corpus.select(selection) {
        let mut block = block?;
        counts += block.counts.values().iter().map(|&count| u64::from(count)).sum::<u64>();
        let columns = obs_values(corpus, &mut block)?;
        writer.push_cells(&block.cell_ids, &block.counts, &columns)?;
        if progress(Progress { done: writer.n_cells(), total }).is_break() {
            return Err(Error::Cancelled);
        }
    }
    let cells = writer.finish()?;
    let old = corpus.columns().iter().map(|field| field.name.clone());
    let old_and_new = old.zip(names.iter().cloned());
    Ok(ExportReport {
        cells,
        not_selected: corpus.n_cells() as u64 - cells,
        genes: corpus.genes().len() as u64,
        counts,
        columns: (OWN.len() + names.len()) as u64,
        renamed: old_and_new.filter(|(old, new)| old != new).collect(),
    })
}

fn obs_columns(corpus: &Corpus, names: &[String]) -> Vec<MetadataField> {
    let kinds = [MetadataKind::Text, MetadataKind::Integer, MetadataKind::Integer];
    let own = OWN.into_iter().zip(kinds).map(|(name, kind)| MetadataField::new(name, kind));
    let columns = names.iter().zip(corpus.columns());
    own.chain(columns.map(|(name, old)| MetadataField::new(name, old.kind))).collect()
}

fn obs_values(corpus: &Corpus, block: &mut CellBlock) -> Result<Vec<MetadataColumn>> {
    let studies = block.studies.iter();
    let studies = studies.map(|&study| Some(corpus.studies()[study as usize].id.clone()));
    let totals = block.totals.iter().enumerate().map(|(cell, &total)| {
        let reason = || format!("found {total} counts, expected at most {}", i64::MAX);
        i64::try_from(total).map(Some).map_err(|_| Error::Counts { cell, reason: reason() })
    });
    let n_genes = block.counts.rows().map(|(genes, _)| Some(genes.len() as i64));
    let own = [
        MetadataColumn::Text(studies.collect()),
        MetadataColumn::Integers(totals.collect::<Result<_>>()?),
        MetadataColumn::Integers(n_genes.collect()),
    ];
    Ok(own.into_iter().chain(std::mem::take(&mut block.columns)).collect())
}

/// Names under which the columns can stand in one obs, in their order: a name
/// that can stay does, whatever comes before it.
fn obs_names(columns: &[MetadataField]) -> Vec<String> {
    let stays = |name: &str| is_name(name) && !OWN.contains(&name);
    let mut taken: HashSet<String> = OWN.map(str::to_owned).into();
    let names = columns.iter().map(|field| &field.name);
    taken.extend(names.clone().filter(|name| stays(name)).cloned());
    let mut rename = |name: &String| {
        if stays(name) {
            return name.clone();
        }
        let plain = format!("{}_of_source", name.replace(['/', '\0'], "_"));
        let numbered = (2..).map(|n: u64| format!("{plain}_{n}"));
        let mut free = std::iter::once(plain.clone()).chain(numbered);
        let name = free.find(|name| !taken.contains(name)).unwrap_or(plain);
        taken.insert(name.clone());
        name
    };
    names.map(&mut rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_cannot_keep_their_name_get_a_free_one() {
        #[track_caller]
        fn check(columns: &[&str], expected: &[&str]) {
            let field = |name: &&str| MetadataField::new(*name, MetadataKind::Text);
            let columns: Vec<MetadataField> = columns.iter().map(field).collect();
            assert_eq!(obs_names(&columns), expected);
        }
        check(&[], &[]);
        check(&["organ", "cell type"], &["organ", "cell type"]);
        check(&["n_genes", "study"], &["n_genes_of_source", "study_of_source"]);
        check(&["a/b", "a_b"], &["a_b_of_source", "a_b"]);
        check(&["a/b", "a\0b"], &["a_b_of_source", "a_b_of_source_2"]);
        check(&["study", "study_of_source"], &["study_of_source_2", "study_of_source"]);
        check(&["", ".", "_index"], &["_of_source", "._of_source", "_index_of_source"]);
    }
}
