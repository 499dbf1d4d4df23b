//! The pipeline as a whole: order, names, filter, target, bytes.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use gf_corpus::{Corpus, Error, Found, IngestOptions, Ledger, Route, Verdict, ingest};

use crate::support::{Ad, Mex, SYMBOLS, column, every_cell, immune, lenient, next_study, run};

#[test]
fn immune_cells_end_to_end() {
    let (_folder, corpus, ledger) = run(&[immune()], &IngestOptions::default()).unwrap();
    let file = &ledger.files[0];
    assert_eq!(file.name, "immune_559");
    assert_eq!((file.cells.read, file.cells.kept), (559, 559));
    assert_eq!(file.mapped().rows + file.unmapped().rows, 32_786);
    let carried = file.unmapped().counts as f64 / file.counts_read() as f64;
    eprintln!(
        "routes {:?}, ambiguous {:?}, unknown {:?}",
        file.routes, file.ambiguous, file.unknown
    );
    assert!(carried < 0.01, "{carried} of the counts have no gene");
    assert!(file.routes[&Route::Previous].rows > 1_000);
    assert_eq!(corpus.n_cells(), 559);
}

#[test]
fn genes_and_columns_come_in_the_order_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let first = Mex::new(&["GAPDH", "ENSG00000075624.17\tACTB"], 1, &[(0, 0, "1"), (1, 0, "2")]);
    let first = first.write(&folder.path().join("first"), "");
    let second = Ad::new(vec![1u8, 2, 3, 4, 5]).write(&folder.path().join("second.h5ad"));
    let (_folder, corpus, ledger) = lenient(&[first, second], None).unwrap();
    let symbols: Vec<&str> = corpus.genes().iter().map(|gene| gene.symbol.as_str()).collect();
    assert_eq!(symbols[..4], ["GAPDH", "ACTB", "CD3D", "CD3E"]);
    let block = corpus.blocks().next().unwrap().unwrap();
    assert_eq!(block.cell_ids, ["CELL0-1"]);
    assert_eq!(block.counts.row(0), (&[0, 1][..], &[1, 2][..]));
    let studies: Vec<u32> = corpus.blocks().flat_map(|block| block.unwrap().studies).collect();
    assert_eq!(studies, [0, 1, 1]);
    assert_eq!(ledger.files.iter().map(|file| file.cells.kept).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn rows_of_one_gene_are_summed_and_others_reported() {
    let folder = tempfile::tempdir().unwrap();
    let features = [
        "ACTB",
        "ENSG00000075624",
        "ENSG00000075624.3\tx",
        "MKI67IP",
        "NIFK",
        "nonsense",
        "AMY1",
        "ENSG00000999999\tNEW",
    ];
    let entries: Vec<(usize, usize, &str)> =
        (0..features.len()).map(|gene| (gene, 0, "10")).collect();
    let input = Mex::new(&features, 1, &entries).write(folder.path(), "");
    let (_folder, corpus, ledger) = lenient(&[input], None).unwrap();
    let file = &ledger.files[0];
    let rows = |route| file.routes.get(&route).map_or(0, |tally| tally.rows);
    assert_eq!(
        [rows(Route::Ensembl), rows(Route::Symbol), rows(Route::Previous), rows(Route::Unlisted)],
        [2, 2, 1, 1]
    );
    assert_eq!((file.ambiguous.rows, file.ambiguous.counts), (1, 10));
    assert_eq!((file.unknown.rows, file.unknown.counts), (1, 10));
    assert_eq!(
        (file.ambiguous_names.as_slice(), file.unknown_names.as_slice()),
        (&["AMY1".to_owned()][..], &["nonsense".to_owned()][..])
    );
    assert_eq!((file.summed_rows, file.counts_kept), (3, 60));
    let block = corpus.blocks().next().unwrap().unwrap();
    assert_eq!((block.totals[0], block.counts.row(0).1), (80, &[30, 20, 10][..]));
    assert_eq!(corpus.genes()[2].symbol, "NEW");
}

#[test]
fn cells_with_few_protein_coding_genes_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries: Vec<(usize, usize, &str)> = (0..7).map(|gene| (gene, 0, "1")).collect();
    entries.extend((0..6).map(|gene| (gene, 1, "9")));
    let input = Mex::new(&SYMBOLS, 3, &entries).write(folder.path(), "");
    let (_folder, corpus, ledger) = run(&[input], &IngestOptions::default()).unwrap();
    let file = &ledger.files[0];
    let dropped = [Verdict::FewProteinCoding, Verdict::Empty].map(|v| file.cells.dropped[&v]);
    assert_eq!((file.cells.kept, dropped), (1, [1, 1]));
    assert_eq!((file.counts_kept, file.counts_in_dropped_cells), (7, 54));
    assert_eq!(corpus.n_cells(), 1);
}

