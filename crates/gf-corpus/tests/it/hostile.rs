//! `.h5ad` files that were damaged or made to do harm: an error or a read,
//! never a panic, and never for long.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gf_corpus::{
    Corpus, Error, MetadataColumn, MetadataField, MetadataKind, SourceOptions, open_source,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rust_hdf5::H5File;

use crate::support::{Ad, Mex, SYMBOLS, bend, budget, frame, lenient, shared, vector};

/// Longest that one small file may take, by far.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a file to its end; the counts, if nothing is wrong with it.
fn read(path: &Path) -> Result<u64, Error> {
    let mut source = open_source(path, &SourceOptions::default())?;
    let mut sum = 0;
    while let Some(block) = source.next_block(512)? {
        sum += block.counts.values().iter().map(|&count| u64::from(count)).sum::<u64>();
    }
    Ok(sum)
}

/// Damages a good file in many ways; every reading must come to an end.
#[track_caller]
fn damage(good: &Path, seed: u64) {
    let bytes = fs::read(good).unwrap();
    let counts = read(good).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.h5ad");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut n, mut refused, mut differing) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < budget() {
        let mut bent = bytes.clone();
        for _ in 0..1 + rng.next_u32() % 4 {
            bend(&mut bent, &mut rng);
        }
        fs::write(&path, &bent).unwrap();
        let began = Instant::now();
        match read(&path) {
            Ok(sum) => differing += u64::from(sum != counts),
            Err(_) => refused += 1,
        }
        assert!(began.elapsed() < PATIENCE, "damage {n} of seed {seed}: {:?}", began.elapsed());
        n += 1;
    }
    eprintln!("{}: {n} damaged, {refused} refused, {differing} read otherwise", good.display());
    assert!(refused > 0 && refused < n, "{refused} of {n} refused");
}

fn in_folder(make: impl FnOnce(&Path) -> PathBuf, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    damage(&make(&folder.path().join("good.h5ad")), seed);
}

#[test]
fn damaged_csr() {
    in_folder(|path| Ad::new(vec![1u16, 2, 3, 4, 5]).write(path), 1);
}

#[test]
fn damaged_chunks() {
    in_folder(
        |path| {
            let file = H5File::create(path).unwrap();
            let values: Vec<u8> = (0..200 * 10).map(|at| (at % 7) as u8).collect();
            let dense = file.new_dataset::<u8>().shape([200, 10]).chunk(&[16, 4]).deflate(4);
            dense.create("X").unwrap().write_raw(&values).unwrap();
            let names: Vec<String> = (0..200).map(|cell| format!("CELL{cell}")).collect();
            frame(&file, "obs", &names);
            vector(&file, "obs/depth", &[0.5f32; 200]);
            frame(&file, "var", &SYMBOLS.map(str::to_owned));
            file.close().unwrap();
            path.to_owned()
        },
        2,
    );
}

#[test]
fn damaged_compound() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compound_0_6.h5ad");
    damage(Path::new(path), 3);
}

#[test]
fn damaged_nullable_columns() {
    let Some(path) = shared("data/17_h5ad_encodings/v012_nullable_columns.h5ad") else { return };
    damage(&path, 4);
}

/// Checks that a file is refused in few seconds, with all the words.
#[track_caller]
fn refused(make: impl FnOnce(&H5File), words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    let file = H5File::create(&path).unwrap();
    make(&file);
    file.close().unwrap();
    let start = Instant::now();
    let message = read(&path).expect_err("it was read").to_string();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

fn tables(file: &H5File) {
    frame(file, "obs", &["CELL0".to_owned(), "CELL1".to_owned()]);
    frame(file, "var", &SYMBOLS.map(str::to_owned));
}

/// A sparse X whose row offsets are given.
fn offsets(indptr: &'static [u64]) -> impl FnOnce(&H5File) {
    move |file| {
        let group = file.create_group("X").unwrap();
        group.set_attr_string("encoding-type", "csr_matrix").unwrap();
        vector(file, "X/data", &[1u8, 2, 3, 4, 5]);
        vector(file, "X/indices", &[0u8, 4, 1, 2, 9]);
        vector(file, "X/indptr", indptr);
        tables(file);
    }
}

#[test]
fn row_offsets_that_lie() {
    refused(offsets(&[0, 7, 5]), &["X/indptr", "descending offsets"]);
    refused(offsets(&[0, u64::MAX, 5]), &["X/indptr", "descending offsets"]);
    refused(offsets(&[0, 2, u64::MAX]), &["the last row offset", "found 5"]);
    refused(offsets(&[3, 4, 5]), &["X/indptr", "ascend from 0"]);
}

/// A chunked data set of any shape into which nothing is written.
fn declared(file: &H5File, name: &str, shape: &[usize], chunk: &[usize]) {
    file.new_dataset::<f32>().shape(shape).chunk(chunk).resizable().create(name).unwrap();
}

#[test]
fn shapes_beyond_the_file() {
    let dense = |shape: [usize; 2], chunk: [usize; 2]| {
        move |file: &H5File| {
            declared(file, "X", &shape, &chunk);
            tables(file);
        }
    };
    refused(dense([1 << 40, 1 << 20], [1 << 10, 1 << 10]), &["X", "at most 4096 bytes for each"]);
    refused(dense([1 << 10, 1 << 10], [1, 1]), &["X", "chunks in such a short file"]);
    refused(dense([2, 10], [1 << 13, 1 << 13]), &["X", "chunks of 1 to 134217728 bytes"]);
}

#[test]
fn links_to_other_files_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let other = Ad::new(vec![1u16, 2, 3, 4, 5]).write(&folder.path().join("other.h5ad"));
    refused(
        |file| {
            let group = file.create_group("X").unwrap();
            group.set_attr_string("encoding-type", "csr_matrix").unwrap();
            for part in ["data", "indices", "indptr"] {
                let target = format!("/X/{part}");
                group.create_external_link(part, other.to_str().unwrap(), &target).unwrap();
            }
            tables(file);
        },
        &["X/data", "a link to another file"],
    );
}

