//! Results on disk: what a killed run leaves, shards, and what is refused.

use std::{fs, path::Path};

use gf_perturb::{
    CellShifts, Effect, Error,
    store::{ShardKey, ShardReader, ShardWriter, merge},
};
use gf_tokenize::TokenId;

fn key(shard: (usize, usize), n_cells: usize) -> ShardKey {
    ShardKey { settings: "delete all".to_owned(), states: vec!["nf".to_owned()], shard, n_cells }
}

/// A cell with as many effects as its row.
fn cell(row: usize) -> CellShifts {
    let effect = |i: usize| Effect {
        genes: vec![TokenId(i as u32), TokenId(9)],
        cosine: 0.5 + i as f64 / 100.0,
        shifts: vec![-0.25 * row as f64],
        affected: vec![(TokenId(7), 0.125), (TokenId(8), i as f64)],
    };
    CellShifts { row, cell_id: format!("cell {row}"), effects: (0..row).map(effect).collect() }
}

fn write(path: &Path, key: &ShardKey, rows: std::ops::Range<usize>) {
    let mut writer = ShardWriter::open(path, key).unwrap();
    rows.skip(writer.n_done()).for_each(|row| writer.push(&cell(row)).unwrap());
    writer.finish().unwrap();
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shifts.arrow");
    write(&path, &key((1, 1), 5), 0..5);
    let reader = ShardReader::open(&path).unwrap();
    assert_eq!(*reader.key(), key((1, 1), 5));
    let cells: Vec<Vec<Effect>> = reader.collect::<Result<_, _>>().unwrap();
    assert_eq!(cells, (0..5).map(|row| cell(row).effects).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

/// Whatever a kill leaves of the two files, the next run ends with the same bytes.
#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole.arrow"), folder.path().join("killed.arrow"));
    let [stream, journal] =
        ["partial", "journal"].map(|end| folder.path().join(format!(".killed.arrow.{end}")));
    write(&whole, &key((1, 1), 6), 0..6);
    let mut writer = ShardWriter::open(&path, &key((1, 1), 6)).unwrap();
    (0..4).for_each(|row| writer.push(&cell(row)).unwrap());
    drop(writer);
    let (bytes, lines) = (fs::read(&stream).unwrap(), fs::read(&journal).unwrap());
    let mut resumed = std::collections::BTreeSet::new();
    for n_bytes in (0..=bytes.len()).step_by(97).chain([bytes.len()]) {
        for n_lines in 0..=lines.len() {
            fs::write(&stream, &bytes[..n_bytes]).unwrap();
            fs::write(&journal, &lines[..n_lines]).unwrap();
            resumed.insert(ShardWriter::open(&path, &key((1, 1), 6)).unwrap().n_done());
            write(&path, &key((1, 1), 6), 0..6);
            assert!(fs::read(&path).unwrap() == fs::read(&whole).unwrap(), "{n_bytes}, {n_lines}");
        }
    }
    assert_eq!(resumed.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn shards_make_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("whole"), &key((1, 1), 7), 0..7);
    write(&path("a"), &key((1, 3), 2), 0..2);
    write(&path("b"), &key((2, 3), 2), 2..4);
    write(&path("c"), &key((3, 3), 3), 4..7);
    merge(&[path("c"), path("a"), path("b")], &path("merged")).unwrap();
    assert!(fs::read(path("merged")).unwrap() == fs::read(path("whole")).unwrap());

    let refused = |shards: &[&str]| {
        let shards: Vec<_> = shards.iter().map(|name| path(name)).collect();
        merge(&shards, &path("refused")).unwrap_err().to_string()
    };
    assert!(refused(&["a", "c"]).contains("found shard 1 of 3, expected 1 of 2"));
    assert!(refused(&["a", "b", "b"]).contains("found shard 2 of 3, expected 3 of 3"));
    assert!(refused(&[]).contains("no shards"));
    let mut other = key((2, 2), 1);
    other.settings = "overexpress all".to_owned();
    write(&path("x"), &key((1, 2), 1), 0..1);
    write(&path("y"), &other, 1..2);
    assert!(refused(&["x", "y"]).contains("other cells or settings"));
    assert!(!path("refused").exists());
}

#[test]
fn other_results_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shifts.arrow");
    let mut writer = ShardWriter::open(&path, &key((1, 1), 3)).unwrap();
    writer.push(&cell(1)).unwrap();
    let locked = ShardWriter::open(&path, &key((1, 1), 3)).err().unwrap();
    assert!(matches!(locked, Error::Locked { .. }), "{locked}");
    drop(writer);
    let other = ShardWriter::open(&path, &key((1, 1), 4)).err().unwrap();
    assert!(matches!(other, Error::OtherRun { .. }), "{other}");

    let partial = folder.path().join(".shifts.arrow.partial");
    let cells: Result<Vec<_>, Error> = ShardReader::open(&partial).unwrap().collect();
    let error = cells.unwrap_err();
    assert!(matches!(error, Error::BrokenOff { found: 1, expected: 3, .. }), "{error}");
    fs::write(&path, "no arrow").unwrap();
    assert!(ShardReader::open(&path).is_err());
}
