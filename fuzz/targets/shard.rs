//! The input is the only shard of a corpus, whose manifests are given its hash:
//! the hash finds damage, not malice. The first run makes the corpus.
#![no_main]

use std::{fs, ops::ControlFlow, path::Path, path::PathBuf, sync::OnceLock};

use gf_corpus::{Corpus, Found, IngestOptions, Selection, ingest, nonzero_medians};
use gf_fuzz::folder;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// A table whose cells have the seven detected genes that a cell needs.
const TABLE: &str = include_str!("../seeds/delimited/cells.csv");

/// The corpus, and the folder of its study.
fn corpus() -> &'static (PathBuf, PathBuf) {
    static CORPUS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let table = gf_fuzz::put("cells.csv", TABLE.as_bytes());
        let path = folder().join("corpus");
        let catalogue = Found::under(&[table]).expect("a table").catalogue;
        let go_on = &mut |_: &_, _| ControlFlow::Continue(());
        ingest(&catalogue, &path, &IngestOptions::default(), go_on).expect("a corpus");
        let entry = read(&path.join("manifest.json"))["studies"][0]["folder"].clone();
        let study = path.join(entry.as_str().expect("a name"));
        if let Some(seed) = std::env::var_os("GF_FUZZ_SEED") {
            fs::copy(study.join("shard-00000.arrow"), seed).expect("a place for the seed");
        }
        (path, study)
    })
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// Puts the hash of `bytes` in a manifest; the manifest's new bytes.
fn vouch(manifest: &Path, pointer: &str, bytes: &[u8]) -> Vec<u8> {
    let mut value = read(manifest);
    *value.pointer_mut(pointer).expect("a hash") = format!("{:016x}", xxh3_64(bytes)).into();
    let text = value.to_string().into_bytes();
    fs::write(manifest, &text).expect("room");
    text
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (path, study) = corpus();
    fs::write(study.join("shard-00000.arrow"), data).expect("room");
    let manifest = vouch(&study.join("study.json"), "/shards/0/xxh3", data);
    vouch(&path.join("manifest.json"), "/studies/0/xxh3", &manifest);
    let corpus = Corpus::open(path).expect("the manifests fit");
    if corpus.blocks().all(|block| block.is_ok()) {
        let _ = nonzero_medians(&corpus, Selection::ALL, &mut |_| ControlFlow::Continue(()));
    }
});
