//! What the page shows, as plain data. `load.rs` fills it, `figures.rs` and
//! `page.rs` draw it; neither knows the other.
//!
//! Every part is optional: a run that stopped early still has a page.

use gf_corpus::SourceTally;
use serde::Serialize;

use super::perturbation::Perturbation;

/// Everything on one page.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Heading of the page; one that says what was done where none is given.
    pub title: Option<String>,
    /// What was read, kept and dropped on the way to the corpus.
    pub quality: Option<Quality>,
    /// The tokenised cells.
    pub tokens: Option<Tokens>,
    /// The training run.
    pub training: Option<Training>,
    /// The cells in two dimensions.
    pub map: Option<CellMap>,
    /// The genes, the one whose deletion moves the cells most first.
    pub genes: Option<Vec<RankedGene>>,
    /// What was done to genes, beyond their ranking.
    pub perturbation: Option<Perturbation>,
    /// The command lines that were run, in order.
    pub commands: Vec<String>,
    /// What produced the run: name and version.
    pub versions: Vec<(String, String)>,
}

/// A number with the words that say what was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What was counted.
    pub label: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// A labelled number.
    pub fn new(label: impl Into<String>, count: u64) -> Self {
        Count { label: label.into(), count }
    }
}

/// The ledger of an ingest, summed over its files.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Quality {
    /// The files or folders that were read.
    pub sources: Vec<String>,
    /// Cells in the files.
    pub cells_read: u64,
    /// Cells in the corpus.
    pub cells_kept: u64,
    /// Cells left out, by reason.
    pub cells_dropped: Vec<Count>,
    /// Gene rows of the files by the route that named them.
    pub gene_rows: Vec<Count>,
    /// Distinct genes in the corpus.
    pub genes: u64,
    /// Counts in the files.
    pub counts_read: u64,
    /// Counts in the corpus.
    pub counts_kept: u64,
    /// Total against unique cells of each source database.
    pub databases: Vec<SourceTally>,
}

/// The data set of token sequences.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tokens {
    /// Genes in each cell's sequence, special tokens not counted.
    pub genes_per_cell: Vec<u64>,
    /// Tokens in the vocabulary, when the data set has one.
    pub vocabulary: Option<u64>,
}

/// Losses of a training run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Training {
    /// One entry per logged step, in order.
    pub log: Vec<LogPoint>,
    /// One entry per evaluation on cells held out, in order.
    pub held_out: Vec<LogPoint>,
}

/// One line of the training log, or of the evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
pub struct LogPoint {
    /// Optimiser step, from 1.
    pub step: f64,
    /// The pass over the data it belongs to.
    pub epoch: f64,
    /// Cross-entropy over the masked tokens, in nats.
    pub loss: f64,
}

/// The cells on the first two principal components of their embeddings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CellMap {
    /// One point per cell.
    pub points: Vec<CellPoint>,
    /// The colours' meanings, most cells first.
    pub groups: Vec<Count>,
    /// Share of the variance on each axis, 0 to 1.
    pub explained: [f64; 2],
    /// Numbers per cell in the embedding.
    pub dimensions: usize,
    /// The metadata column that gives the colours; `None` for marker genes.
    pub column: Option<String>,
}

/// One cell of the map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellPoint {
    /// The cell's id.
    pub cell_id: String,
    /// Principal components 1 and 2.
    pub position: [f64; 2],
    /// Index into [`CellMap::groups`].
    pub group: usize,
}

/// One row of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedGene {
    /// 1 for the gene that moves the cells most.
    pub rank: u64,
    /// Symbol, or the Ensembl id when there is none.
    pub name: String,
    /// Ensembl id.
    pub ensembl_id: String,
    /// Mean over the cells of 1 − cosine between before and after; 0 is no effect.
    pub shift: f64,
    /// Population standard deviation over the cells.
    pub spread: f64,
    /// Cells in which the gene was detected and deleted.
    pub detections: u64,
}
