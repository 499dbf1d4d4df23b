//! Everything that can go wrong between a file of counts and a corpus.

use std::path::PathBuf;

/// The result of anything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One variant per failure, its facts as fields.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Text that is not an Ensembl human gene id.
    #[error("found {found:?}, expected an Ensembl human gene id such as ENSG00000000003")]
    GeneId {
        /// The text.
        found: String,
    },
    /// A path that is none of the formats.
    #[error(
        "{path}: neither a folder with a matrix.mtx nor an .h5ad, .loom or 10x .h5 file",
        path = path.display()
    )]
    UnknownFormat {
        /// The path as given.
        path: PathBuf,
    },
    /// A MEX folder lacks one of its three files.
    #[error("{path}: found no {expected}, plain or .gz", path = path.display())]
    MissingFile {
        /// The folder.
        path: PathBuf,
        /// The name that was looked for.
        expected: &'static str,
    },
    /// A text file does not say what its format promises at a line.
    #[error("{path}: line {line}: found {found:?}, expected {expected}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// 1-based line number.
        line: u64,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// Two tables of one input disagree about a length.
    #[error("{path}: {what}: found {found}, expected {expected}", path = path.display())]
    Length {
        /// The file or folder.
        path: PathBuf,
        /// What was counted.
        what: String,
        /// The number found.
        found: u64,
        /// The number promised elsewhere in the input.
        expected: u64,
    },
    /// A cell's entries come back after the cell was complete and handed on.
    #[error(
        "{path}: line {line}: entries of cell {cell} come back after the file moved on, \
         expected a matrix sorted by column",
        path = path.display()
    )]
    MexOrder {
        /// The matrix file.
        path: PathBuf,
        /// 1-based line number.
        line: u64,
        /// The cell's barcode.
        cell: String,
    },
    /// A stored value is not a raw count.
    #[error(
        "{path}: {layer}: cell {cell}, gene {gene}: found {found}, \
         expected raw counts (whole numbers from 0 to 4294967295)",
        path = path.display()
    )]
    NotCounts {
        /// The file.
        path: PathBuf,
        /// The matrix: `matrix.mtx`, `X`, `raw/X` or `layers/NAME`.
        layer: String,
        /// The cell's id.
        cell: String,
        /// The gene row's name in the file.
        gene: String,
        /// The value, as the file has it.
        found: String,
    },
    /// The HDF5 reader refused a part of the file.
    #[error("{path}: {object}: {reason}", path = path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// What the reader said.
        reason: String,
    },
    /// An `.h5ad` part is stored in a way this reader does not know.
    #[error("{path}: {object}: found {found}, expected {expected}", path = path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// How it is stored.
        found: String,
        /// What is read.
        expected: String,
    },
    /// The layer that was asked for is not in the file, or there is no matrix at all.
    #[error("{path}: found no matrix {layer}, the file has: {present}", path = path.display())]
    MissingLayer {
        /// The file.
        path: PathBuf,
        /// The matrix that was looked for.
        layer: String,
        /// The matrices that are there.
        present: String,
    },
    /// Gene ids of another species.
    #[error("{path}: gene row {row}: {found} is a gene of {species}, expected human genes", path = path.display())]
    ForeignSpecies {
        /// The file.
        path: PathBuf,
        /// 0-based gene row.
        row: usize,
        /// The id.
        found: String,
        /// The species' name, or its Ensembl prefix.
        species: String,
    },
    /// Most names are human symbols only when written in capitals.
    #[error(
        "{path}: {recased} of {rows} gene rows, for example {example}, are human symbols only when \
         written in capitals (mouse writes them so), expected human gene symbols",
        path = path.display()
    )]
    ForeignSymbols {
        /// The file.
        path: PathBuf,
        /// Rows that match when written in capitals.
        recased: usize,
        /// All rows.
        rows: usize,
        /// The first such row.
        example: String,
    },
    /// Not one row could be given a gene.
    #[error(
        "{path}: none of {rows} gene rows, for example {example:?}, is a human gene id or symbol",
        path = path.display()
    )]
    NoGenes {
        /// The file.
        path: PathBuf,
        /// All rows.
        rows: usize,
        /// The first row's name.
        example: String,
    },
    /// Cells that do not form a valid sparse matrix.
    #[error("cell {cell}: {reason}")]
    Counts {
        /// 0-based cell in the matrix.
        cell: usize,
        /// What is wrong.
        reason: String,
    },
    /// Nothing was given to read.
    #[error("found no input, expected at least one file or folder")]
    NoInput,
    /// The target of an ingest exists and is not a corpus.
    #[error("{path}: exists and is not a corpus, so it is not overwritten", path = path.display())]
    NotACorpus {
        /// The target.
        path: PathBuf,
    },
    /// A corpus folder whose parts do not fit together.
    #[error("{path}: {reason}", path = path.display())]
    Corpus {
        /// The file inside the corpus.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The shipped annotation table cannot be read.
    #[error("gene annotation table: line {line}: {reason}")]
    Annotation {
        /// 1-based line number.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An HDF5 file laid out as none of the formats.
    #[error(
        "{path}: found {present} in it, expected a 10x matrix (barcodes, data, indices, indptr and \
         features or genes), an AnnData (obs and var) or a loom (matrix and row_attrs)",
        path = path.display()
    )]
    UnknownHdf5 {
        /// The file.
        path: PathBuf,
        /// What lies at its top.
        present: String,
    },
    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Puts a path beside what the operating system said.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
