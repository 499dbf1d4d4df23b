//! The genes of studies on disk: `genes-HASH.tsv`, named by content, so that
//! studies over the same genes share one file.

use std::{io::Write, path::Path};

use atomic_write_file::AtomicWriteFile;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    error::{Error, Result},
    gene::{Biotype, Gene},
    shard::broken,
};

const HEADER: [&str; 3] = ["ensembl_id", "symbol", "biotype"];
/// Longest list that is read, in bytes: a million genes.
const MAX_BYTES: u64 = 1 << 26;

/// Writes a list into a folder unless it is there; returns its file name.
pub(crate) fn write(folder: &Path, genes: &[Gene]) -> Result<String> {
    let text = render(genes).map_err(Error::io(folder))?;
    let name = format!("genes-{:016x}.tsv", xxh3_64(&text));
    let path = folder.join(&name);
    if std::fs::read(&path).is_ok_and(|old| old == text) {
        return Ok(name);
    }
    let mut file = AtomicWriteFile::open(&path).map_err(Error::io(&path))?;
    file.write_all(&text).map_err(Error::io(&path))?;
    file.commit().map_err(Error::io(&path))?;
    Ok(name)
}

/// Whether a file name is that of a list.
pub(crate) fn is_list(name: &str) -> bool {
    name.starts_with("genes-") && name.ends_with(".tsv") && !name.contains('/')
}

/// Reads a list that [`write`] wrote.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Vec<Gene>> {
    let path = folder.join(name);
    if !is_list(name) {
        return Err(broken(folder, format!("{name:?} is not the name of a gene list")));
    }
    let n_bytes = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
    if n_bytes > MAX_BYTES {
        return Err(broken(&path, format!("found {n_bytes} bytes, expected {MAX_BYTES} at most")));
    }
    let text = std::fs::read(&path).map_err(Error::io(&path))?;
    if name != format!("genes-{:016x}.tsv", xxh3_64(&text)) {
        return Err(broken(&path, "found another content than its name promises".to_owned()));
    }
    parse(&text).map_err(|e| broken(&path, e.to_string()))
}

fn render(genes: &[Gene]) -> std::io::Result<Vec<u8>> {
    let mut table = csv::WriterBuilder::new().delimiter(b'\t').from_writer(Vec::new());
    table.write_record(HEADER)?;
    for gene in genes {
        let id = gene.id.to_string();
        table.write_record([id.as_str(), gene.symbol.as_str(), gene.biotype.name()])?;
    }
    table.into_inner().map_err(|e| e.into_error())
}

fn parse(text: &[u8]) -> Result<Vec<Gene>, Box<dyn std::error::Error>> {
    let mut table = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(text);
    let gene = |row: csv::StringRecord| -> Result<Gene, Box<dyn std::error::Error>> {
        let [id, symbol, biotype] = [0, 1, 2].map(|i| row.get(i).unwrap_or_default());
        let biotype = Biotype::from_name(biotype);
        let biotype = biotype.ok_or_else(|| format!("found {row:?}, expected {HEADER:?}"))?;
        Ok(Gene { id: id.parse()?, symbol: symbol.to_owned(), biotype })
    };
    table.records().map(|row| gene(row?)).collect()
}
