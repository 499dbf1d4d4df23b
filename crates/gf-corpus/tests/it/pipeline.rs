//! The pipeline as a whole: order, names, filter, target, bytes.

use std::{fs, ops::ControlFlow, path::Path};

use gf_corpus::{Corpus, Error, IngestOptions, Route, ingest};

use crate::support::{Ad, Mex, SYMBOLS, column, go_on, immune, lenient, run};

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
    let sources: Vec<u32> = corpus.blocks().flat_map(|block| block.unwrap().sources).collect();
    assert_eq!(sources, [0, 1, 1]);
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
    assert_eq!((file.cells.kept, file.cells.few_protein_coding, file.cells.empty), (1, 1, 1));
    assert_eq!((file.counts_kept, file.counts_in_dropped_cells), (7, 54));
    assert_eq!(corpus.n_cells(), 1);
}

#[test]
fn taken_ids_are_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("donor2/filtered_feature_bc_matrix");
    let inputs =
        [Mex::small().write(&folder.path().join("a"), ""), Mex::small().write(&nested, ".gz")];
    let inputs = [inputs[0].clone(), inputs[1].clone(), inputs[1].clone()];
    let (_folder, corpus, ledger) = lenient(&inputs, None).unwrap();
    let ids: Vec<String> = corpus.blocks().flat_map(|block| block.unwrap().cell_ids).collect();
    assert_eq!(ids[..3], ["CELL0-1", "CELL1-1", "donor2:CELL0-1"]);
    assert_eq!(ids[3..], ["donor2:CELL1-1", "donor2:CELL0-1#2", "donor2:CELL1-1#2"]);
    let renamed: Vec<u64> = ledger.files.iter().map(|file| file.cells.renamed).collect();
    assert_eq!(renamed, [0, 2, 2]);
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
    assert_eq!(corpus.columns(), ["tissue", "total"]);
    let text = |values: [Option<&str>; 4]| values.map(|value| value.map(str::to_owned));
    assert_eq!(column(&corpus, "tissue"), text([Some("x"), Some("y"), None, None]));
    assert_eq!(column(&corpus, "total"), text([None, None, Some("x"), Some("y")]));
}

/// Name and bytes of every file of a folder.
fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    all.sort();
    all
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
    let names: Vec<&str> = made[0].0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest.json", "shard-00000.arrow"]);
}

#[test]
fn only_a_corpus_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let input = [Mex::small().write(&folder.path().join("in"), "")];
    let options = IngestOptions { min_protein_coding: 0, ..IngestOptions::default() };
    let out = folder.path().join("deep/out");
    let again = |out: &Path| ingest(&input, out, &options, &mut go_on);
    again(&out).unwrap();
    again(&out).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).unwrap();
    again(&precious).unwrap();
    fs::remove_file(precious.join("manifest.json")).unwrap();
    let before = bytes(&precious);
    assert!(matches!(again(&precious), Err(Error::NotACorpus { path }) if path == precious));
    assert_eq!(bytes(&precious), before);
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(again(&file), Err(Error::NotACorpus { .. })));
}

#[test]
fn a_stopped_or_failed_ingest_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let stop = &mut |_| ControlFlow::Break(());
    let stopped = ingest(&[immune()], &out, &IngestOptions::default(), stop);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let absent = [immune(), folder.path().join("absent.h5ad")];
    assert!(ingest(&absent, &out, &IngestOptions::default(), &mut go_on).is_err());
    assert!(matches!(
        ingest(&[], &out, &IngestOptions::default(), &mut go_on),
        Err(Error::NoInput)
    ));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn progress_counts_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let note = &mut |progress: gf_corpus::Progress| {
        seen.push((progress.done, progress.total));
        ControlFlow::Continue(())
    };
    ingest(&[immune()], &folder.path().join("out"), &IngestOptions::default(), note).unwrap();
    assert_eq!(seen, [(512, 559), (559, 559)]);
}

#[test]
fn a_damaged_corpus_is_an_error() {
    let (folder, corpus, _) = run(&[immune()], &IngestOptions::default()).unwrap();
    let shard = folder.path().join("corpus/shard-00000.arrow");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let blocks: Vec<_> = corpus.blocks().collect();
    assert_eq!(blocks.len(), 1);
    assert!(matches!(&blocks[0], Err(Error::Corpus { path, .. }) if *path == shard));
    fs::remove_file(&shard).unwrap();
    assert!(
        matches!(Corpus::open(folder.path().join("corpus")), Err(Error::Io { path, .. }) if path == shard)
    );
    fs::write(folder.path().join("corpus/manifest.json"), "{}").unwrap();
    assert!(matches!(Corpus::open(folder.path().join("corpus")), Err(Error::Corpus { .. })));
}
