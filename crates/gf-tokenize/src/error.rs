//! Everything that can go wrong here, one variant per failure.

use std::{
    io,
    path::{Path, PathBuf},
};

use gf_corpus::{GeneId, MetadataKind};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of tokenisation or of a data set on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A JSON file does not hold what it should.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },

    /// The first line of a vocabulary is not its header.
    #[error("{path}, line 1: expected the header `key<TAB>token_id`, found {found:?}")]
    VocabularyHeader {
        /// The vocabulary file.
        path: PathBuf,
        /// The line as it stands.
        found: String,
    },

    /// A line of a vocabulary is not `key<TAB>token_id`.
    #[error(
        "{path}, line {line}: expected a gene id or special token, a tab and a number, found {found:?}"
    )]
    VocabularyLine {
        /// The vocabulary file.
        path: PathBuf,
        /// 1-based line number.
        line: usize,
        /// The line as it stands.
        found: String,
    },

    /// An entry of a pickled or JSON vocabulary is no key with a token id.
    #[error(
        "{path}, entry {entry}: expected a gene id or special token with a number, found {found}"
    )]
    VocabularyEntry {
        /// The vocabulary file.
        path: PathBuf,
        /// 1-based place in the file.
        entry: usize,
        /// The entry as it stands.
        found: String,
    },

    /// A key or a token id appears twice in a vocabulary; in a dictionary, entries count as lines.
    #[error("{path}, line {line}: {key} = {token} repeats a key or a token id of an earlier line")]
    VocabularyRepeat {
        /// The vocabulary file.
        path: PathBuf,
        /// 1-based line number.
        line: usize,
        /// The key of that line.
        key: String,
        /// The token id of that line.
        token: u32,
    },

    /// The token ids of a vocabulary leave a gap.
    #[error(
        "{path}: token id {missing} is missing among {n_tokens} tokens; ids must run from 0 without a gap"
    )]
    VocabularyGap {
        /// The vocabulary file.
        path: PathBuf,
        /// The first id that is missing.
        missing: usize,
        /// Number of lines with a token.
        n_tokens: usize,
    },

    /// A vocabulary lacks the padding or the mask token.
    #[error("{path}: special token {name} is missing")]
    MissingSpecial {
        /// The vocabulary file.
        path: PathBuf,
        /// `<pad>` or `<mask>`.
        name: &'static str,
    },

    /// Genes of the vocabulary have no usable median.
    #[error(
        "{n_genes} genes of the vocabulary have no positive finite median, the first is {gene}"
    )]
    MissingMedian {
        /// The first such gene in token order.
        gene: GeneId,
        /// How many there are.
        n_genes: usize,
    },

    /// The sequence length leaves no room for a gene.
    #[error(
        "a sequence of at most {max_len} tokens has no room for a gene beside {n_special} special tokens"
    )]
    MaxLenTooSmall {
        /// The length asked for.
        max_len: usize,
        /// Special tokens that every sequence carries.
        n_special: usize,
    },

    /// A cell has no total where the reference needs one.
    #[error("cell {cell_id}: {column} is {found}, expected a whole number above 0")]
    NoTotal {
        /// The cell.
        cell_id: String,
        /// The metadata column of totals.
        column: &'static str,
        /// What stands there.
        found: String,
    },

    /// A column was asked for that is not there.
    #[error("{path} has no column {column:?}; it has {available:?}")]
    NoSuchColumn {
        /// The corpus or data set.
        path: PathBuf,
        /// The name asked for.
        column: String,
        /// The names there are.
        available: Vec<String>,
    },

    /// A metadata column would collide with one that the data set has of its own.
    #[error("column {column:?} cannot be kept: a data set of tokens has one of that name already")]
    ReservedColumn {
        /// The name.
        column: String,
    },

    /// A row was pushed with the wrong number of metadata values.
    #[error("cell {cell_id}: {found} metadata values for {expected} columns")]
    RowWidth {
        /// The cell.
        cell_id: String,
        /// Values given.
        found: usize,
        /// Columns of the data set.
        expected: usize,
    },

    /// A row was pushed with the wrong number of counts.
    #[error("cell {cell_id}: {found} counts beside its tokens, expected {expected}")]
    RowCounts {
        /// The cell.
        cell_id: String,
        /// Counts given.
        found: usize,
        /// One per token where the data set keeps counts, else none.
        expected: usize,
    },

    /// A metadata value is not of its column's kind.
    #[error("cell {cell_id}, column {column:?}: found {found}, expected {expected:?}")]
    ValueKind {
        /// The cell.
        cell_id: String,
        /// The column.
        column: String,
        /// The value given.
        found: String,
        /// What the column holds.
        expected: MetadataKind,
    },

    /// The output exists and is no data set of ours, which alone may be replaced.
    #[error("{path} exists and is no data set of tokens; remove it or choose another name")]
    OutputExists {
        /// The folder asked for.
        path: PathBuf,
    },

    /// A batch of rows could not be encoded as Arrow.
    #[error("{path}: {source}")]
    Encode {
        /// The shard being written.
        path: PathBuf,
        /// What arrow2 said.
        source: arrow2::error::Error,
    },

    /// The caller's progress function asked to stop.
    #[error("interrupted after {done} of {total} cells; {}", kept(*rows, partial))]
    Interrupted {
        /// Cells done.
        done: u64,
        /// Cells in all.
        total: u64,
        /// Rows that stay, so that the same call goes on after them.
        rows: usize,
        /// Where they stay.
        partial: PathBuf,
    },

    /// A data set could not be finished, but what is finished of it stays.
    #[error("{source}; {}", kept(*rows, partial))]
    Unfinished {
        /// Rows that stay, so that the same call goes on after them.
        rows: usize,
        /// Where they stay.
        partial: PathBuf,
        /// Why it could not be finished.
        source: Box<Error>,
    },

    /// Another run writes the folder.
    #[error("{path} is being written by another run")]
    Locked {
        /// The partial folder.
        path: PathBuf,
    },

    /// A data set was made with other medians than those a model was trained on.
    #[error(
        "{path}: tokens were ranked by the medians {found}, the model was trained with {expected}"
    )]
    MediansHash {
        /// The data set.
        path: PathBuf,
        /// Hash of the data set's medians.
        found: String,
        /// Hash of the model's.
        expected: String,
    },

    /// The folder holds several data sets, not one.
    #[error("{path} is a dictionary of data sets; open one of its splits: {splits:?}")]
    DatasetDict {
        /// The folder.
        path: PathBuf,
        /// The folders inside it.
        splits: Vec<String>,
    },

    /// The folder is not a data set.
    #[error("{path} is not a data set folder: it has no state.json")]
    NotADataset {
        /// The folder.
        path: PathBuf,
    },

    /// A data file is named by something other than a plain file name.
    #[error("{path}: data file {found:?} is not a plain file name")]
    DataFileName {
        /// The state.json.
        path: PathBuf,
        /// The name as it stands.
        found: String,
    },

    /// The data set selects its rows through index files, as `datasets` before 2.0 did.
    #[error(
        "{path}: rows selected through index files are not supported; save the data set again with datasets 2.0 or later"
    )]
    IndexFiles {
        /// The state.json.
        path: PathBuf,
    },

    /// Two shards of a data set have different columns.
    #[error("{path}: columns {found:?} differ from the first shard's {expected:?}")]
    ShardColumns {
        /// The later shard.
        path: PathBuf,
        /// Its columns.
        found: Vec<String>,
        /// The first shard's columns.
        expected: Vec<String>,
    },

    /// A data set was written by a newer version of this crate.
    #[error("{path}: format version {found}, this program reads up to {expected}")]
    FormatVersion {
        /// The manifest.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        expected: u32,
    },

    /// The vocabulary beside a data set is not the one its tokens were made with.
    #[error("{path}: content hash {found}, the data set was made with {expected}")]
    VocabularyHash {
        /// The vocabulary file.
        path: PathBuf,
        /// Hash of the file's content.
        found: String,
        /// Hash in the manifest.
        expected: String,
    },

    /// A row was asked for that the data set does not have.
    #[error("{path}: row {row} was asked for, the data set has {n_rows} rows")]
    NoSuchRow {
        /// The data set.
        path: PathBuf,
        /// Row asked for, 0-based.
        row: usize,
        /// Rows there are.
        n_rows: usize,
    },

    /// The values of a column are not read as metadata.
    #[error(
        "{path}: column {column:?} holds {found}, expected text, numbers, booleans or a dictionary of them"
    )]
    UnreadColumn {
        /// The shard.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
    },

    /// A value to filter by cannot be one of its column's.
    #[error("{path}: column {column:?} cannot hold {found:?}, expected {expected:?}")]
    WantedValue {
        /// The data set.
        path: PathBuf,
        /// The column.
        column: String,
        /// The value asked for.
        found: String,
        /// What the column holds.
        expected: MetadataKind,
    },

    /// Shares that no split has.
    #[error(
        "fractions {valid} to validate and {test} to test, expected none negative and at most 1 together"
    )]
    Fractions {
        /// Share of the rows to validate.
        valid: f64,
        /// Share of the rows to test.
        test: f64,
    },

    /// A data set cannot be split by groups into so many parts.
    #[error(
        "{path}: column {column:?} has {n_groups} values, expected one for each of {n_parts} parts"
    )]
    FewGroups {
        /// The data set.
        path: PathBuf,
        /// The column.
        column: String,
        /// Different values, a missing one among them.
        n_groups: usize,
        /// Parts that are to have rows.
        n_parts: usize,
    },

    /// A token is no entry of the vocabulary.
    #[error("{path}, row {row}, position {position}: token {found}, expected 0 to {}", n_tokens - 1)]
    TokenRange {
        /// The data set.
        path: PathBuf,
        /// 0-based row of the data set.
        row: usize,
        /// 0-based position in the row.
        position: usize,
        /// The token.
        found: i64,
        /// Size of the vocabulary.
        n_tokens: usize,
    },

    /// The bytes of a shard are not a sound Arrow stream.
    #[error("{path}: {fault}")]
    Arrow {
        /// The shard.
        path: PathBuf,
        /// What is wrong and where.
        fault: ArrowFault,
    },

    /// The corpus could not be read.
    #[error(transparent)]
    Corpus(#[from] gf_corpus::Error),
}

