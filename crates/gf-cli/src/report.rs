//! The report page: one HTML file that needs no network and nothing beside it.
//!
//! `load.rs` turns the files of a run into plain [`facts`], `figures.rs` draws
//! them with kuva, `page.rs` fills `templates/report.html`. A part whose file is
//! absent is left out of the page.

mod facts;
pub(crate) mod figures;
mod load;
mod markers;
mod page;
mod perturbation;
pub(crate) mod words;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;

/// What a page is made from.
#[derive(Debug, Clone, Default)]
pub struct ReportInput {
    /// Heading of the page; one that says what was done where none is given.
    pub title: Option<String>,
    /// Corpus folder; its ledger is shown.
    pub corpus: Option<PathBuf>,
    /// Data set folder of token sequences.
    pub dataset: Option<PathBuf>,
    /// `step,epoch,loss,…`, one line per training step.
    pub train_log: Option<PathBuf>,
    /// `step,epoch,loss,…`, one line per evaluation on held-out cells.
    pub evaluation: Option<PathBuf>,
    /// `cell_id,0,1,…`, one line per cell.
    pub embeddings: Option<PathBuf>,
    /// `Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,…`, one line per gene.
    pub ranking: Option<PathBuf>,
    /// Every effect of a perturbation run.
    pub shifts: Option<PathBuf>,
    /// Tables beside it; those of `gf stats` with false discovery rates are drawn.
    pub tables: Vec<PathBuf>,
    /// A metadata column of the data set that colours the map of the cells;
    /// marker genes do without one.
    pub colour_by: Option<String>,
    /// The command lines that were run.
    pub commands: Vec<String>,
    /// Names and versions for the foot of the page.
    pub versions: Vec<(String, String)>,
}

/// What can go wrong between a run and its page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table is not CSV, or lacks a column, or a number is none.
    #[error("{path}: {source}", path = path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: csv::Error,
    },
    /// The embeddings cannot be read.
    #[error(transparent)]
    Embeddings(#[from] gf_embed::Error),
    /// The corpus cannot be opened.
    #[error(transparent)]
    Corpus(#[from] gf_corpus::Error),
    /// The data set cannot be opened, or lacks the column.
    #[error(transparent)]
    Dataset(#[from] gf_tokenize::Error),
    /// The results of a perturbation run cannot be read.
    #[error(transparent)]
    Shifts(#[from] gf_perturb::Error),
    /// The results of a perturbation run do not say what was done.
    #[error("{path}: its settings: {source}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The page cannot be filled in.
    #[error("the page's template: {0}")]
    Template(#[from] minijinja::Error),
}

impl ReportInput {
    /// The parts of a page, by the names of their files in a run folder.
    pub const PARTS: [&str; 6] = [
        "corpus",
        "*.dataset",
        "pretrain/log.csv",
        "embeddings.csv",
        "perturb/ranking.csv",
        "perturb/shifts.arrow",
    ];

    /// Parts that are not there.
    pub fn missing(&self) -> Vec<&'static str> {
        let (log, ranking) = (&self.train_log, &self.ranking);
        let parts = [&self.corpus, &self.dataset, log, &self.embeddings, ranking, &self.shifts];
        Self::PARTS
            .into_iter()
            .zip(parts)
            .filter(|(_, part)| part.is_none())
            .map(|(n, _)| n)
            .collect()
    }

    /// The files of a run that the other commands wrote into `folder` under the
    /// names that `cargo xtask demo` gives them: `corpus/`, `*.dataset/`,
    /// `pretrain/{log,evaluation}.csv`, `embeddings.csv`, `perturb/`, `commands.txt`;
    /// the folder may as well be that of `gf perturb` itself. What is not there stays
    /// out of the report.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed, or `commands.txt` not be read.
    pub fn from_run(folder: &Path) -> Result<Self, ReportError> {
        let present = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let run = [folder.join("perturb"), folder.to_owned()];
        let in_run = |name: &str| run.iter().map(|run| run.join(name)).find(|path| path.is_file());
        let shifts = in_run("shifts.arrow");
        let commands = match present("commands.txt") {
            Some(path) => std::fs::read_to_string(&path).map_err(io(&path))?,
            None => String::new(),
        };
        Ok(ReportInput {
            title: None,
            corpus: present("corpus"),
            dataset: first_dataset(folder)?,
            train_log: present("pretrain/log.csv"),
            evaluation: present("pretrain/evaluation.csv"),
            embeddings: present("embeddings.csv"),
            ranking: in_run("ranking.csv"),
            tables: match shifts.as_deref().and_then(Path::parent) {
                Some(run) => tables(run)?,
                None => Vec::new(),
            },
            shifts,
            colour_by: None,
            commands: commands.lines().map(str::to_string).collect(),
            versions: vec![("gf".to_string(), env!("CARGO_PKG_VERSION").to_string())],
        })
    }
}

/// Loads what `input` names and writes the page to `out`; the file appears whole
/// or not at all.
///
/// # Errors
///
/// A named file cannot be read or does not hold what it should; `out` cannot be
/// written.
pub fn write_report(input: &ReportInput, out: &Path) -> Result<(), ReportError> {
    let html = page::render(&load::load(input)?)?;
    let mut file = AtomicWriteFile::open(out).map_err(io(out))?;
    file.write_all(html.as_bytes()).map_err(io(out))?;
    file.commit().map_err(io(out))
}

/// The first folder by name that ends in `.dataset`.
fn first_dataset(folder: &Path) -> Result<Option<PathBuf>, ReportError> {
    Ok(ending_in(folder, "dataset")?.into_iter().find(|path| path.is_dir()))
}

/// The tables in a folder.
fn tables(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    Ok(ending_in(folder, "csv")?.into_iter().filter(|path| path.is_file()).collect())
}

/// What in a folder has this extension, by name.
fn ending_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, ReportError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ReportError + '_ {
    move |source| ReportError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
