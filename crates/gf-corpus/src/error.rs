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
        "{path}: neither a folder with a matrix.mtx or an AnnData zarr nor an .h5ad, .loom, 10x .h5, .csv, .tsv or .txt file",
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
    /// A part of a zarr folder cannot be read.
    #[error("{path}: {object}: {reason}", path = path.display())]
    Zarr {
        /// The folder.
        path: PathBuf,
        /// The object inside the folder.
        object: String,
        /// What is wrong with it.
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
    /// Two cells of one file have the same id.
    #[error(
        "{path}: cells {first} and {second} (counted from 0) are both called {cell:?}, \
         expected each id once",
        path = path.display()
    )]
    DuplicateCell {
        /// The file.
        path: PathBuf,
        /// The id.
        cell: String,
        /// 0-based place of the first.
        first: u64,
        /// 0-based place of the second.
        second: u64,
    },
    /// A study to be added has the id of another one.
    #[error("study {id}: {path} has the id of {taken_by}, expected another id", path = path.display(), taken_by = taken_by.display())]
    StudyIdTaken {
        /// The id.
        id: String,
        /// The new study's file.
        path: PathBuf,
        /// The file of the study that has the id.
        taken_by: PathBuf,
    },
    /// Another process writes to the corpus.
    #[error("{path}: another ingest is writing to this corpus", path = path.display())]
    Busy {
        /// The corpus folder.
        path: PathBuf,
    },
    /// A median sketch is full.
    #[error("more than 4294967295 values near {bin} CP10k, expected fewer")]
    Sketch {
        /// The middle of the bin.
        bin: f64,
    },
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
    /// Text that is not a DOI.
    #[error("found {found:?}, expected a DOI such as 10.1038/s41586-023-06139-9")]
    Doi {
        /// The text, its first 80 characters.
        found: String,
    },
    /// Text that names none of the consolidated organs.
    #[error("found {found:?}, expected one of the organs {}", crate::organ::ORGANS.join(", "))]
    Organ {
        /// The text, its first 80 characters.
        found: String,
    },
    /// A catalogue of studies breaks its form at a line.
    #[error(
        "{path}: line {line}{}: found {found:?}, expected {expected}",
        if column.is_empty() { String::new() } else { format!(": column {column}") },
        path = path.display()
    )]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// 1-based line number; 0 if it is about the whole file.
        line: u64,
        /// The column; empty if it is about none of the known ones.
        column: &'static str,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A pickle that cannot be read as plain values.
    #[error("{path}: byte {at}: found {found}, expected {expected}", path = path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// 0-based place of the operation.
        at: usize,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A pickle that wants to call or hold something that is not a plain value.
    #[error(
        "{path}: byte {at}: found {name}, expected plain values, for a pickle can run any code",
        path = path.display()
    )]
    PickleGlobal {
        /// The file.
        path: PathBuf,
        /// 0-based place of the operation.
        at: usize,
        /// `module.name` of it.
        name: String,
    },
    /// A number that a user set is out of range.
    #[error("{name}: found {found}, expected {expected}")]
    Setting {
        /// The field.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// The droplets taken for empty do not tell what the ambient RNA is.
    #[error(
        "{droplets} ambient droplets with {counts} counts have {found} distinct counts a gene, \
         expected at least {expected}"
    )]
    Ambient {
        /// Droplets taken for empty.
        droplets: u64,
        /// All their counts.
        counts: u64,
        /// How many different sums a gene has over them.
        found: usize,
        /// How many the smoothing needs.
        expected: usize,
    },
    /// A droplet's row is not what its total promised.
    #[error("droplet {droplet}: {what}: found {found}, expected {expected}")]
    Droplet {
        /// 0-based droplet.
        droplet: usize,
        /// What was compared.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The number expected.
        expected: u64,
    },
    /// An object is compressed with a filter that is not read.
    #[error(
        "{path}: {object}: stored with filter {filter}, \
         expected gzip, lzf, szip, zstd, lz4, blosc or none",
        path = path.display()
    )]
    Filter {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// The filter's registered number, and its name where it is a common one.
        filter: String,
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
    /// A folder holds the matrices of several samples.
    #[error("{path}: found {found} matrices ({names}), expected one: give the path of the matrix", path = path.display())]
    SeveralMatrices {
        /// The folder.
        path: PathBuf,
        /// How many.
        found: usize,
        /// The names of the first of them.
        names: String,
    },
    /// A table of text of which nobody can tell where the genes stand.
    #[error(
        "{path}: found {in_column} gene names in the first column (for example {column:?}) and \
         {in_header} in the header (for example {header:?}), expected them in one of the two",
        path = path.display()
    )]
    Orientation {
        /// The file.
        path: PathBuf,
        /// Human or Ensembl gene names in the first column.
        in_column: usize,
        /// The first name of the first column.
        column: String,
        /// Human or Ensembl gene names in the header.
        in_header: usize,
        /// The first name of the header.
        header: String,
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
