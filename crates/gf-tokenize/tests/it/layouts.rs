//! Types that Python can write and our writer does not, through arrow2's own writer.

use std::{fs, path::Path};

use arrow2::{
    array::{
        Array, DictionaryArray, FixedSizeListArray, ListArray, PrimitiveArray, UInt64Array,
        UnionArray, Utf8Array,
    },
    chunk::Chunk,
    datatypes::{DataType, Field, Schema},
    io::ipc::write::{StreamWriter, WriteOptions},
    offset::OffsetsBuffer,
    types::NativeType,
};
use gf_tokenize::{ArrowFault, Dataset, Error, MetadataKind, MetadataValue};

const SHARD: &str = "data-00000-of-00001.arrow";

/// A folder whose only shard holds these batches of named columns.
fn write(folder: &Path, batches: &[Vec<(&str, Box<dyn Array>)>]) {
    let fields =
        batches[0].iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Schema::from(fields.collect::<Vec<_>>());
    let file = fs::File::create(folder.join(SHARD)).unwrap();
    let mut stream = StreamWriter::new(file, WriteOptions { compression: None });
    stream.start(&schema, None).unwrap();
    for batch in batches {
        let arrays = batch.iter().map(|(_, array)| array.clone()).collect();
        stream.write(&Chunk::new(arrays), None).unwrap();
    }
    stream.finish().unwrap();
    let state = format!("{{\"_data_files\": [{{\"filename\": \"{SHARD}\"}}]}}");
    fs::write(folder.join("state.json"), state).unwrap();
}

/// Two rows of three tokens.
fn lists<T: NativeType>(tokens: [T; 6]) -> Box<dyn Array> {
    let items = PrimitiveArray::from_vec(tokens.to_vec()).boxed();
    let kind = ListArray::<i32>::default_datatype(items.data_type().clone());
    let offsets = OffsetsBuffer::try_from(vec![0, 3, 6]).unwrap();
    ListArray::new(kind, offsets, items, None).boxed()
}

fn fixed<T: NativeType>(tokens: [T; 6]) -> Box<dyn Array> {
    let items = PrimitiveArray::from_vec(tokens.to_vec()).boxed();
    let kind = FixedSizeListArray::default_datatype(items.data_type().clone(), 3);
    FixedSizeListArray::new(kind, items, None).boxed()
}

#[track_caller]
fn check(tokens: Box<dyn Array>) {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), &[vec![("input_ids", tokens)]]);
    let dataset = Dataset::open(scratch.path()).unwrap();
    assert_eq!(dataset.len(), 2);
    assert_eq!(*dataset.tokens(0).unwrap(), [2, 20_274, 3]);
    assert_eq!(*dataset.tokens(1).unwrap(), [2, 7, 3]);
    assert_eq!(dataset.length(1).unwrap(), 3);
}

#[test]
fn lists_of_any_width() {
    check(lists([2i32, 20_274, 3, 2, 7, 3]));
    check(lists([2i64, 20_274, 3, 2, 7, 3]));
    check(lists([2u16, 20_274, 3, 2, 7, 3]));
    check(lists([2u32, 20_274, 3, 2, 7, 3]));
    check(fixed([2i32, 20_274, 3, 2, 7, 3]));
    check(fixed([2i64, 20_274, 3, 2, 7, 3]));
}

#[track_caller]
fn check_refused(tokens: Box<dyn Array>, expected: i64) {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), &[vec![("input_ids", tokens)]]);
    let dataset = Dataset::open(scratch.path()).unwrap();
    // The lengths are sound, the tokens of the batch are not.
    assert_eq!(dataset.length(0).unwrap(), 3);
    for row in 0..2 {
        let error = dataset.tokens(row).unwrap_err();
        let Error::Arrow { fault: ArrowFault::WideToken { row: 1, found }, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn tokens_out_of_range() {
    check_refused(lists([2i32, 5, 3, 2, -1, 3]), -1);
    check_refused(lists([2i64, 5, 3, 2, 1 << 31, 3]), 1 << 31);
    check_refused(fixed([2u64, 5, 3, 2, u64::MAX, 3]), i64::MAX);
    check_refused(lists([2i8, 5, 3, 2, -128, 3]), -128);
}

#[test]
fn no_tokens_at_all() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), &[vec![("input_ids", lists([0.5f64; 6]))]]);
    let error = Dataset::open(scratch.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Arrow { fault: ArrowFault::ColumnType { found, .. }, .. } if found == "list<float64>"),
        "{error}"
    );
}

