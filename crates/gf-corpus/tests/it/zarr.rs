//! AnnData zarr folders: the same cells as in an `.h5ad`, or an error that
//! says where the folder breaks its format.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use gf_corpus::{
    CountMatrix, Error, Found, MetadataColumn, MetadataField, SourceOptions, open_source,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use zarrs::{
    array::{ArrayBuilder, codec::ZstdCodec, data_type},
    filesystem::FilesystemStore,
};

use crate::support::{bend, budget, every_cell};

/// Longest that one small folder may take, by far.
const PATIENCE: Duration = Duration::from_secs(10);
/// The folders that hold the cells of `cells.h5ad`.
const FOLDERS: [&str; 5] = ["v2_csr", "v3_csr", "v2_csc", "v2_dense", "v3_dense_sharded"];

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zarr")).join(name)
}

/// All that is read of a file, in blocks of `n` cells.
#[derive(Debug, PartialEq)]
struct Whole {
    genes: Vec<gf_corpus::SourceGene>,
    cells: Vec<String>,
    rows: Vec<(Vec<u32>, Vec<u32>)>,
    columns: Vec<MetadataField>,
    values: String,
    unread: Vec<String>,
}

fn read(path: &Path, n: usize) -> Result<Whole, Error> {
    let mut source = open_source(path, &SourceOptions::default())?;
    let (mut cells, mut rows, mut values) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(block) = source.next_block(n)? {
        cells.extend(block.cell_ids);
        rows.extend(pairs(&block.counts));
        values.push(format!("{:?}", block.columns));
    }
    Ok(Whole {
        genes: source.genes().to_vec(),
        cells,
        rows,
        columns: source.columns().to_vec(),
        values: values.join("\n"),
        unread: source.unread_columns().to_vec(),
    })
}

fn pairs(counts: &CountMatrix) -> Vec<(Vec<u32>, Vec<u32>)> {
    counts.rows().map(|(genes, counts)| (genes.to_vec(), counts.to_vec())).collect()
}

#[test]
fn folders_read_as_the_h5ad() {
    for n in [30, 7, 1] {
        let expected = read(&fixture("cells.h5ad"), n).unwrap();
        assert_eq!((expected.cells.len(), expected.columns.len()), (30, 7));
        assert_eq!(expected.unread, Vec::<String>::new());
        for name in FOLDERS {
            let found = read(&fixture(&format!("{name}.zarr")), n).unwrap();
            assert_eq!(found, expected, "{name} by {n}");
        }
    }
}

#[test]
fn a_folder_of_folders_is_searched() {
    let found = Found::under(&[fixture("")]).unwrap();
    let studies = found.catalogue.studies;
    assert_eq!(studies.len(), 6, "{studies:?}");
    let one = &[fixture("v3_csr.zarr")];
    let (_, corpus, ledger) = crate::support::run(one, &every_cell()).unwrap();
    assert_eq!((ledger.files[0].cells.read, corpus.n_cells()), (30, 30));
}

/// A copy of a folder to be bent out of shape.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("bent.zarr");
    copy_all(&fixture(name), &to);
    (folder, to)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_all(&path, &to.join(name));
        } else {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}

