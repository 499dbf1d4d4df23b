//! Broken shards: every truncation and any flipped bits end in an error or in readable rows, never in
//! a panic.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use gf_tokenize::{ArrowFault, Dataset, DatasetWriter, Error, WriterOptions};
use proptest::{collection::vec, prelude::*, sample::Index};
use tempfile::TempDir;

use crate::support::{nine_genes, sequence, shared, text, text_column};

/// Folders that differ in their Arrow types: ours and, where the shared folder is there, Python's.
fn sources() -> &'static [PathBuf] {
    static SOURCES: OnceLock<(TempDir, Vec<PathBuf>)> = OnceLock::new();
    let (_, sources) = SOURCES.get_or_init(|| {
        let scratch = tempfile::tempdir().unwrap();
        let mut sources = vec![scratch.path().join("ours")];
        write(&sources[0]);
        let golden = shared("golden/dataset/hf_datasets_4.8.5");
        let names = [
            "many_record_batches",
            "int64_ids",
            "large_list_int32",
            "large_string",
            "arrow_dictionary_column",
            "empty",
        ];
        sources.extend(golden.iter().flat_map(|golden| names.map(|name| golden.join(name))));
        (scratch, sources)
    });
    sources
}

fn write(folder: &Path) {
    let options = WriterOptions { columns: vec![text_column("donor")], ..Default::default() };
    let mut writer = DatasetWriter::create(folder, options).unwrap();
    for row in 0..7 {
        writer
            .push(&format!("cell {row}"), &sequence(&[2, 4 + row, 3]), &[text(Some("né"))])
            .unwrap();
    }
    let encoder = nine_genes();
    writer.finish(encoder.vocabulary(), encoder.medians_hash(), encoder.max_len()).unwrap();
}

/// Opens a copy of the folder whose shard holds these bytes and reads everything.
fn read_all(source: &Path, bytes: &[u8]) -> Result<usize, Error> {
    let scratch = tempfile::tempdir().unwrap();
    for file in ["state.json", "dataset_info.json"] {
        fs::copy(source.join(file), scratch.path().join(file)).unwrap();
    }
    fs::write(scratch.path().join(SHARD), bytes).unwrap();
    let dataset = Dataset::open(scratch.path())?;
    for row in 0..dataset.len() {
        assert_eq!(dataset.tokens(row)?.len(), dataset.length(row)?);
        dataset.cell_id(row)?;
    }
    for column in dataset.columns() {
        if let Ok(values) = dataset.column(column) {
            // Corrupt values are errors here, and none is a panic.
            assert!(values.iter().filter(Result::is_ok).count() <= dataset.len());
        }
    }
    Ok(dataset.len())
}

const SHARD: &str = "data-00000-of-00001.arrow";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn flipped_bits_never_panic(source in any::<Index>(), flips in vec((any::<Index>(), 0u8..8, any::<bool>()), 1..6)) {
        let source = source.get(sources());
        let mut bytes = fs::read(source.join(SHARD)).unwrap();
        for (at, bit, early) in flips {
            // Half of them among the first messages, where the structure is.
            let at = at.index(if early { bytes.len().min(1_500) } else { bytes.len() });
            bytes[at] ^= 1 << bit;
        }
        let _ = read_all(source, &bytes);
    }

    #[test]
    fn replaced_numbers_never_panic(source in any::<Index>(), at in any::<Index>(), number in prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1), any::<i64>(), 0i64..4096]) {
        let source = source.get(sources());
        let mut bytes = fs::read(source.join(SHARD)).unwrap();
        let at = at.index(bytes.len() / 8) * 8;
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = read_all(source, &bytes);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for source in sources() {
        let scratch = tempfile::tempdir().unwrap();
        let bytes = fs::read(source.join(SHARD)).unwrap();
        fs::copy(source.join("state.json"), scratch.path().join("state.json")).unwrap();
        let shard = scratch.path().join(SHARD);
        fs::write(&shard, &bytes).unwrap();
        assert!(Dataset::open(scratch.path()).is_ok());
        let file = fs::File::options().write(true).open(&shard).unwrap();
        for length in (0..bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            let opened = Dataset::open(scratch.path());
            assert!(
                opened.is_err(),
                "{}: cut to {length} of {} bytes it still opens",
                source.display(),
                bytes.len()
            );
        }
    }
}

#[test]
fn faults_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a");
    write(&folder);
    let sound = fs::read(folder.join(SHARD)).unwrap();
    let check = |spoil: &dyn Fn(&mut Vec<u8>), expected: fn(&ArrowFault) -> bool| {
        let mut bytes = sound.clone();
        spoil(&mut bytes);
        match read_all(&folder, &bytes).unwrap_err() {
            Error::Arrow { fault, .. } if expected(&fault) => {}
            other => panic!("{other}"),
        }
    };
    // The offsets 0, 3, 6 … 21 of seven rows, and the lengths 3, 3 … 3.
    let offsets =
        find(&sound, &(0i32..8).flat_map(|row| (3 * row).to_le_bytes()).collect::<Vec<_>>());
    let lengths = find(&sound, &[3i64.to_le_bytes(); 7].concat());
    check(&|bytes| bytes.truncate(100), |fault| {
        matches!(fault, ArrowFault::Truncated { at: 0, .. })
    });
    check(&|bytes| bytes.truncate(0), |fault| {
        matches!(fault, ArrowFault::Truncated { at: 0, expected: 8, found: 0 })
    });
    check(&|bytes| bytes[0] = 0, |fault| {
        matches!(fault, ArrowFault::Marker { at: 0, found: [0, 0xff, 0xff, 0xff] })
    });
    check(&|bytes| bytes[offsets + 8] = 2, |fault| {
        matches!(fault, ArrowFault::Offsets { row: 1, start: 3, end: 2, n_values: 21, .. })
    });
    check(&|bytes| bytes[offsets + 28] = 22, |fault| {
        matches!(fault, ArrowFault::Offsets { row: 6, end: 22, n_values: 21, .. })
    });
    check(&|bytes| bytes[lengths + 16] = 4, |fault| {
        matches!(fault, ArrowFault::Length { row: 2, found: 4, expected: 3 })
    });
    let cell_4 = find(&sound, b"cell 4");
    check(
        &|bytes| bytes[cell_4] = 0xff,
        |fault| matches!(fault, ArrowFault::Utf8 { row: 4, column } if column == "cell_id"),
    );
    let name = find(&sound, b"input_ids");
    check(&|bytes| bytes[name] = b'I', |fault| {
        matches!(fault, ArrowFault::NoColumn { column: "input_ids", .. })
    });
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}
