//! Tables and the spool on disk.

use std::{fs, path::Path};

use arrow2::{
    array::{Array, FixedSizeListArray, PrimitiveArray, Utf8Array},
    io::ipc::read::{FileReader, read_file_metadata},
};
use gf_embed::{ArrowTable, CsvTable, Error, Spool, Table, TableHeader, TableRows};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn header() -> TableHeader {
    TableHeader { labels: vec!["type".to_owned()], ..TableHeader::new(["cell_id"], 2) }
}

fn rows(values: &Array2<f32>) -> TableRows<'_> {
    let names = (0..values.nrows()).map(|i| format!("cell \"{i}\", é"));
    let label = |i: usize| (i > 0).then(|| format!("T{i}"));
    TableRows {
        names: vec![names.collect()],
        values: values.view(),
        labels: vec![(0..values.nrows()).map(label).collect()],
    }
}

#[test]
fn csv_with_labels_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.csv");
    let mut table = CsvTable::create(&path, &header()).unwrap();
    let values = [array![[0.1f32, -1e-30], [1.0, 16_777_217.0]], array![[3.0, 4.0]]];
    values.iter().for_each(|values| table.push(&rows(values)).unwrap());
    assert!(!path.exists());
    table.finish().unwrap();
    let found = Table::read_csv(&path).unwrap();
    assert_eq!(found.values, ndarray::concatenate![ndarray::Axis(0), values[0], values[1]]);
    let texts: Vec<_> = found.texts().collect();
    let ids = ["cell \"0\", é", "cell \"1\", é", "cell \"0\", é"].map(str::to_owned);
    let types = ["", "T1", ""].map(str::to_owned);
    assert_eq!(texts, [("cell_id", &ids[..]), ("type", &types[..])]);
    let error = found.text("donor").unwrap_err().to_string();
    let expected = "there is no column \"donor\", expected one of [\"cell_id\", \"type\"]";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn tables_that_are_none_are_refused() {
    fn t(text: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.csv");
        fs::write(&path, text).unwrap();
        let error = Table::read_csv(&path).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
        assert!(error.contains("e.csv"), "{error}");
    }
    t("a,b\n1,2\n", "found no column \"0\", expected an embedding in the columns 0, 1, …");
    t("", "found no column \"0\", expected an embedding in the columns 0, 1, …");
    t("a,0\nx,1\ny,z\n", "data row 2, column 0: found \"z\", expected a finite number");
    t("a,0,1\nx,1,inf\n", "data row 1, column 1: found \"inf\", expected a finite number");
    let folder = tempfile::tempdir().unwrap();
    let mut table = CsvTable::create(&folder.path().join("e.csv"), &header()).unwrap();
    let error = table.push(&rows(&Array2::zeros((1, 3)))).unwrap_err();
    assert!(matches!(error, Error::TableShape { found: [1, 3, 1], expected: [1, 2, 1], .. }));
    drop(table);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn arrow_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.arrow");
    let mut table = ArrowTable::create(&path, &header()).unwrap();
    let values = [array![[0.1f32, -1e-30], [1.0, 16_777_217.0]], array![[3.0, 4.0]]];
    values.iter().for_each(|values| table.push(&rows(values)).unwrap());
    table.finish().unwrap();
    let mut file = fs::File::open(&path).unwrap();
    let metadata = read_file_metadata(&mut file).unwrap();
    let names: Vec<_> = metadata.schema.fields.iter().map(|field| field.name.clone()).collect();
    assert_eq!(names, ["cell_id", "embedding", "type"]);
    let batches: Vec<_> = FileReader::new(file, metadata, None, None).map(Result::unwrap).collect();
    assert_eq!(batches.len(), 2);
    for (batch, values) in batches.iter().zip(&values) {
        let [ids, vectors, types] = batch.arrays() else { panic!("{batch:?}") };
        let expected = rows(values);
        let texts = |array: &dyn Array| -> Vec<Option<String>> {
            let array = array.as_any().downcast_ref::<Utf8Array<i32>>().unwrap();
            array.iter().map(|text| text.map(str::to_owned)).collect()
        };
        let expected_ids: Vec<_> = expected.names[0].iter().cloned().map(Some).collect();
        assert_eq!(texts(ids.as_ref()), expected_ids);
        assert_eq!(texts(types.as_ref()), expected.labels[0]);
        let vectors = vectors.as_any().downcast_ref::<FixedSizeListArray>().unwrap();
        let numbers = vectors.values().as_any().downcast_ref::<PrimitiveArray<f32>>().unwrap();
        assert_eq!(numbers.values().as_slice(), values.as_slice().unwrap());
    }
}

const BLOCKS: [usize; 3] = [2, 1, 3];

fn block(n_rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((n_rows, 2), |(i, j)| (n_rows * 10 + 2 * i + j) as f32)
}

/// A spool of three blocks that was broken off.
fn broken_off(target: &Path) -> Vec<u8> {
    let mut spool = Spool::open(target, "key", 2).unwrap();
    BLOCKS.iter().for_each(|&n| spool.push(&block(n)).unwrap());
    drop(spool);
    fs::read(target.with_file_name(".e.csv.partial")).unwrap()
}

fn blocks(spool: &Spool) -> Vec<Array2<f32>> {
    spool.blocks().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_spool_goes_on_with_the_same_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("e.csv");
    broken_off(&target);
    let mut spool = Spool::open(&target, "key", 2).unwrap();
    assert_eq!((spool.n_blocks(), spool.n_rows()), (3, 6));
    let error = Spool::open(&target, "key", 2).err().unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    spool.push(&block(4)).unwrap();
    assert_eq!(blocks(&spool), [2, 1, 3, 4].map(block));
    let error = spool.push(&Array2::zeros((1, 3))).unwrap_err();
    assert!(matches!(error, Error::SpoolWidth { found: 3, expected: 2, .. }), "{error}");
    drop(spool);
    assert_eq!(Spool::open(&target, "other", 2).unwrap().n_blocks(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an empty spool was left behind");
    broken_off(&target);
    Spool::open(&target, "key", 2).unwrap().remove().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a removed spool is there");
}

proptest! {
    /// Whatever of a spool reached the disk, only whole blocks are kept.
    #[test]
    fn what_is_torn_is_cut_off(length in 0usize..150, flipped in prop::option::of(0usize..150)) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("e.csv");
        let mut bytes = broken_off(&target);
        let length = length.min(bytes.len());
        bytes.truncate(length);
        let flipped = flipped.filter(|&at| at < length);
        if let Some(at) = flipped {
            bytes[at] ^= 0x10;
        }
        fs::write(folder.path().join(".e.csv.partial"), &bytes).unwrap();

        let sound = flipped.unwrap_or(length).min(length);
        let ends = BLOCKS.iter().scan(16, |end, n| {
            *end += 16 + 8 * n;
            Some(*end)
        });
        let n_sound = ends.filter(|&end| end <= sound).count();
        let mut spool = Spool::open(&target, "key", 2).unwrap();
        prop_assert_eq!(spool.n_blocks(), n_sound);
        BLOCKS[n_sound..].iter().for_each(|&n| spool.push(&block(n)).unwrap());
        prop_assert_eq!(blocks(&spool), BLOCKS.map(block));
    }
}
