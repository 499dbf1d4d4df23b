//! **gf-embed** runs an encoder over cells and keeps vectors of cells, genes and states.
//!
//! A [`CellReader`] joins a data set of tokens with the encoder that is to read
//! it and refuses rows the model cannot hold. [`embed_cells`] reads one vector per
//! cell out of the second-to-last or last layer, its CLS row or the mean of its genes
//! ([`Readout`]), as [`Embeddings`]: a table in the order of the rows asked for.
//! [`embed_genes`] reads one vector for each gene of each cell, which [`GeneMeans`]
//! averages over cells. [`StateEmbeddings`] are the mean or median cells of states such
//! as diseases.
//!
//! What does not fit into memory goes block by block through a [`Spool`] into a
//! [`CsvTable`], which [`Table`] reads back, or an [`ArrowTable`]. From a spool, and from
//! [`KeptMeans`], a killed run goes on.
//! [`reference_order`] takes the cells that the Python reference takes.
//!
//! What embeddings tell: [`similarity`], [`pair_cosines`] within and across batches,
//! [`separability`](separability()), and maps by [`principal_components`] and [`umap()`].
//!
//! Rows are computed in batches of similar length, so that little is padded, and
//! put back in order; the values do not depend on the batches beyond rounding.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path};
//! use burn_flex::{Flex, FlexDevice};
//! use gf_embed::{CellReader, EmbedOptions, embed_cells};
//!
//! let (config, encoder) =
//!     gf_model::checkpoint::load_encoder::<Flex>(Path::new("model"), &FlexDevice)?;
//! let dataset = gf_tokenize::Dataset::open(Path::new("cells.dataset"))?;
//! let vocabulary = gf_tokenize::Vocabulary::read_tsv(Path::new("token_dictionary.tsv"))?;
//! let reader = CellReader::new(&config, &dataset, &vocabulary)?;
//! let rows: Vec<usize> = (0..dataset.len()).collect();
//! let embeddings = embed_cells(
//!     &encoder, &reader, &rows, &EmbedOptions::default(), &FlexDevice, &mut |_| ControlFlow::Continue(()),
//! )?;
//! embeddings.write_csv(Path::new("embeddings.csv"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate must never know how weights are stored, trained or perturbed.

mod reader;
mod pooling;
mod extract;
mod genes;
mod states;
mod numpy;
mod selection;
mod table;
mod csv_table;
mod arrow_table;
mod partial;
mod spool;
mod kept_means;
mod pairs;
mod separability;
mod pca;
mod umap;

pub mod similarity;

mod error;

pub use arrow_table::ArrowTable;
pub use csv_table::CsvTable;
pub use error::Error;
pub use extract::{EmbedLayer, EmbedOptions, Progress, batches_by_length, embed_cells};
pub use genes::{GeneMeans, GeneStates, GeneTokens, embed_genes};
pub use kept_means::KeptMeans;
pub use numpy::numpy_permutation;
pub use pairs::{Item, PairClass, PairCosine, pair_cosines};
pub use pca::{Components, principal_components};
pub use pooling::{Readout, mean_pool};
pub use reader::CellReader;
pub use selection::reference_order;
pub use separability::{Metric, Separability, nearest_others, separability};
pub use spool::Spool;
pub use states::{StateEmbeddings, StateSummary};
pub use table::{Embeddings, Table, TableHeader, TableRows};
pub use umap::umap;
