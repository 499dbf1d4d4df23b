//! A tokenisation that was broken off goes on, and nobody can tell from the bytes.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use gf_corpus::{Corpus, CorpusCells, Selection};
use gf_tokenize::{DatasetWriter, Error, TokenizeOptions, TokenizeReport, WriterOptions, tokenize};

use crate::{
    support::{nine_genes, sequence},
    tokenizer::{contents, encoder, run, synthetic},
};

/// 2,498 rows are five files of 500 but for the last.
const SHARD_ROWS: usize = 500;

fn options() -> TokenizeOptions {
    TokenizeOptions { counts: true, shard_rows: SHARD_ROWS, ..Default::default() }
}

/// Tokenises on some threads and breaks off once so many cells are done.
fn until(
    corpus: &Corpus,
    out: &Path,
    threads: usize,
    last: u64,
) -> gf_tokenize::Result<TokenizeReport> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut progress = |progress: gf_tokenize::Progress| match progress.done < last {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let (encoder, options) = (encoder(), options());
    let mut cells = CorpusCells::new(corpus, Selection::ALL);
    pool.install(|| tokenize(&mut cells, &encoder, out, &options, &mut progress))
}

fn partial(out: &Path) -> PathBuf {
    out.with_file_name(".a.dataset.partial")
}

#[test]
fn broken_off_anywhere_the_bytes_are_the_same() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole.dataset");
    let report = run(&corpus, &encoder(), &whole, &options()).unwrap();
    let expected = contents(&whole);
    assert_eq!(expected.len(), 5 + 4);
    for (threads, breaks) in [(1, &[1_000][..]), (2, &[1_000, 2_000]), (2, &[2_000, 2_500])] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.dataset");
        for &last in breaks {
            let error = until(&corpus, &out, threads, last).unwrap_err();
            let Error::Interrupted { done, rows, .. } = error else { panic!("{error}") };
            assert!(rows > 0 && rows % SHARD_ROWS == 0 && rows as u64 <= done, "{rows} of {done}");
            assert!(partial(&out).is_dir() && !out.exists());
        }
        assert_eq!(until(&corpus, &out, 3 - threads, u64::MAX).unwrap(), report);
        assert_eq!(contents(&out), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left");
    }
}

/// What a kill can leave: a file after the last noted one, names already given, a damaged file, a
/// damaged journal, the journal of another run.
#[test]
fn whatever_was_left_the_bytes_are_the_same() {
    let (_guard, corpus) = synthetic();
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole.dataset");
    run(&corpus, &encoder(), &whole, &options()).unwrap();
    let expected = contents(&whole);
    let check = |spoil: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.dataset");
        until(&corpus, &out, 2, 2_000).unwrap_err();
        spoil(&partial(&out));
        until(&corpus, &out, 2, u64::MAX).unwrap();
        assert_eq!(contents(&out), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    };
    let shard = |idx: usize| format!("new/shard-{idx:05}.arrow");
    check(&|_| {});
    check(&|partial| fs::write(partial.join(shard(4)), "half a fi").unwrap());
    check(&|partial| {
        fs::rename(partial.join(shard(0)), partial.join("new/data-00000-of-00005.arrow")).unwrap();
    });
    check(&|partial| {
        let path = partial.join(shard(1));
        let mut bytes = fs::read(&path).unwrap();
        bytes[700] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    check(&|partial| fs::remove_file(partial.join(shard(1))).unwrap());
    check(&|partial| fs::write(partial.join("progress.json"), "{").unwrap());
    check(&|partial| {
        let path = partial.join("progress.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replacen("\"key\": \"", "\"key\": \"0", 1)).unwrap();
    });
}

#[test]
fn finished_files_are_not_written_again() {
    let (_guard, corpus) = synthetic();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.dataset");
    until(&corpus, &out, 1, 1_000).unwrap_err();
    let first = partial(&out).join("new/shard-00000.arrow");
    let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = written(&first);
    until(&corpus, &out, 1, u64::MAX).unwrap();
    assert_eq!(written(&out.join("data-00000-of-00005.arrow")), before);
}

#[test]
fn two_runs_do_not_write_one_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("a.dataset");
    let options = || WriterOptions { shard_rows: 1, ..Default::default() };
    let (mut first, state) = DatasetWriter::resume::<u64>(&out, options(), "k").unwrap();
    assert_eq!(state, None);
    let refused = DatasetWriter::create(&out, options()).err().unwrap();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    first.push("c", &sequence(&[2, 3]), &[]).unwrap();
    first.checkpoint(&7u64).unwrap();
    drop(first);
    let (second, state) = DatasetWriter::resume::<u64>(&out, options(), "k").unwrap();
    assert_eq!((state, second.partial().1), (Some(7), 1));
    drop(second);
    let (third, state) = DatasetWriter::resume::<u64>(&out, options(), "other").unwrap();
    assert_eq!((state, third.partial().1), (None, 0));
    third.finish(nine_genes().vocabulary(), "", 9).unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

/// A kill between the two renames of an exchange leaves the old data set in the partial folder.
#[test]
fn an_old_data_set_is_never_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("a.dataset");
    let writer = DatasetWriter::create(&out, WriterOptions::default()).unwrap();
    writer.finish(nine_genes().vocabulary(), "", 9).unwrap();
    let before = contents(&out);
    fs::create_dir(partial(&out)).unwrap();
    fs::rename(&out, partial(&out).join("old")).unwrap();
    drop(DatasetWriter::create(&out, WriterOptions::default()).unwrap());
    assert_eq!(contents(&out), before);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}