#[test]
fn a_study_whose_ids_are_taken_is_named_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("donor2/filtered_feature_bc_matrix");
    let other = Mex::new(&SYMBOLS, 1, &[(0, 0, "3")]);
    let other = Mex { barcodes: vec!["OTHER-1".to_owned()], ..other };
    let inputs = [
        Mex::small().write(&folder.path().join("a"), ""),
        Mex::small().write(&nested, ".gz"),
        other.write(&folder.path().join("b"), ""),
        Mex::small().write(&folder.path().join("deep/a"), ""),
    ];
    let (_folder, corpus, ledger) = lenient(&inputs, None).unwrap();
    let ids: Vec<String> = corpus.blocks().flat_map(|block| block.unwrap().cell_ids).collect();
    assert_eq!(ids[..4], ["CELL0-1", "CELL1-1", "donor2:CELL0-1", "donor2:CELL1-1"]);
    assert_eq!(ids[4..], ["OTHER-1", "a-2:CELL0-1", "a-2:CELL1-1"]);
    let qualified: Vec<bool> = ledger.files.iter().map(|file| file.qualified_ids).collect();
    assert_eq!(qualified, [false, true, false, true]);
}

#[test]
fn columns_are_united() {
    let folder = tempfile::tempdir().unwrap();
    let with_column = |name: &str, column: &str| {
        let path = folder.path().join(name);
        Ad::new(vec![1u8, 2, 3, 4, 5]).write(&path);
        let file = rust_hdf5::H5File::open_rw(&path).unwrap();
        let obs = file.root_group().group("obs").unwrap();
        obs.write_vlen_strings(column, &["x", "y"]).unwrap();
        file.close().unwrap();
        path
    };
    let inputs = [with_column("a.h5ad", "tissue"), with_column("b.h5ad", "total")];
    let (_folder, corpus, _) = lenient(&inputs, None).unwrap();
    let names: Vec<&str> = corpus.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["tissue", "total"]);
    let text = |values: [Option<&str>; 4]| values.map(|value| value.map(str::to_owned));
    assert_eq!(column(&corpus, "tissue"), text([Some("x"), Some("y"), None, None]));
    assert_eq!(column(&corpus, "total"), text([None, None, Some("x"), Some("y")]));
}

/// Name and bytes of every file under a folder.
fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push((path.to_str().unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    let all = all
        .into_iter()
        .map(|(name, bytes)| (name[folder.to_str().unwrap().len()..].to_owned(), bytes));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

fn again(inputs: &[PathBuf], out: &Path, options: &IngestOptions) -> Result<Ledger, Error> {
    ingest(&Found::under(inputs)?.catalogue, out, options, &mut next_study)
}

#[test]
fn the_same_bytes_from_one_thread_and_from_two() {
    let made = [1, 2].map(|n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let (folder, corpus, _) =
            pool.install(|| run(&[immune()], &IngestOptions::default())).unwrap();
        (bytes(&folder.path().join("corpus")), corpus.content_hash().to_owned())
    });
    assert!(made[0] == made[1]);
    let names: Vec<&str> =
        made[0].0.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert!(names.contains(&"manifest.json") && names.contains(&"shard-00000.arrow"), "{names:?}");
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn only_a_corpus_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let input = [Mex::small().write(&folder.path().join("in"), "")];
    let again = |out: &Path| again(&input, out, &every_cell());
    let out = folder.path().join("deep/out");
    again(&out).unwrap();
    let first = bytes(&out);
    again(&out).unwrap();
    assert_eq!(bytes(&out), first);
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).unwrap();
    again(&precious).unwrap();
    fs::write(precious.join("notes.txt"), "keep").unwrap();
    let before = bytes(&precious);
    assert!(matches!(again(&precious), Err(Error::NotACorpus { path }) if path == precious));
    assert_eq!(bytes(&precious), before);
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(again(&file), Err(Error::NotACorpus { .. })));
}

