//! What the writer writes and the reader reads: whole folders, and folders that are not what they say.

use std::{fs, path::Path};

use gf_corpus::MetadataValue;
use gf_tokenize::{Dataset, DatasetWriter, Error, Vocabulary, WriterOptions};
use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;

use crate::support::{gene, nine_genes, sequence, text, text_column};

type Row = (String, Vec<u32>, [Option<String>; 2]);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let metadata = [option::of(".{0,6}"), option::of("[a-z]{0,3}")];
    vec((".{0,8}", vec(0u32..20_275, 1..30), metadata), 0..40)
}

fn write(folder: &Path, rows: &[Row], shard_rows: usize) {
    let columns = vec![text_column("cell_type"), text_column("donor")];
    let options = WriterOptions { columns, counts: false, shard_rows };
    let mut writer = DatasetWriter::create(folder, options).unwrap();
    for (cell_id, tokens, metadata) in rows {
        let metadata = metadata.each_ref().map(|value| text(value.as_deref()));
        writer.push(cell_id, &sequence(tokens), &metadata).unwrap();
    }
    let encoder = nine_genes();
    writer.finish(encoder.vocabulary(), encoder.medians_hash(), encoder.max_len()).unwrap();
}

fn check_rows(dataset: &Dataset, rows: &[Row]) {
    assert_eq!(dataset.len(), rows.len());
    assert_eq!(dataset.columns(), ["input_ids", "cell_id", "cell_type", "donor", "length"]);
    let (types, donors) = (dataset.column("cell_type").unwrap(), dataset.column("donor").unwrap());
    for (row, (cell_id, tokens, metadata)) in rows.iter().enumerate() {
        assert_eq!(&dataset.cell_id(row).unwrap(), cell_id);
        assert_eq!(
            *dataset.tokens(row).unwrap(),
            *tokens.iter().map(|&token| token as i32).collect::<Vec<_>>()
        );
        let found = [types.get(row), donors.get(row)].map(|value| value.unwrap());
        assert_eq!(found, metadata.each_ref().map(|value| text(value.as_deref())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read(rows in rows(), shard_rows in 1usize..20) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a.dataset");
        write(&folder, &rows, shard_rows);
        check_rows(&Dataset::open(&folder).unwrap(), &rows);
    }
}

#[test]
fn many_batches_and_shards() {
    let rows: Vec<Row> =
        (0..2_345).map(|idx| (format!("c{idx}"), vec![2, 4 + idx % 9, 3], [None, None])).collect();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a.dataset");
    write(&folder, &rows, 1_100);
    check_rows(&Dataset::open(&folder).unwrap(), &rows);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let shards = (0..3).map(|idx| format!("data-{idx:05}-of-00003.arrow"));
    let others =
        ["dataset_info.json", "geneformer.json", "state.json", "vocabulary.tsv"].map(str::to_owned);
    assert_eq!(files, shards.chain(others).collect::<Vec<_>>());
    assert_eq!(
        fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "something was left beside the folder"
    );
}

#[test]
fn the_json_files_are_what_python_asks_for() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a.dataset");
    write(&folder, &[("c".into(), vec![2, 3], [None, None])], 10);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let state = read("state.json");
    let keys: Vec<_> = state.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "_data_files",
            "_fingerprint",
            "_format_columns",
            "_format_kwargs",
            "_format_type",
            "_output_all_columns",
            "_split"
        ]
    );
    assert_eq!(state["_data_files"][0]["filename"], "data-00000-of-00001.arrow");
    assert_eq!(state["_fingerprint"].as_str().unwrap().len(), 16);
    let features = &read("dataset_info.json")["features"];
    assert_eq!(
        features["input_ids"],
        serde_json::json!({ "feature": { "dtype": "int32", "_type": "Value" }, "_type": "Sequence" })
    );
    assert_eq!(features["length"]["dtype"], "int64");
    let manifest = Dataset::open(&folder).unwrap().manifest().unwrap().clone();
    assert_eq!(manifest.vocabulary_hash, nine_genes().vocabulary().content_hash());
    assert_eq!(manifest.medians_hash, nine_genes().medians_hash());
    assert_eq!((manifest.format_version, manifest.max_len), (1, 4096));
}

#[test]
fn different_rows_have_different_fingerprints() {
    let fingerprint = |id: &str, tokens: &[u32], value: Option<&str>| {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a.dataset");
        write(&folder, &[(id.into(), tokens.to_vec(), [value.map(str::to_owned), None])], 10);
        let state: Value =
            serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap();
        state["_fingerprint"].as_str().unwrap().to_owned()
    };
    let all = [
        fingerprint("a", &[2, 3], None),
        fingerprint("b", &[2, 3], None),
        fingerprint("a", &[2, 4], None),
        fingerprint("a", &[2, 3], Some("")),
    ];
    assert_eq!(all[0], fingerprint("a", &[2, 3], None));
    for (idx, one) in all.iter().enumerate() {
        assert!(!all[..idx].contains(one));
    }
}

