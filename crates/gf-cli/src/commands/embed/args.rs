//! Arguments of `gf embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gf_embed::StateSummary;

use super::{output::Format, rows::RowArgs};
use crate::{commands::cells::CellArgs, failure::Failure};

/// Arguments of `gf embed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gf embed --model pretrain/model --data cells.dataset -o embeddings.csv\n  \
    gf embed --model model --data cells.dataset --mode cell --labels cell_type,donor -o cells.h5ad\n  \
    gf embed --model model --data cells.dataset --mode gene -o genes.arrow\n  \
    gf embed --model model --data cells.dataset --states disease -o states.json\n\n\
    Interrupted or killed, the same command goes on where it was, and the file is the same in the\n\
    end. The order is that of the data set.")]
pub struct EmbedArgs {
    #[command(flatten)]
    pub cells: CellArgs,
    /// What is embedded: cells by their CLS token, cells by the mean of their genes, or genes.
    #[arg(long, value_enum, default_value = "cls")]
    pub mode: Mode,
    /// Genes averaged over the cells, or each gene of each cell.
    #[arg(long, value_enum, default_value = "mean")]
    pub gene_style: GeneStyle,
    #[command(flatten)]
    pub rows: RowArgs,
    /// Columns of the data set to write beside the numbers, as A,B.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub labels: Vec<String>,
    /// Write one embedding for each value of this column, over its cells, as .json.
    #[arg(long, value_name = "COLUMN")]
    pub states: Option<String>,
    /// How the cells of a state become one embedding.
    #[arg(long, value_enum, default_value = "mean")]
    pub summary: Summary,
    /// File to write: .csv, .arrow or .feather, .h5ad (obsm/X_geneformer); .json of states.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// What a vector is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A cell: the state of its CLS token.
    Cls,
    /// A cell: the mean of the states of its genes.
    Cell,
    /// A gene in its context.
    Gene,
}

/// Which vectors of genes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GeneStyle {
    /// The mean over the cells.
    Mean,
    /// One for each gene of each cell.
    All,
}

/// How many cells become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Summary {
    /// The mean.
    Mean,
    /// The median; of two in the middle the lower.
    Median,
}

impl From<Summary> for StateSummary {
    fn from(summary: Summary) -> Self {
        match summary {
            Summary::Mean => Self::Mean,
            Summary::Median => Self::Median,
        }
    }
}

impl EmbedArgs {
    /// Whether each row of the table is a gene of a cell.
    pub fn every_gene(&self) -> bool {
        self.mode == Mode::Gene && self.gene_style == GeneStyle::All
    }

    /// Whether each row of the table is a gene, averaged over the cells.
    pub fn gene_means(&self) -> bool {
        self.mode == Mode::Gene && self.gene_style == GeneStyle::Mean
    }

    /// The format of the output.
    ///
    /// # Errors
    ///
    /// No table can be made of what is asked for.
    pub fn format(&self) -> Result<Format, Failure> {
        let usage = |found: &str, expected: &str| {
            Err(Failure::Usage(format!("found {found}, expected {expected}")))
        };
        let format = Format::of(&self.output)?;
        let is_reference = self.rows.is_reference();
        match format {
            Format::Json if self.states.is_none() => {
                usage("a .json without --states", ".csv, .arrow, .feather or .h5ad")
            }
            Format::Csv | Format::Arrow | Format::H5ad if self.states.is_some() => {
                usage("--states with a table", "-o FILE.json")
            }
            Format::Json if self.mode == Mode::Gene => {
                usage("--states with --mode gene", "cls or cell")
            }
            Format::H5ad if self.every_gene() => {
                usage("an .h5ad of every gene of every cell", ".csv, .arrow or .feather")
            }
            Format::Arrow | Format::H5ad if is_reference => {
                usage("--compat reference for this format", "a .csv, as the reference writes")
            }
            _ if is_reference && self.every_gene() => {
                usage("--compat reference with --gene-style all", "--gene-style mean")
            }
            _ if self.gene_means() && !self.labels.is_empty() => {
                usage("--labels with means over cells", "--gene-style all, or no labels")
            }
            format => Ok(format),
        }
    }
}