#[test]
fn an_unreadable_column_is_reported_not_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    let file = H5File::create(&path).unwrap();
    offsets(&[0, 2, 5])(&file);
    vector(&file, "obs/good", &[7u8, 8]);
    vector(&file, "obs/long", &[7u8, 8, 9]);
    let obs = file.root_group().group("obs").unwrap();
    obs.create_external_link("away", "no such file", "/obs/away").unwrap();
    obs.new_dataset::<u8>().shape([2, 2]).create("table").unwrap().write_raw(&[1u8; 4]).unwrap();
    let odd = obs.create_group("odd").unwrap();
    odd.set_attr_string("encoding-type", "categorical").unwrap();
    file.close().unwrap();
    let mut source = open_source(&path, &SourceOptions::default()).unwrap();
    assert_eq!(source.columns(), [MetadataField::new("good", MetadataKind::Integer)]);
    let mut unread = source.unread_columns().to_vec();
    unread.sort();
    assert_eq!(unread, ["away", "long", "odd", "table"]);
    let block = source.next_block(512).unwrap().unwrap();
    assert_eq!(block.columns, [MetadataColumn::Integers(vec![Some(7), Some(8)])]);
}

/// Blocks of any size give the same cells as one block.
#[test]
fn windows_do_not_change_what_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compound_0_6.h5ad");
    let shared = shared("data/17_h5ad_encodings/v012_nullable_columns.h5ad");
    for path in [PathBuf::from(path)].into_iter().chain(shared) {
        let all = |max_cells: usize| {
            let mut source = open_source(&path, &SourceOptions::default()).unwrap();
            let mut cells = Vec::new();
            while let Some(block) = source.next_block(max_cells).unwrap() {
                for (cell, id) in block.cell_ids.iter().enumerate() {
                    let (genes, counts) = block.counts.row(cell);
                    let columns: Vec<_> =
                        block.columns.iter().map(|c| c.get(cell).text()).collect();
                    cells.push((id.clone(), genes.to_vec(), counts.to_vec(), columns));
                }
            }
            cells
        };
        let whole = all(usize::MAX);
        assert!(whole.len() > 1 && whole.iter().any(|cell| !cell.1.is_empty()));
        for max_cells in [0, 1, 2, 3, 7] {
            assert_eq!(all(max_cells), whole, "{max_cells} cells a block of {}", path.display());
        }
    }
}

#[test]
fn trees_with_ever_more_ways_down_are_refused() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/looping_trees.h5ad");
    let start = Instant::now();
    let message = read(Path::new(path)).expect_err("it was read").to_string();
    assert!(message.contains("visits its nodes over and over"), "{message}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

/// Puts the hash of `bytes` in a manifest; the manifest's new bytes.
fn vouch(manifest: &Path, pointer: &str, bytes: &[u8]) -> Vec<u8> {
    let mut value: serde_json::Value =
        serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes));
    *value.pointer_mut(pointer).unwrap() = hash.into();
    let text = value.to_string().into_bytes();
    fs::write(manifest, &text).unwrap();
    text
}

/// Whoever forges a shard forges its hash: then only arrow2 and the checks
/// before it stand between the bytes and the reader.
#[test]
fn forged_shards_never_panic() {
    let cells = tempfile::tempdir().unwrap();
    let input = Mex::small().write(&cells.path().join("mex"), "");
    let (folder, corpus, _) = lenient(&[input], None).unwrap();
    let path = corpus.path().to_owned();
    let study = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let study = study.into_iter().find(|entry| entry.is_dir()).unwrap();
    let shard = study.join("shard-00000.arrow");
    let good = fs::read(&shard).unwrap();
    let (mut refused, mut read) = (0, 0);
    let mut forge = |bytes: &[u8]| {
        fs::write(&shard, bytes).unwrap();
        let manifest = vouch(&study.join("study.json"), "/shards/0/xxh3", bytes);
        vouch(&path.join("manifest.json"), "/studies/0/xxh3", &manifest);
        let corpus = Corpus::open(&path).unwrap();
        *if corpus.blocks().all(|block| block.is_ok()) { &mut read } else { &mut refused } += 1;
    };
    forge(&good);
    // The headers of the first message and batch, and the footer.
    let n = good.len();
    for at in (0..n.min(2048)).chain(n.saturating_sub(2048)..n).step_by(8) {
        for number in [i64::MAX, -1, 0] {
            let mut bent = good.clone();
            let end = n.min(at + 8);
            bent[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            forge(&bent);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let start = Instant::now();
    while start.elapsed() < budget() {
        let mut bent = good.clone();
        (0..1 + rng.next_u32() % 4).for_each(|_| bend(&mut bent, &mut rng));
        let began = Instant::now();
        forge(&bent);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
    eprintln!("{read} forged shards read, {refused} refused");
    drop(folder);
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
