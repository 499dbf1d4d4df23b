//! `.h5ad` encodings that are not among the real files.

use std::path::Path;

use rust_hdf5::{DatatypeMessage, H5File, H5Type, format::messages::datatype::CompoundMember};

use crate::support::{Ad, SYMBOLS, Triplets, column, frame, lenient, triplets, vector};

fn names(n: usize) -> Vec<String> {
    (0..n).map(|cell| format!("CELL{cell}")).collect()
}

/// What [`Ad::new`] stores with the values 1 to 5.
fn expected() -> Triplets {
    let folder = tempfile::tempdir().unwrap();
    let path = Ad::new(vec![1f32, 2.0, 3.0, 4.0, 5.0]).write(&folder.path().join("a.h5ad"));
    triplets(&lenient(&[path], None).unwrap().1)
}

#[track_caller]
fn check(layer: Option<&str>, taken: &str, make: impl FnOnce(&H5File)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    let file = H5File::create(&path).unwrap();
    make(&file);
    file.close().unwrap();
    let (_folder, corpus, ledger) = lenient(&[path], layer).unwrap();
    assert_eq!(ledger.files[0].layer, taken);
    assert_eq!(triplets(&corpus), expected());
}

const DENSE: [u8; 20] = [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 5];

fn dense<T: H5Type>(file: &H5File, name: &str, number: impl Fn(u8) -> T) {
    let values: Vec<T> = DENSE.iter().map(|&v| number(v)).collect();
    let dataset = file.new_dataset::<T>().shape([2, 10]).create(name).unwrap();
    dataset.write_raw(&values).unwrap();
}

fn frames(file: &H5File) {
    frame(file, "obs", &names(2));
    frame(file, "var", &SYMBOLS.map(str::to_owned));
}

#[test]
fn dense_of_every_number_type() {
    fn one<T: H5Type>(number: impl Fn(u8) -> T) {
        check(None, "X", |file| {
            dense(file, "X", number);
            frames(file);
        });
    }
    one(|v| v);
    one(|v| v as i8);
    one(u16::from);
    one(i16::from);
    one(u32::from);
    one(i32::from);
    one(u64::from);
    one(i64::from);
    one(f32::from);
    one(f64::from);
    one(|v| f64::from(v) - 1e-11);
}

#[test]
fn the_first_raw_matrix_is_taken() {
    let logged = |v: u8| f32::from(v).ln_1p();
    check(None, "layers/counts", |file| {
        dense(file, "X", logged);
        let layers = file.create_group("layers").unwrap();
        let values: Vec<u16> = DENSE.iter().map(|&v| u16::from(v)).collect();
        let counts = layers.new_dataset::<u16>().shape([2, 10]).create("counts").unwrap();
        counts.write_raw(&values).unwrap();
        frames(file);
    });
    check(Some("counts"), "layers/counts", |file| {
        dense(file, "X", |v| v.saturating_mul(2));
        let layers = file.create_group("layers").unwrap();
        let counts = layers.new_dataset::<u8>().shape([2, 10]).create("counts").unwrap();
        counts.write_raw(&DENSE).unwrap();
        frames(file);
    });
    check(None, "raw.X", |file| {
        dense(file, "X", logged);
        dense(file, "raw.X", f32::from);
        frames(file);
        frame(file, "raw.var", &SYMBOLS.map(str::to_owned));
    });
}

#[test]
fn old_sparse_attribute() {
    check(None, "X", |file| {
        let group = file.create_group("X").unwrap();
        group.set_attr_string("h5sparse_format", "csc").unwrap();
        vector(file, "X/data", &[1i64, 3, 4, 2, 5]);
        vector(file, "X/indices", &[0i32, 1, 1, 0, 1]);
        vector(file, "X/indptr", &[0i64, 1, 2, 3, 3, 4, 4, 4, 4, 4, 5]);
        frames(file);
    });
}

/// A compound table of a fixed-width index and one code column.
fn compound(file: &H5File, name: &str, index: &[String], codes: &[i8]) {
    let member =
        |name: &str, offset, datatype| CompoundMember { name: name.to_owned(), offset, datatype };
    let members = vec![
        member("index", 0, DatatypeMessage::fixed_string(8)),
        member("kind", 8, DatatypeMessage::i8_type()),
    ];
    let mut bytes = Vec::new();
    for (name, code) in index.iter().zip(codes) {
        let mut cell = name.as_bytes().to_vec();
        cell.resize(8, 0);
        bytes.extend(cell);
        bytes.push(*code as u8);
    }
    let kind = DatatypeMessage::compound(9, members);
    let dataset = file.new_dataset::<u8>().datatype(kind).shape([index.len()]);
    write_compound(dataset.create(name), &bytes);
}

fn write_compound(dataset: rust_hdf5::Result<rust_hdf5::H5Dataset>, bytes: &[u8]) {
    dataset.unwrap().write_raw_bytes(bytes).unwrap();
}

#[test]
fn compound_tables_of_anndata_0_6() {
    let make = |path: &Path| {
        let file = H5File::create(path).unwrap();
        dense(&file, "X", f32::from);
        compound(&file, "obs", &names(2), &[1, -1]);
        compound(&file, "var", &SYMBOLS.map(str::to_owned), &[0; 10]);
        let uns = file.create_group("uns").unwrap();
        uns.write_vlen_strings("kind_categories", &["B", "T"]).unwrap();
        file.close().unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    make(&path);
    let (_folder, corpus, _) = lenient(&[path], None).unwrap();
    assert_eq!(triplets(&corpus), expected());
    assert_eq!(column(&corpus, "kind"), [Some("T".to_owned()), None]);
}

#[test]
fn compound_tables_with_strings_in_heaps() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compound_0_6.h5ad");
    let (_folder, corpus, ledger) = lenient(&[path.into()], None).unwrap();
    assert_eq!(triplets(&corpus), expected());
    assert_eq!(ledger.files[0].unread_columns, [""; 0]);
    let check = |name: &str, values: [Option<&str>; 2]| {
        assert_eq!(column(&corpus, name), values.map(|value| value.map(str::to_owned)), "{name}");
    };
    check("depth", [Some("0.5"), None]);
    check("good", [Some("True"), Some("False")]);
    check("kind", [Some("T"), None]);
    check("n", [Some("3"), Some("-12")]);
    check("note", [Some("µ"), Some("")]);
}
