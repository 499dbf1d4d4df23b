//! Small packed files that unpack to very much.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use gf_corpus::{Error, SourceOptions, open_source};

use crate::support::{Mex, SYMBOLS};

/// Bytes that each bomb unpacks to, unless a cap is reached only later.
const UNPACKED: usize = 70 << 20;
/// Far more than refusing one takes, far less than reading on would.
const PATIENCE: Duration = Duration::from_secs(60);

/// Packs `head` and then `body` again and again.
fn bomb(path: PathBuf, head: &str, body: &[u8], n_bytes: usize) -> PathBuf {
    let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    file.write_all(head.as_bytes()).unwrap();
    let chunk = body.repeat((1 << 16) / body.len());
    for _ in 0..n_bytes.div_ceil(chunk.len()) {
        file.write_all(&chunk).unwrap();
    }
    file.finish().unwrap();
    path
}

#[track_caller]
fn check(path: &Path, expected: &str) {
    let start = Instant::now();
    let read = || -> Result<(), Error> {
        let mut source = open_source(path, &SourceOptions::default())?;
        while source.next_block(512)?.is_some() {}
        Ok(())
    };
    let message = read().expect_err("it was read").to_string();
    assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

/// A MEX folder, one of whose parts is a bomb.
#[track_caller]
fn mex(part: &str, head: &str, body: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = Mex::small().write(folder.path(), ".gz");
    bomb(path.join(part), head, body, UNPACKED);
    check(&path, expected);
}

#[test]
fn endless_barcodes() {
    mex("barcodes.tsv.gz", "", b"\0", "at most 1048576 bytes");
    mex("barcodes.tsv.gz", "", b"\n", "a barcode");
    mex("barcodes.tsv.gz", "", b"A\n", "cell columns of the matrix");
}

#[test]
fn endless_features() {
    mex("features.tsv.gz", "", b"\0", "at most 1048576 bytes");
    mex("features.tsv.gz", "", b"\n", "a gene id");
    mex("features.tsv.gz", "", b"A\n", "at most 1048576 rows");
    let long = [&[b'A'; 4095][..], b"\n"].concat();
    mex("features.tsv.gz", "", &long, "67108864 bytes in all");
}

#[test]
fn endless_kinds_of_features() {
    let folder = tempfile::tempdir().unwrap();
    let mut mex = Mex::small();
    mex.features = (0..200).map(|kind| format!("a\ta\tkind {kind}")).collect();
    check(&mex.write(folder.path(), ""), "at most 100 feature types");
}

#[test]
fn endless_matrices() {
    let banner = "%%MatrixMarket matrix coordinate integer general\n";
    mex("matrix.mtx.gz", "", b"\0", "at most 1048576 bytes");
    mex("matrix.mtx.gz", banner, b"\n", "65536 lines of comments");
    mex("matrix.mtx.gz", banner, b"%\n", "65536 lines of comments");
    let size = |n_entries: u64| format!("{banner}{} 2 {n_entries}\n", SYMBOLS.len());
    mex("matrix.mtx.gz", &size(5), b"1 1 1\n", "the end after 5 entries");
    mex("matrix.mtx.gz", &size(u64::from(u32::MAX)), b"\n", "row, column and count");
    // More entries of one cell than are held.
    let folder = tempfile::tempdir().unwrap();
    let path = Mex::small().write(folder.path(), ".gz");
    bomb(path.join("matrix.mtx.gz"), &size(u64::from(u32::MAX)), b"1 1 1\n", 6 << 23);
    check(&path, "entries of cell CELL0-1");
}

#[test]
fn endless_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let table = |head: &str, body: &[u8], n_bytes: usize, expected: &str| {
        check(&bomb(path("a.csv.gz"), head, body, n_bytes), expected);
    };
    table("", b"\0", 300 << 20, "at most 268435456 bytes");
    table(",C1\n", b"\0", 300 << 20, "at most 268435456 bytes");
    table(",C1\nACTB,1\n", b"\n", UNPACKED, "at most 1000 blank lines");
    table(",C1\n", b"ACTB,1\n", UNPACKED, "gene rows");
    table("a", b",C", UNPACKED, "a row of counts after the header");
}
