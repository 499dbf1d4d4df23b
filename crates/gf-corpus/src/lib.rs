//! Single-cell counts: from files as they lie about to one clean corpus.
//!
//! The nouns: a [`GeneId`] is an Ensembl human gene id and nothing else; the
//! shipped [`Annotation`] turns symbols, old symbols and aliases into ids. A
//! [`CountSource`] is an open file that yields blocks of cells over the rows
//! it names itself. A [`Catalogue`] lists the [`Study`] behind each file.
//! [`ingest`] reads them: it maps rows to genes, sums the rows of one gene,
//! drops what is no cell and every cell that is in the corpus already, and
//! writes a [`Corpus`]; its [`Ledger`] accounts for every cell, row and count.
//! From a corpus come the [`Medians`] by which the tokenizer scales each gene.
//!
//! Why this shape: files disagree about everything (which matrix is raw,
//! which column is the id, what a gene is called), and all of that is settled
//! here, once, so that whoever comes later sees one kind of cell. What cannot
//! be settled is refused with the place and the value, or counted in the
//! ledger; nothing is guessed.
//!
//! ```
//! use std::{ops::ControlFlow, path::PathBuf};
//! use gf_corpus::{Corpus, Found, IngestOptions, Selection, ingest, nonzero_medians};
//!
//! let cells = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/immune_559"));
//! let out = tempfile::tempdir()?;
//! let folder = out.path().join("immune.corpus");
//! let catalogue = Found::under(&[cells])?.catalogue;
//! let go_on = &mut |_: &_, _| ControlFlow::Continue(());
//! let ledger = ingest(&catalogue, &folder, &IngestOptions::default(), go_on)?;
//! assert_eq!(ledger.totals().cells.kept, 559);
//!
//! let corpus = Corpus::open(&folder)?;
//! let medians = nonzero_medians(&corpus, Selection::MEDIANS, &mut |_| ControlFlow::Continue(()))?;
//! let actb = "ENSG00000075624".parse()?;
//! assert!(medians.get(actb).is_some_and(|cp10k| cp10k > 10.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate knows no tokens and no models.

mod gene;
mod annotation;
mod counts;
mod metadata;
mod sort;
mod source;
mod doi;
mod organ;
mod platform;
mod study;
mod catalogue;
pub mod pickle;
mod dictionary;
mod names;
mod gene_map;
mod mapping;
mod droplets;
mod qc;
mod profile;
mod ids;
mod duplicates;
mod ledger;
mod discover;
mod stamp;
mod shard;
mod gene_list;
mod store;
mod calls;
mod study_cells;
mod ingest;
mod cells;
mod commit;
mod corpus;
mod h5ad_writer;
mod export;
mod medians;
mod tensor;
mod error;

pub use annotation::{Annotation, ListedGene, Resolution, Route};
pub use calls::CallCells;
pub use catalogue::{Catalogue, CrossReference, MAX_CATALOGUE_BYTES, MAX_STUDIES, Superseded};
pub use cells::{Cells, CorpusCells, FileCells};
pub use corpus::{CellBlock, Corpus, Selection};
pub use counts::CountMatrix;
pub use dictionary::read_dictionary;
pub use discover::Found;
pub use doi::Doi;
pub use droplets::{
    Ambient, CellRanger22, DropletCall, DropletPlan, DropletRows, EmptyDrops, Role, Threshold,
};
pub use duplicates::MIN_SHARED_GENES;
pub use error::{Error, Result};
pub use export::{ExportReport, export_h5ad};
pub use gene::{Biotype, Gene, GeneId};
pub use gene_map::{GeneMap, GivenMap};
pub use h5ad_writer::{H5adWriter, MAX_OBS_COLUMNS};
pub use ingest::{IngestOptions, Progress, StudyProgress, ingest};
pub use ledger::{
    CellTally, DropletTest, FileLedger, Ledger, Overlap, SourceTally, SupersededStudy, Tally,
    Totals,
};
pub use mapping::Collapse;
pub use medians::{
    MEDIAN_SKETCH_ERROR, MedianSketch, Medians, cp10k, nonzero_medians, refine_medians,
};
pub use metadata::{MetadataColumn, MetadataField, MetadataKind, MetadataValue};
pub use organ::{ORGANS, Organ};
pub use platform::is_droplet;
pub use qc::{CellFilter, MIN_PROTEIN_CODING, QcOptions, Verdict};
pub use source::{
    COUNT_TOLERANCE, CountSource, Layout, OtherFeatures, SourceBlock, SourceGene, SourceOptions,
    Storage, open_source,
};
pub use study::{COLUMNS, Malignant, Study};
pub use tensor::cp10k_tensor;