#[test]
fn an_unfinished_folder_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let mut writer =
        DatasetWriter::create(&scratch.path().join("a.dataset"), WriterOptions::default()).unwrap();
    writer.push("c", &sequence(&[2, 3]), &[]).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_data_set_of_ours_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a.dataset");
    for tokens in [vec![2, 3], vec![2, 4, 3]] {
        write(&folder, &[("c".into(), tokens.clone(), [None, None])], 10);
        assert_eq!(Dataset::open(&folder).unwrap().length(0).unwrap(), tokens.len());
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn what_a_writer_refuses() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a.dataset");
    for columns in
        [vec!["length"], vec!["cell_id"], vec!["input_ids"], vec!["counts"], vec!["a", "a"]]
    {
        let columns = columns.into_iter().map(text_column).collect();
        let options = WriterOptions { columns, ..Default::default() };
        let refused = DatasetWriter::create(&folder, options).err().unwrap();
        assert!(matches!(refused, Error::ReservedColumn { .. }), "{refused}");
    }
    let mut writer = DatasetWriter::create(&folder, WriterOptions::default()).unwrap();
    let refused = writer.push("c", &sequence(&[2, 3]), &[MetadataValue::Missing]).unwrap_err();
    assert!(matches!(refused, Error::RowWidth { found: 1, expected: 0, .. }), "{refused}");
    fs::create_dir(&folder).unwrap();
    let refused = DatasetWriter::create(&folder, WriterOptions::default()).err().unwrap();
    assert!(matches!(refused, Error::OutputExists { .. }), "{refused}");
    let late = writer.finish(nine_genes().vocabulary(), "", 1).unwrap_err();
    assert!(matches!(late, Error::OutputExists { .. }), "{late}");
}

#[test]
fn what_a_reader_refuses() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a.dataset");
        write(
            &folder,
            &[("c".into(), vec![2, 4, 3], [None, None]), ("d".into(), vec![2, 3], [None, None])],
            1,
        );
        spoil(&folder);
        let error = Dataset::open(&folder).unwrap_err().to_string();
        assert!(error.contains("a.dataset") && error.contains(expected), "{error}");
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from));
            fs::write(folder.join(file), text.replace(from, to)).unwrap();
        }
    };
    check(
        &|folder| fs::remove_file(folder.join("state.json")).unwrap(),
        "is not a data set folder",
    );
    check(
        &|folder| fs::remove_file(folder.join("data-00001-of-00002.arrow")).unwrap(),
        "data-00001-of-00002.arrow",
    );
    check(&|folder| fs::write(folder.join("state.json"), "{").unwrap(), "state.json: EOF");
    check(&replace("state.json", "data-00001", "../data-00001"), "is not a plain file name");
    check(
        &replace(
            "state.json",
            "\"_split\"",
            "\"_indices_data_files\": [{\"filename\": \"i\"}], \"_split\"",
        ),
        "index files",
    );
    check(
        &replace("geneformer.json", "\"format_version\": 1", "\"format_version\": 2"),
        "format version 2",
    );
    let other = Vocabulary::from_genes([77].map(gene));
    check(
        &|folder| other.write_tsv(&folder.join("vocabulary.tsv")).unwrap(),
        "vocabulary.tsv: content hash",
    );
    let other_columns = |folder: &Path| {
        let second = folder.join("second");
        let mut writer = DatasetWriter::create(&second, WriterOptions::default()).unwrap();
        writer.push("c", &sequence(&[2, 3]), &[]).unwrap();
        writer.finish(nine_genes().vocabulary(), "", 9).unwrap();
        fs::rename(
            second.join("data-00000-of-00001.arrow"),
            folder.join("data-00001-of-00002.arrow"),
        )
        .unwrap();
    };
    check(&other_columns, "differ from the first shard's");
}

#[test]
fn what_an_open_data_set_refuses() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("a.dataset");
    write(
        &folder,
        &[
            ("c".into(), vec![2, 4, 3], [None, None]),
            ("d".into(), vec![2, 12, 13, 3], [None, None]),
        ],
        10,
    );
    // Caches that `datasets` drops beside the shards are none of our business.
    fs::write(folder.join("cache-0123456789abcdef.arrow"), "junk").unwrap();
    let dataset = Dataset::open(&folder).unwrap();
    assert_eq!(dataset.vocabulary().unwrap(), nine_genes().vocabulary());
    assert!(matches!(dataset.column("age").unwrap_err(), Error::NoSuchColumn { .. }));
    dataset.check_tokens([0], 13).unwrap();
    let outside = dataset.check_tokens(0..2, 13).unwrap_err();
    assert!(
        matches!(outside, Error::TokenRange { row: 1, position: 2, found: 13, n_tokens: 13, .. }),
        "{outside}"
    );
}
