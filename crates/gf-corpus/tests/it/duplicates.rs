//! No cell is counted twice: copies by content, studies by DOI.

use std::path::{Path, PathBuf};

use gf_corpus::{Catalogue, Corpus, IngestOptions, Ledger, Malignant, Selection, Study, ingest};

use crate::support::{
    Mex, balanced, every_cell, immune, lenient, next_study, run, shared, text, write,
};

fn kept_and_copies(ledger: &Ledger) -> Vec<(u64, u64)> {
    ledger.files.iter().map(|file| (file.cells.kept, file.cells.copies)).collect()
}

/// The shipped cells again: the genes in reverse, by id instead of by symbol
/// where `by_id` says so, other barcodes.
fn disguised(folder: &Path, by_id: bool) -> PathBuf {
    let original = immune();
    let read = |name: &str| text(&original.join(name));
    let table = gf_corpus::Annotation::shipped().unwrap();
    let renamed = |line: &str| {
        let symbol = line.split('\t').next_back().unwrap();
        match table.resolve(symbol) {
            gf_corpus::Resolution::Found(id, _) if by_id => format!("{id}\n"),
            _ => format!("{line}\n"),
        }
    };
    let features: Vec<String> = read("features.tsv.gz").lines().rev().map(renamed).collect();
    let n_rows = features.len();
    let barcodes = read("barcodes.tsv.gz");
    let barcodes: String = barcodes.lines().map(|id| format!("{id}-7\n")).collect();
    let mut lines: Vec<(usize, usize, String)> = Vec::new();
    let mut head = String::new();
    for line in read("matrix.mtx.gz").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if line.starts_with('%') || head.lines().filter(|l| !l.starts_with('%')).count() == 0 {
            head += &format!("{line}\n");
            continue;
        }
        let [row, cell] = [0, 1].map(|i| words[i].parse::<usize>().unwrap());
        lines.push((cell, n_rows + 1 - row, words[2].to_owned()));
    }
    lines.sort();
    let lines: String = lines.iter().map(|(cell, row, n)| format!("{row} {cell} {n}\n")).collect();
    std::fs::create_dir_all(folder).unwrap();
    write(&folder.join("matrix.mtx"), &(head + &lines));
    write(&folder.join("features.tsv"), &features.concat());
    write(&folder.join("barcodes.tsv"), &barcodes);
    folder.to_owned()
}

#[test]
fn a_disguised_copy_is_found_cell_by_cell() {
    let folder = tempfile::tempdir().unwrap();
    for (name, by_id) in [("same names", false), ("by id", true)] {
        let copy = disguised(&folder.path().join(name), by_id);
        let (_folder, corpus, ledger) = run(&[immune(), copy], &IngestOptions::default()).unwrap();
        assert_eq!(kept_and_copies(&ledger), [(559, 0), (0, 559)], "{name}");
        assert_eq!((corpus.n_cells(), ledger.overlaps.len()), (559, 1));
        assert_eq!((ledger.overlaps[0].of.as_str(), ledger.overlaps[0].cells), ("immune_559", 559));
        let cells: usize = corpus.blocks().map(|block| block.unwrap().cell_ids.len()).sum();
        assert_eq!(cells, 559);
        assert_eq!(ledger.totals().counts_kept, ledger.files[1].counts_in_copies);
    }
}

/// Copies found of those there are, where the two files name genes by id and by
/// symbol, or one lost its rare genes.
#[track_caller]
fn found(files: [&str; 2], expected: u64) {
    let [Some(first), Some(second)] = files.map(shared) else { return };
    let (_folder, _, ledger) = lenient(&[first, second], None).unwrap();
    let found: u64 = ledger.overlaps.iter().map(|overlap| overlap.cells).sum();
    assert_eq!(found, expected, "{files:?}");
}

#[test]
fn copies_under_other_names_of_genes() {
    let scenic = "data/14_scenic_loom_mex";
    let ids = format!("{scenic}/filtered_gene_bc_matrices");
    found([&ids, &format!("{scenic}/expr_mat.loom")], 100);
    let pbmc = "data/02_pbmc3k_hg19/pbmc3k_f";
    let all = format!("{pbmc}iltered_gene_bc_matrices_h5.h5");
    found([&all, &format!("{pbmc}irst500_raw.h5ad")], 500);
}

#[test]
fn different_cells_are_never_copies() {
    // Chromosome 21 alone, 37 counts a cell: the hardest there is.
    for path in [
        "data/10_10x_chr21_h5_mex/filtered_feature_bc_matrix",
        "data/01_pbmc1k_v2_mex/filtered_feature_bc_matrix",
        "data/06_kang_ifnb/kang_muscat_4samples_ensembl.h5ad",
        "data/08_cellxgene_schema_real/cd4t_perturbseq_schema7.h5ad",
    ] {
        let Some(path) = shared(path) else { continue };
        let (_folder, _, ledger) = lenient(&[path], None).unwrap();
        assert_eq!(ledger.overlaps, []);
    }
}

