//! Hugging Face data set folders: the only place that knows Arrow.
//!
//! A folder holds `data-00000-of-0000N.arrow` (Arrow IPC streams), `dataset_info.json` (features) and
//! `state.json` (the list of files); Python opens it with `datasets.load_from_disk`. Ours have two
//! files more: `vocabulary.tsv` and `geneformer.json`, which say what the tokens mean.
//!
//! Writing goes through arrow2. Reading does not: arrow2 takes the offsets of a mapped file on trust,
//! and a flipped bit would then be undefined behaviour. We read the message headers (`arrow-format`,
//! the same generated code that arrow2 uses) at opening, check every span, offset and text of a batch
//! once when it is first asked for, and hand out slices of the map; the only `unsafe` is the mapping itself.

mod column;
mod journal;
mod layout;
mod manifest;
mod metadata;
mod reader;
mod rows;
mod schema;
mod select;
mod shard;
mod stream;
mod tokens;
mod writer;

pub use manifest::{Manifest, ModelTokens};
pub use metadata::DatasetColumn;
pub use reader::Dataset;
pub use schema::VOCABULARY_FILE;
pub use writer::{DatasetWriter, WriterOptions};