fn kept(rows: usize, partial: &Path) -> String {
    match rows {
        0 => "nothing was kept".to_owned(),
        _ => {
            format!("{} keeps {rows} rows, after which the same command goes on", partial.display())
        }
    }
}

/// What is wrong inside an Arrow stream. Rows are 0-based within the shard, bytes within the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrowFault {
    /// The file ends inside a message.
    #[error("truncated: the message at byte {at} needs {expected} bytes, {found} are left")]
    Truncated {
        /// Where the message starts.
        at: usize,
        /// Bytes it needs.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },

    /// A message header could not be read.
    #[error("the message at byte {at}: {source}")]
    Read {
        /// Where the message starts.
        at: usize,
        /// What the system said.
        source: io::Error,
    },

    /// A message does not start as one.
    #[error("byte {at}: expected the message marker ff ff ff ff, found {found:02x?}")]
    Marker {
        /// Where the message should start.
        at: usize,
        /// What stands there.
        found: [u8; 4],
    },

    /// A message header cannot be read.
    #[error("the message at byte {at} is corrupt: {what}")]
    Message {
        /// Where the message starts.
        at: usize,
        /// What is wrong with it.
        what: String,
    },

    /// A feature of the format that `datasets` does not use.
    #[error("the message at byte {at} uses {what}, which is not supported")]
    Unsupported {
        /// Where the message starts.
        at: usize,
        /// The feature.
        what: &'static str,
    },

    /// A column of a type that cannot be stepped over.
    #[error("column {column:?} is {what}, which is not supported")]
    UnsupportedColumn {
        /// The column.
        column: String,
        /// What it is.
        what: &'static str,
    },

    /// No column of the name.
    #[error("no column {column:?}; the file has {available:?}")]
    NoColumn {
        /// The name looked for.
        column: &'static str,
        /// The names there are.
        available: Vec<String>,
    },

    /// A column has a type that cannot be used.
    #[error("column {column:?} holds {found}, expected {expected}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The types that can be read.
        expected: &'static str,
    },

    /// A column's buffer lies outside its message, is too short or is misaligned.
    #[error(
        "column {column:?}, rows from {row}: buffer at byte {start} of length {found}, expected at least {expected} aligned bytes inside the message"
    )]
    Buffer {
        /// The column.
        column: String,
        /// First row of the batch.
        row: usize,
        /// Start of the buffer within the message body.
        start: i64,
        /// Length of the buffer.
        found: i64,
        /// Length needed.
        expected: usize,
    },

    /// A batch has fewer parts than its schema asks for.
    #[error("column {column:?}, rows from {row}: the batch lists too few arrays or buffers")]
    MissingPart {
        /// The column.
        column: String,
        /// First row of the batch.
        row: usize,
    },

    /// An array has a length that its batch does not allow.
    #[error("column {column:?}, rows from {row}: {found} values, expected {expected}")]
    ArrayLength {
        /// The column.
        column: String,
        /// First row of the batch.
        row: usize,
        /// Length found.
        found: i64,
        /// Length expected.
        expected: usize,
    },

    /// The offsets of a list or text column go back or beyond the values.
    #[error("column {column:?}, row {row}: values {start} to {end} of {n_values}")]
    Offsets {
        /// The column.
        column: String,
        /// The row.
        row: usize,
        /// Where the row's values should start.
        start: i64,
        /// Where they should end.
        end: i64,
        /// How many values there are.
        n_values: usize,
    },

    /// A text is not UTF-8.
    #[error("column {column:?}, row {row}: the text is not UTF-8")]
    Utf8 {
        /// The column.
        column: String,
        /// First row of the batch, or the row itself.
        row: usize,
    },

    /// A dictionary key points nowhere.
    #[error("column {column:?}, row {row}: key {found} of a dictionary of {n_values}")]
    DictionaryKey {
        /// The column.
        column: String,
        /// The row.
        row: usize,
        /// The key.
        found: i64,
        /// Size of the dictionary.
        n_values: usize,
    },

    /// A row has no token list, or a list a missing token.
    #[error("column {column:?}, rows from {row}: values are missing, expected none missing")]
    Nulls {
        /// The column.
        column: String,
        /// First row of the batch.
        row: usize,
    },

    /// A token is negative or does not fit 32 bits.
    #[error("row {row}: token {found}, expected a number from 0 to 2147483647")]
    WideToken {
        /// The row.
        row: usize,
        /// The token, or the number of 64 bits nearest to it.
        found: i64,
    },

    /// A whole number without sign is beyond those with one.
    #[error("column {column:?}, row {row}: {found} does not fit 64 bits with a sign")]
    WideInteger {
        /// The column.
        column: String,
        /// The row.
        row: usize,
        /// The number.
        found: u64,
    },

    /// The length column disagrees with the tokens.
    #[error("row {row}: column \"length\" says {found}, the row has {expected} tokens")]
    Length {
        /// The row.
        row: usize,
        /// What the column says.
        found: i64,
        /// What the list holds.
        expected: usize,
    },
}