/// Changes a file of metadata.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A bent folder is refused, and the error says what and where.
#[track_caller]
fn refused(name: &str, bend: impl FnOnce(&Path), parts: &[&str]) {
    let (_folder, path) = copy(name);
    bend(&path);
    let began = Instant::now();
    let error = read(&path, 8).unwrap_err().to_string();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for part in ["bent.zarr"].iter().chain(parts) {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn metadata_that_cannot_be() {
    let v2 = |field: &'static str, value: Value| {
        move |path: &Path| edit(&path.join("X/data/.zarray"), |node| node[field] = value)
    };
    let v3 = |field: &'static str, value: Value| {
        move |path: &Path| edit(&path.join("X/data/zarr.json"), |node| node[field] = value)
    };
    refused("v2_csr.zarr", v2("shape", json!([1u64 << 60])), &["X/data", "bytes for each"]);
    refused("v2_csr.zarr", v2("shape", json!([u64::MAX])), &["X/data"]);
    refused("v2_csr.zarr", v2("shape", json!([200_000])), &["stored values", "200000"]);
    refused(
        "v2_csr.zarr",
        v2("shape", json!([4, 4])),
        &["X/data", "not compatible with array shape [4, 4]"],
    );
    refused("v2_csr.zarr", v2("shape", json!([4, 4, 4])), &["X/data"]);
    refused("v2_csr.zarr", v2("chunks", json!([1u64 << 40])), &["X/data", "chunks of at most"]);
    refused("v2_csr.zarr", v2("chunks", json!([0])), &["X/data"]);
    refused("v2_csr.zarr", v2("chunks", json!([1, 1])), &["X/data"]);
    refused("v2_csr.zarr", v2("dtype", json!("<M8[ns]")), &["X/data"]);
    refused("v2_csr.zarr", v2("dtype", json!("<f8")), &["X/data", "chunk [0]"]);
    refused("v2_csr.zarr", v2("compressor", json!({"id": "lzma"})), &["X/data", "lzma"]);
    refused("v3_csr.zarr", v3("shape", json!([1u64 << 60])), &["X/data", "bytes for each"]);
    refused("v3_csr.zarr", v3("codecs", json!([{"name": "pcodec"}])), &["X/data", "pcodec"]);
    let squeezed = json!([{"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "fletcher32"}]);
    refused("v3_csr.zarr", v3("codecs", squeezed), &["X/data", "fletcher32"]);
    let grid = json!({"name": "rectangular", "configuration": {"chunk_shape": [[1, 2]]}});
    refused("v3_csr.zarr", v3("chunk_grid", grid), &["X/data"]);
    let rest = |path: &Path| fs::write(path.join("X/data/zarr.json"), "{\"a\":").unwrap();
    refused("v3_csr.zarr", rest, &["X/data", "EOF"]);
    let deep = |path: &Path| fs::write(path.join("X/data/zarr.json"), "[".repeat(1 << 20)).unwrap();
    refused("v3_csr.zarr", deep, &["X/data", "recursion"]);
    let long = |path: &Path| fs::write(path.join("X/data/zarr.json"), " ".repeat(5 << 20)).unwrap();
    refused("v3_csr.zarr", long, &["X/data", "at most 4194304 bytes"]);
    refused(
        "v3_csr.zarr",
        |path| fs::remove_dir_all(path.join("obs")).unwrap(),
        &["obs", "nothing"],
    );
    let gone = |path: &Path| fs::remove_dir_all(path.join("X/indptr")).unwrap();
    refused("v3_csr.zarr", gone, &["X/indptr", "no array"]);
}

#[test]
fn names_that_lead_out() {
    for name in ["../../cells", "/etc", "_index/../_index", "a\\b"] {
        let index = |path: &Path| {
            edit(&path.join("obs/zarr.json"), |node| node["attributes"]["_index"] = json!(name));
        };
        refused("v3_csr.zarr", index, &["obs/", if name == "a\\b" { "elsewhere" } else { name }]);
    }
}

#[test]
fn chunks_that_are_not_what_they_say() {
    let set = |at: &'static str, bytes: Vec<u8>| {
        move |path: &Path| fs::write(path.join(at), bytes).unwrap()
    };
    let cut = |at: &'static str| {
        move |path: &Path| {
            let bytes = fs::read(path.join(at)).unwrap();
            fs::write(path.join(at), &bytes[..bytes.len() / 2]).unwrap();
        }
    };
    refused("v2_csr.zarr", cut("X/data/0"), &["X/data", "chunk [0]"]);
    refused("v3_csr.zarr", cut("X/data/c/0"), &["X/data", "chunk [0]"]);
    refused("v3_csr.zarr", cut("obs/_index/c/0"), &["obs/_index"]);
    refused("v3_dense_sharded.zarr", cut("X/c/0/0"), &["X", "shard [0, 0]"]);
    refused("v2_csr.zarr", set("X/data/0", vec![]), &["X/data", "blosc"]);
    refused("v3_csr.zarr", set("X/data/c/0", vec![]), &["X/data", "chunk [0]"]);
    // A header that promises four gigabytes.
    let mut blosc = vec![2, 1, 0x21, 4];
    blosc.extend([0xff, 0xff, 0xff, 0x7f, 0, 0, 1, 0, 32, 0, 0, 0]);
    blosc.resize(32, 0);
    refused("v2_csr.zarr", set("X/data/0", blosc), &["X/data", "blosc", "more than"]);
    // A zstd frame that says it holds 2^62 bytes, in one raw block of none.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    zstd.extend((1u64 << 62).to_le_bytes());
    zstd.extend([1, 0, 0]);
    refused("v3_csr.zarr", set("X/data/c/0", zstd), &["X/data", "chunk [0]"]);
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = |path: &Path| {
        let mut stream = GzEncoder::new(Vec::new(), Compression::best());
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 1 << 26), &mut stream).unwrap();
        fs::write(path.join("X/data/c/0"), stream.finish().unwrap()).unwrap();
        edit(&path.join("X/data/zarr.json"), |node| {
            node["codecs"][1] = json!({"name": "gzip", "configuration": {"level": 9}});
        });
    };
    // 64 KiB that unpack to 64 MiB.
    refused("v3_csr.zarr", bomb, &["X/data", "unpacks to more than"]);
}

#[test]
fn strings_that_are_longer_than_their_chunk() {
    let string = |length: u32, n: u32| {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4 * 30]);
        move |path: &Path| {
            fs::write(path.join("obs/_index/c/0"), bytes).unwrap();
            edit(&path.join("obs/_index/zarr.json"), |node| {
                node["codecs"] = json!([{"name": "vlen-utf8"}]);
            });
        }
    };
    refused("v3_csr.zarr", string(u32::MAX, 30), &["obs/_index", "cut short"]);
    refused("v3_csr.zarr", string(0, u32::MAX), &["obs/_index", "4294967295 strings"]);
}

