//! What several test modules need: folders, small files, whole corpora.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use gf_corpus::{
    Corpus, Error, Found, IngestOptions, Ledger, MetadataColumn, Progress, QcOptions,
    SourceOptions, Study, ingest,
};
use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use rust_hdf5::{H5File, H5Type};
use tempfile::TempDir;

/// Counts by cell and gene.
pub type Triplets = BTreeMap<(String, String), u64>;

/// A path under the shared folder; says so and gives `None` if it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("GF_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is absent", path.display());
        return None;
    }
    Some(path)
}

/// Text of a file, unpacked if it is gzip.
pub fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

/// The immune cells that ship in the repository.
pub fn immune() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/immune_559"))
}

pub fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub fn next_study(_: &Study, _: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Keeps every cell that has a count.
pub fn every_cell() -> IngestOptions {
    let qc = QcOptions { min_protein_coding: 0, ..QcOptions::default() };
    IngestOptions { qc, ..IngestOptions::default() }
}

/// Ingests with every cell kept that has a count.
pub fn lenient(
    inputs: &[PathBuf],
    layer: Option<&str>,
) -> Result<(TempDir, Corpus, Ledger), Error> {
    let source = SourceOptions { layer: layer.map(str::to_owned), ..SourceOptions::default() };
    run(inputs, &IngestOptions { source, ..every_cell() })
}

pub fn run(
    inputs: &[PathBuf],
    options: &IngestOptions,
) -> Result<(TempDir, Corpus, Ledger), Error> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("corpus");
    let catalogue = Found::under(inputs)?.catalogue;
    let ledger = ingest(&catalogue, &out, options, &mut next_study)?;
    let corpus = Corpus::open(&out)?;
    assert_eq!(corpus.ledger(), &ledger);
    balanced(&ledger);
    Ok((folder, corpus, ledger))
}

/// Every count that came in went somewhere.
pub fn balanced(ledger: &Ledger) {
    for file in &ledger.files {
        assert_eq!(
            file.mapped().counts,
            file.counts_kept + file.counts_in_copies + file.counts_in_dropped_cells,
            "{file:?}"
        );
        let cells = &file.cells;
        assert_eq!(cells.read, cells.kept + cells.copies + cells.n_dropped(), "{file:?}");
    }
}

/// All counts of a corpus.
pub fn triplets(corpus: &Corpus) -> Triplets {
    let mut all = Triplets::new();
    for block in corpus.blocks() {
        let block = block.unwrap();
        for (cell, (genes, counts)) in block.cell_ids.iter().zip(block.counts.rows()) {
            for (&gene, &count) in genes.iter().zip(counts) {
                let gene = corpus.genes()[gene as usize].id.to_string();
                let old = all.insert((cell.clone(), gene), u64::from(count));
                assert_eq!(old, None, "{cell} twice");
            }
        }
    }
    all
}

/// A metadata column of a corpus, as text.
pub fn column(corpus: &Corpus, name: &str) -> Vec<Option<String>> {
    let place = corpus.columns().iter().position(|column| column.name == name).unwrap();
    corpus.blocks().flat_map(|block| texts(&block.unwrap().columns[place])).collect()
}

/// The values of a column as text.
pub fn texts(column: &MetadataColumn) -> Vec<Option<String>> {
    (0..column.len()).map(|cell| column.get(cell).text()).collect()
}