#[test]
fn an_ingest_that_finished_nothing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let stop = &mut |_: &_, _| ControlFlow::Break(());
    let catalogue = Found::under(&[immune()]).unwrap().catalogue;
    let stopped = ingest(&catalogue, &out, &IngestOptions::default(), stop);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert!(again(&[immune(), folder.path().join("absent.h5ad")], &out, &every_cell()).is_err());
    assert!(matches!(again(&[], &out, &every_cell()), Err(Error::NoInput)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Three small studies with different cells.
fn three(folder: &Path) -> [PathBuf; 3] {
    ["a", "b", "c"].map(|name| {
        let mut mex = Mex::small();
        mex.barcodes = vec![format!("{name}1"), format!("{name}2")];
        mex.write(&folder.join(name), "")
    })
}

#[test]
fn an_interrupted_ingest_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = three(folder.path());
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    again(&inputs, &whole, &every_cell()).unwrap();
    let catalogue = Found::under(&inputs).unwrap().catalogue;
    let read = |stop_at: &str| {
        let mut read = Vec::new();
        let result = ingest(&catalogue, &out, &every_cell(), &mut |study, _| {
            read.push(study.id.clone());
            if study.id == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (read, result.is_ok())
    };
    assert_eq!(read("c"), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], false));
    assert!(Corpus::open(&out).is_err());
    // What a killed process leaves behind is swept away.
    fs::create_dir_all(out.join(".writing-1/study")).unwrap();
    assert_eq!(read(""), (vec!["c".to_owned()], true));
    assert_eq!(bytes(&out), bytes(&whole));
    assert_eq!(read(""), (vec![], true));
}

#[test]
fn appending_and_growing_do_not_rewrite_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = three(folder.path());
    let whole = folder.path().join("whole");
    again(&inputs, &whole, &every_cell()).unwrap();
    let grown = folder.path().join("grown");
    again(&inputs[..1], &grown, &every_cell()).unwrap();
    let shard = |folder: &Path| {
        let study = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut studies =
            study.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("a-"));
        fs::metadata(studies.next().unwrap().join("shard-00000.arrow")).unwrap().modified().unwrap()
    };
    let written = shard(&grown);
    let append = IngestOptions { append: true, ..every_cell() };
    again(&inputs[1..], &grown, &append).unwrap();
    assert_eq!(shard(&grown), written);
    assert_eq!(bytes(&grown), bytes(&whole));
    // Without --append the corpus becomes what is given.
    again(&inputs[2..], &grown, &every_cell()).unwrap();
    assert_eq!(Corpus::open(&grown).unwrap().studies().len(), 1);
    // A study of another file may not take an id.
    let other = Mex::small().write(&folder.path().join("elsewhere/c"), "");
    assert!(
        matches!(again(&[other], &grown, &append), Err(Error::StudyIdTaken { id, .. }) if id == "c")
    );
}

#[test]
fn a_changed_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in"), folder.path().join("out"));
    Mex::small().write(&input, "");
    assert_eq!(
        again(std::slice::from_ref(&input), &out, &every_cell()).unwrap().totals().counts_kept,
        16
    );
    Mex::new(&SYMBOLS, 2, &[(0, 0, "5")]).write(&input, "");
    assert_eq!(again(&[input], &out, &every_cell()).unwrap().totals().counts_kept, 5);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
}

#[test]
fn a_barcode_that_comes_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut mex = Mex::new(&SYMBOLS, 4, &[(0, 0, "5")]);
    mex.barcodes[3] = mex.barcodes[1].clone();
    let error = lenient(&[mex.write(&folder.path().join("in"), "")], None).err().unwrap();
    let message = error.to_string();
    assert!(
        message.contains("cells 1 and 3 (counted from 0) are both called \"CELL1-1\""),
        "{message}"
    );
}

#[test]
fn progress_counts_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let note = &mut |study: &gf_corpus::Study, progress: gf_corpus::Progress| {
        seen.push((study.id.clone(), progress.done, progress.total));
        ControlFlow::Continue(())
    };
    let catalogue = Found::under(&[immune()]).unwrap().catalogue;
    ingest(&catalogue, &folder.path().join("out"), &IngestOptions::default(), note).unwrap();
    let id = "immune_559".to_owned();
    assert_eq!(seen, [(id.clone(), 512, 559), (id, 559, 559)]);
}

#[test]
fn folders_are_searched_and_what_is_passed_by_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("counts");
    Mex::small().write(&root.join("x/filtered_feature_bc_matrix"), "");
    Ad::new(vec![1u8, 2, 3, 4, 5]).write(&root.join("cells.h5ad"));
    fs::write(root.join("README.md"), "x").unwrap();
    let found = Found::under(std::slice::from_ref(&root)).unwrap();
    let ids: Vec<&str> = found.catalogue.studies.iter().map(|study| study.id.as_str()).collect();
    assert_eq!(ids, ["cells", "x"]);
    assert_eq!(found.skipped, [root.join("README.md")]);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(
        matches!(Found::under(std::slice::from_ref(&empty)), Err(Error::UnknownFormat { path }) if path == empty)
    );
}

#[test]
fn a_damaged_corpus_is_an_error() {
    let (folder, corpus, _) = run(&[immune()], &IngestOptions::default()).unwrap();
    let out = folder.path().join("corpus");
    let find = |end: &str| {
        let name = bytes(&out).into_iter().map(|(name, _)| name).find(|name| name.ends_with(end));
        out.join(name.unwrap().trim_start_matches('/'))
    };
    let shard = find("shard-00000.arrow");
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, &bytes).unwrap();
    };
    flip(&shard);
    let blocks: Vec<_> = corpus.blocks().collect();
    assert_eq!(blocks.len(), 1);
    assert!(matches!(&blocks[0], Err(Error::Corpus { path, .. }) if *path == shard));
    fs::remove_file(&shard).unwrap();
    assert!(matches!(Corpus::open(&out), Err(Error::Io { path, .. }) if path == shard));
    for end in ["study.json", ".tsv", "manifest.json"] {
        let (folder, _, _) = run(&[immune()], &IngestOptions::default()).unwrap();
        let out = folder.path().join("corpus");
        let name = bytes(&out).into_iter().map(|(name, _)| name).find(|name| name.ends_with(end));
        flip(&out.join(name.unwrap().trim_start_matches('/')));
        assert!(matches!(Corpus::open(&out), Err(Error::Corpus { .. })), "{end}");
    }
}