fn coded(words: [&str; 2], keys: [Option<i8>; 2]) -> Box<dyn Array> {
    let values = Utf8Array::<i32>::from_slice(words).boxed();
    DictionaryArray::try_from_keys(PrimitiveArray::from(keys.to_vec()), values).unwrap().boxed()
}

/// Each batch may come with a dictionary of its own.
#[test]
fn a_dictionary_for_every_batch() {
    let scratch = tempfile::tempdir().unwrap();
    let batch = |words, keys| vec![("input_ids", lists([1i32; 6])), ("donor", coded(words, keys))];
    let batches = [batch(["a", "b"], [Some(1), None]), batch(["c", "d"], [Some(0), Some(1)])];
    write(scratch.path(), &batches);
    let dataset = Dataset::open(scratch.path()).unwrap();
    let column = dataset.column("donor").unwrap();
    assert_eq!(column.kind(), MetadataKind::Text);
    let found: Vec<_> = column.iter().map(|value| value.unwrap()).collect();
    use MetadataValue::{Missing, Text};
    assert_eq!(found, [Text("b"), Missing, Text("c"), Text("d")]);
    assert_eq!(dataset.filter("donor", &[Text("d"), Text("b")]).unwrap(), [0, 3]);
}

#[test]
fn whole_numbers_without_sign() {
    let check = |numbers: [u64; 2]| {
        let scratch = tempfile::tempdir().unwrap();
        let numbers = UInt64Array::from_slice(numbers).boxed();
        let dates = PrimitiveArray::from_vec(vec![1i32, 2]).to(DataType::Date32).boxed();
        let tokens = ("input_ids", lists([1i32; 6]));
        write(scratch.path(), &[vec![tokens, ("n", numbers), ("day", dates)]]);
        let dataset = Dataset::open(scratch.path()).unwrap();
        assert_eq!(dataset.unread_columns(), [("day", "date".to_owned())]);
        let unread = dataset.column("day").unwrap_err();
        assert!(matches!(unread, Error::UnreadColumn { .. }), "{unread}");
        let column = dataset.column("n").unwrap();
        column.get(1).map(|value| value == MetadataValue::Integer(7))
    };
    assert!(check([i64::MAX as u64, 7]).unwrap());
    let refused = check([u64::MAX, 7]).unwrap_err();
    assert!(
        matches!(refused, Error::Arrow { fault: ArrowFault::WideInteger { row: 0, .. }, .. }),
        "{refused}"
    );
}

/// Columns whose parts cannot be counted make all behind them unreadable: such a file is refused
/// when it is opened, by its name, its column and what the column is.
#[track_caller]
fn check_unsupported(folder: &Path, column: &str, kind: &str) {
    let error = Dataset::open(folder).unwrap_err().to_string();
    for part in [SHARD, column, kind, "not supported"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
}

#[test]
fn a_union_column() {
    let scratch = tempfile::tempdir().unwrap();
    let field = Field::new("number", DataType::Int32, true);
    let kind = DataType::Union(vec![field], None, arrow2::datatypes::UnionMode::Sparse);
    let numbers = PrimitiveArray::from_vec(vec![1i32, 2]).boxed();
    let union = UnionArray::new(kind, vec![0i8, 0].into(), vec![numbers], None).boxed();
    write(scratch.path(), &[vec![("input_ids", lists([1i32; 6])), ("either", union)]]);
    check_unsupported(scratch.path(), "either", "a union");
}

/// Written by pyarrow 26.0.1, see tests/fixtures/views.py.
#[test]
fn a_column_of_views() {
    for kind in ["string", "binary", "list"] {
        let scratch = tempfile::tempdir().unwrap();
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
        let shard = fixtures.join(format!("{kind}_view.arrow"));
        fs::copy(shard, scratch.path().join(SHARD)).unwrap();
        let state = format!("{{\"_data_files\": [{{\"filename\": \"{SHARD}\"}}]}}");
        fs::write(scratch.path().join("state.json"), state).unwrap();
        check_unsupported(scratch.path(), "words", "a type that is newer");
    }
}