/// Writes a file, gzip if its name says so.
pub fn write(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    if path.extension().is_some_and(|end| end == "gz") {
        let mut stream = GzBuilder::new().write(file, Compression::fast());
        stream.write_all(text.as_bytes()).unwrap();
        stream.finish().unwrap();
    } else {
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// A small MEX folder to be bent out of shape.
#[derive(Clone)]
pub struct Mex {
    pub barcodes: Vec<String>,
    /// Lines of features.tsv.
    pub features: Vec<String>,
    /// The whole matrix.mtx.
    pub matrix: String,
}

/// Ten protein-coding genes by symbol.
pub const SYMBOLS: [&str; 10] =
    ["ACTB", "GAPDH", "CD3D", "CD3E", "MS4A1", "NKG7", "LYZ", "CD14", "CD8A", "CD4"];

impl Mex {
    /// From (gene row, cell, value), 0-based, in the order given.
    pub fn new(features: &[&str], n_cells: usize, entries: &[(usize, usize, &str)]) -> Self {
        let mut matrix = "%%MatrixMarket matrix coordinate integer general\n%\n".to_owned();
        matrix += &format!("{} {n_cells} {}\n", features.len(), entries.len());
        for (gene, cell, value) in entries {
            matrix += &format!("{} {} {value}\n", gene + 1, cell + 1);
        }
        let barcodes = (0..n_cells).map(|cell| format!("CELL{cell}-1")).collect();
        Self { barcodes, features: features.iter().map(|f| (*f).to_owned()).collect(), matrix }
    }

    /// Two cells with some counts over [`SYMBOLS`].
    pub fn small() -> Self {
        Self::new(&SYMBOLS, 2, &[(0, 0, "5"), (1, 0, "1"), (9, 0, "2"), (0, 1, "7"), (3, 1, "1")])
    }

    /// Writes the v3 names, with `.gz` at their end if asked.
    pub fn write(&self, folder: &Path, end: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let lines =
            |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        write(&folder.join(format!("barcodes.tsv{end}")), &lines(&self.barcodes));
        write(&folder.join(format!("features.tsv{end}")), &lines(&self.features));
        write(&folder.join(format!("matrix.mtx{end}")), &self.matrix);
        folder.to_owned()
    }
}

/// A small CSR `.h5ad`: cells CELL0, CELL1 over [`SYMBOLS`]; values of any type.
pub struct Ad<T> {
    pub values: Vec<T>,
    pub indices: Vec<i32>,
    pub indptr: Vec<i32>,
    pub genes: Vec<String>,
    pub group: &'static str,
}

impl<T: H5Type> Ad<T> {
    /// Two cells of two and three values.
    pub fn new(values: Vec<T>) -> Self {
        let genes = SYMBOLS.map(str::to_owned).to_vec();
        Self { values, indices: vec![0, 4, 1, 2, 9], indptr: vec![0, 2, 5], genes, group: "X" }
    }

    pub fn write(&self, path: &Path) -> PathBuf {
        let file = H5File::create(path).unwrap();
        let group = file.create_group(self.group).unwrap();
        group.set_attr_string("encoding-type", "csr_matrix").unwrap();
        vector(&file, &format!("{}/data", self.group), &self.values);
        vector(&file, &format!("{}/indices", self.group), &self.indices);
        vector(&file, &format!("{}/indptr", self.group), &self.indptr);
        frame(&file, "obs", &["CELL0".to_owned(), "CELL1".to_owned()]);
        frame(&file, "var", &self.genes);
        file.close().unwrap();
        path.to_owned()
    }
}

pub fn vector<T: H5Type>(file: &H5File, name: &str, values: &[T]) {
    let (group, leaf) = name.rsplit_once('/').unwrap();
    let group = file.root_group().group(group).unwrap();
    let dataset = group.new_dataset::<T>().shape([values.len()]).create(leaf).unwrap();
    dataset.write_raw(values).unwrap();
}

pub fn frame(file: &H5File, name: &str, index: &[String]) {
    let group = file.create_group(name).unwrap();
    group.set_attr_string("_index", "_index").unwrap();
    group.set_attr_string("encoding-type", "dataframe").unwrap();
    let index: Vec<&str> = index.iter().map(String::as_str).collect();
    group.write_vlen_strings("_index", &index).unwrap();
}

/// Bytes of a damaged file that are looked at, at most.
const SCRAMBLES: usize = 800;

/// Reads a file with every one of many bytes changed, and cut off at many
/// places. It may be refused or read; what must not happen is a panic, or that
/// it takes unreasonably long.
pub fn scramble(bytes: &[u8], name: &str) {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let (mut refused, mut read) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let start = std::time::Instant::now();
        match drain(&path) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    };
    let step = bytes.len().div_ceil(SCRAMBLES).max(1);
    for at in (0..bytes.len()).step_by(step) {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            attempt(&damaged);
        }
        if at % (8 * step) == 0 {
            attempt(&bytes[..at]);
        }
    }
    eprintln!("{name}: {refused} refused, {read} read");
    assert!(refused > 0 && read > 0);
}

/// Reads all blocks of a source, at most a hundred.
fn drain(path: &Path) -> Result<usize, Error> {
    let mut source = gf_corpus::open_source(path, &SourceOptions::default())?;
    let mut n_cells = 0;
    for _ in 0..100 {
        let Some(block) = source.next_block(512)? else { break };
        n_cells += block.cell_ids.len();
    }
    Ok(n_cells)
}

/// Bytes of [`pad`].
pub const PADDING: usize = 4 << 20;

/// Makes a file long enough that a size it declares is not refused for the
/// file's own, so that the cap behind that check is the one that is met.
pub fn pad(file: &H5File) {
    let dataset = file.new_dataset::<u8>().shape([PADDING]).create("padding").unwrap();
    dataset.write_raw(&vec![0u8; PADDING]).unwrap();
}

/// For how long each file is damaged again and again; `GF_DAMAGE_SECONDS` says another time.
pub fn budget() -> Duration {
    const USUAL: u64 = 2;
    let seconds = std::env::var("GF_DAMAGE_SECONDS").map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(USUAL))
}

/// Flips a bit, sets eight bytes to a hostile number, or cuts the file.
pub fn bend(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    const NUMBERS: [u64; 6] = [0, 1, 1 << 31, 1 << 60, u64::MAX, u64::MAX - 7];
    let n = bytes.len();
    let at = rng.next_u64() as usize % n;
    match rng.next_u32() % 8 {
        0..=4 => bytes[at] ^= 1 << (rng.next_u32() % 8),
        5 | 6 => {
            let number = NUMBERS[rng.next_u32() as usize % NUMBERS.len()].to_le_bytes();
            let end = n.min(at + 8);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        _ => bytes.truncate(n.max(2) - 1 - rng.next_u64() as usize % (n / 2).max(1)),
    }
}