#[test]
fn shards_that_point_elsewhere() {
    let index = |start: u64, n: u64| {
        move |path: &Path| {
            edit(&path.join("X/zarr.json"), |node| {
                let config = &mut node["codecs"][0]["configuration"];
                config["index_codecs"] =
                    json!([{"name": "bytes", "configuration": {"endian": "little"}}]);
                config["index_location"] = json!("start");
            });
            let entry = [start.to_le_bytes(), n.to_le_bytes()].concat();
            fs::write(path.join("X/c/0/0"), entry.repeat(8)).unwrap();
        }
    };
    refused("v3_dense_sharded.zarr", index(u64::MAX - 7, 8), &["X", "bytes in the file"]);
    refused("v3_dense_sharded.zarr", index(0, u64::MAX - 7), &["X", "stored bytes, expected at"]);
    refused("v3_dense_sharded.zarr", index(4096, 8), &["X", "expected 8 from 4096"]);
    refused("v3_dense_sharded.zarr", index(0, 0), &["X", "chunk [0, 0]"]);
    let shape = |path: &Path| {
        edit(&path.join("X/zarr.json"), |node| {
            node["codecs"][0]["configuration"]["chunk_shape"] = json!([3, 5]);
        });
    };
    refused("v3_dense_sharded.zarr", shape, &["X", "whole chunks"]);
}

/// Missing chunks are legal, and hold the fill value.
#[test]
fn chunks_that_were_not_written_are_zero() {
    for (name, chunk) in [("v2_dense.zarr", "X/0.0"), ("v3_dense_sharded.zarr", "X/c/0/0")] {
        let (_folder, path) = copy(name);
        fs::remove_file(path.join(chunk)).unwrap();
        let (found, expected) = (read(&path, 8).unwrap(), read(&fixture(name), 8).unwrap());
        let sum = |whole: &Whole| whole.rows.iter().flat_map(|row| row.1.clone()).sum::<u32>();
        assert_eq!((found.cells.len(), &found.values), (30, &expected.values));
        assert!(sum(&found) < sum(&expected), "{name}");
    }
}

/// What zarrs writes, in chunks that do not divide the shape.
#[test]
fn written_by_another_writer() {
    let (_folder, path) = copy("v3_csr.zarr");
    let store = std::sync::Arc::new(FilesystemStore::new(&path).unwrap());
    let values: Vec<i64> = (0..30).map(|cell| cell * 3 - 7).collect();
    fs::remove_dir_all(path.join("obs/depth")).unwrap();
    let mut builder = ArrayBuilder::new(vec![30], vec![7], data_type::int64(), 0i64);
    builder.bytes_to_bytes_codecs(vec![std::sync::Arc::new(ZstdCodec::new(3, true))]);
    let array = builder.build(store, "/obs/depth").unwrap();
    array.store_metadata().unwrap();
    array.store_array_subset(&array.subset_all(), values.clone()).unwrap();
    let mut source = open_source(&path, &SourceOptions::default()).unwrap();
    let place = source.columns().iter().position(|column| column.name == "depth").unwrap();
    let block = source.next_block(30).unwrap().unwrap();
    let expected = MetadataColumn::Integers(values.into_iter().map(Some).collect());
    assert_eq!(block.columns[place], expected);
}

/// Damages files of a good folder; every reading must come to an end.
#[test]
fn damaged_at_random() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut n, mut refused) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < budget() {
        let (_folder, path) = copy(&format!("{}.zarr", FOLDERS[n % FOLDERS.len()]));
        let mut files = Vec::new();
        list(&path, &mut files);
        for _ in 0..1 + rng.next_u32() % 3 {
            let file = &files[rng.next_u32() as usize % files.len()];
            let mut bytes = fs::read(file).unwrap();
            match rng.next_u32() % 2 {
                0 => bend_number(&mut bytes, &mut rng),
                _ if !bytes.is_empty() => bend(&mut bytes, &mut rng),
                _ => {}
            }
            fs::write(file, &bytes).unwrap();
        }
        let began = Instant::now();
        refused += usize::from(read(&path, 8).is_err());
        assert!(began.elapsed() < PATIENCE, "round {n}: {:?}", began.elapsed());
        n += 1;
    }
    eprintln!("{n} damaged, {refused} refused");
    assert!(refused > 0 && refused < n, "{refused} of {n} refused");
}

/// Sets a number in a text to a hostile one: a shape, the length of a chunk, a level.
fn bend_number(text: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    const NUMBERS: [&str; 8] =
        ["0", "-1", "7", "4294967296", "1152921504606846976", "18446744073709551615", "1e308", ""];
    let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
    let Some(&start) = digits.get(rng.next_u32() as usize % digits.len().max(1)) else { return };
    let n = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[rng.next_u32() as usize % NUMBERS.len()];
    text.splice(start..start + n, number.bytes());
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