#[test]
fn copies_inside_a_study_and_small_cells() {
    let folder = tempfile::tempdir().unwrap();
    let table = gf_corpus::Annotation::shipped().unwrap();
    let coding = table.genes().iter().filter(|gene| gene.biotype.is_protein_coding());
    let names: Vec<String> = coding.take(60).map(|gene| gene.id.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Cells 0 and 2 are equal; cells 1 and 3 too, but have only 19 genes.
    let count = |gene: usize, cell: usize| ((gene * 7 + (cell % 2) * 3) % 9 + 1).to_string();
    let n_genes = |cell: usize| if cell.is_multiple_of(2) { 60 } else { 19 };
    let entries: Vec<(usize, usize, String)> = (0..4)
        .flat_map(|cell| (0..n_genes(cell)).map(move |gene| (gene, cell, count(gene, cell))))
        .collect();
    let entries: Vec<_> = entries.iter().map(|(g, c, n)| (*g, *c, n.as_str())).collect();
    let input = Mex::new(&names, 4, &entries).write(&folder.path().join("in"), "");
    let (_folder, corpus, ledger) = lenient(std::slice::from_ref(&input), None).unwrap();
    assert_eq!(kept_and_copies(&ledger), [(3, 1)]);
    let ids: Vec<String> = corpus.blocks().flat_map(|block| block.unwrap().cell_ids).collect();
    assert_eq!(ids, ["CELL0-1", "CELL1-1", "CELL3-1"]);
    let options = IngestOptions { keep_copies: true, ..every_cell() };
    let (_folder, corpus, ledger) = run(&[input], &options).unwrap();
    assert_eq!((corpus.n_cells(), ledger.overlaps[0].cells), (4, 1));
}

fn study(id: &str, path: PathBuf, database: &str, doi: &str) -> Study {
    let dois = if doi.is_empty() { Vec::new() } else { vec![doi.parse().unwrap()] };
    Study { source_database: Some(database.to_owned()), dois, ..Study::new(id, path) }
}

#[test]
fn a_study_of_two_databases_enters_once_and_its_copies_elsewhere_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let doi = "10.1126/science.abl5197";
    let copy = disguised(&folder.path().join("copy"), true);
    let catalogue = Catalogue {
        studies: vec![
            study("first", immune(), "GEO", doi),
            study(
                "again",
                immune(),
                "CELLxGENE",
                &format!("https://doi.org/{}", doi.to_uppercase()),
            ),
            study("elsewhere", copy, "Zenodo", ""),
        ],
    };
    let out = folder.path().join("out");
    let ledger = ingest(&catalogue, &out, &IngestOptions::default(), &mut next_study).unwrap();
    balanced(&ledger);
    assert_eq!(kept_and_copies(&ledger), [(559, 0), (0, 559)]);
    let superseded = &ledger.superseded[0];
    assert_eq!((superseded.superseded.by.as_str(), superseded.n_cells), ("first", Some(559)));
    let tallies: Vec<_> = ledger
        .by_source_database()
        .into_iter()
        .map(|t| (t.source_database, t.studies, t.superseded_studies, t.cells, t.unique_cells))
        .collect();
    let tally = |name: &str, studies, superseded, unique| {
        (name.to_owned(), studies, superseded, 559, unique)
    };
    assert_eq!(
        tallies,
        [tally("CELLxGENE", 0, 1, 0), tally("GEO", 1, 0, 559), tally("Zenodo", 1, 0, 0)]
    );
    let options = IngestOptions { every_offer: true, ..IngestOptions::default() };
    let ledger = ingest(&catalogue, &out, &options, &mut next_study).unwrap();
    balanced(&ledger);
    assert_eq!(kept_and_copies(&ledger), [(559, 0), (0, 559), (0, 559)]);
    assert!(ledger.superseded.is_empty());
}

#[test]
fn malignant_cells_and_cell_lines_stay_out_of_pretraining_and_medians() {
    let Some(kang) = shared("data/06_kang_ifnb/kang_muscat_4samples_ensembl.h5ad") else { return };
    let folder = tempfile::tempdir().unwrap();
    let values = vec!["stim".to_owned()];
    let mixed = Study {
        malignant: Malignant::Where { column: "group_id".to_owned(), values },
        ..Study::new("mixed", &kang)
    };
    let plates = Study { droplet: Some(false), ..Study::new("plates", immune()) };
    let line = Study { cell_line: true, ..Study::new("line", disguised(folder.path(), false)) };
    let catalogue = Catalogue { studies: vec![mixed, plates, line] };
    let out = folder.path().join("out");
    let options = IngestOptions { keep_copies: true, ..every_cell() };
    ingest(&catalogue, &out, &options, &mut next_study).unwrap();
    let corpus = Corpus::open(&out).unwrap();
    let count = |selection| -> usize {
        corpus.select(selection).map(|block| block.unwrap().cell_ids.len()).sum()
    };
    let stimulated = crate::support::column(&corpus, "group_id");
    let stimulated = stimulated.iter().filter(|v| v.as_deref() == Some("stim")).count();
    assert!(stimulated > 100, "{stimulated}");
    assert_eq!(count(Selection::ALL), 1_556 + 559 + 559);
    assert_eq!(count(Selection::PRETRAINING), 1_556 - stimulated + 559);
    assert_eq!(count(Selection::MEDIANS), 1_556 - stimulated);
}

#[test]
fn a_catalogue_file_is_ingested() {
    let folder = tempfile::tempdir().unwrap();
    let cells = immune();
    let table = format!("id,path,source_database\nimmune,{},CellTypist\n", cells.display());
    let path = folder.path().join("studies.csv");
    write(&path, &table);
    let catalogue = Catalogue::read(&path).unwrap();
    let out = folder.path().join("out");
    let ledger = ingest(&catalogue, &out, &IngestOptions::default(), &mut next_study).unwrap();
    assert_eq!(kept_and_copies(&ledger), [(559, 0)]);
    assert_eq!(ledger.files[0].source_database.as_deref(), Some("CellTypist"));
    assert_eq!(Corpus::open(&out).unwrap().studies(), catalogue.studies);
}
