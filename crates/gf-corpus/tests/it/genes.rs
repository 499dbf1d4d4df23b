//! From the names of a file to genes: routes, precedence, maps.

use std::fs;

use gf_corpus::{Annotation, FileLedger, GeneId, GeneMap, Resolution, Route};
use proptest::prelude::*;

use crate::support::{Mex, lenient, shared};

/// Maps rows (an id, or id, tab and name), one count each.
#[track_caller]
fn ingest(rows: &[&str]) -> (Vec<String>, FileLedger) {
    let folder = tempfile::tempdir().unwrap();
    let entries: Vec<(usize, usize, &str)> = (0..rows.len()).map(|row| (row, 0, "1")).collect();
    let input = Mex::new(rows, 1, &entries).write(folder.path(), "");
    let (_folder, corpus, mut ledger) = lenient(&[input], None).unwrap();
    (corpus.genes().iter().map(|gene| gene.symbol.clone()).collect(), ledger.files.remove(0))
}

/// Checks the gene and the route of one row, beside a row of ACTB.
#[track_caller]
fn route(row: &str, symbol: &str, route: Route) {
    let (genes, file) = ingest(&["ENSG00000075624", row]);
    assert_eq!(genes.last().map(String::as_str), Some(symbol), "{row}");
    let rows = file.routes.get(&route).map_or(0, |tally| tally.rows);
    assert_eq!(rows, if route == Route::Ensembl { 2 } else { 1 }, "{row}: {:?}", file.routes);
}

#[test]
fn every_route() {
    route("ENSG00000141510", "TP53", Route::Ensembl);
    route("ENSG00000141510.18", "TP53", Route::Ensembl);
    route("ENSG00000141510_TP53", "TP53", Route::Ensembl);
    route("TP53_ENSG00000141510", "TP53", Route::Ensembl);
    route("ENSG00000141510|TP53", "TP53", Route::Ensembl);
    route("GRCh38______ENSG00000141510", "TP53", Route::Ensembl);
    route("ENSG00000182378_PAR_Y", "PLCXD1", Route::Ensembl);
    route("ENSGR0000182378", "ENSGR0000182378", Route::Unlisted);
    route("HGNC:11998", "TP53", Route::Hgnc);
    route("hgnc:11998", "TP53", Route::Hgnc);
    route("NCBI:7157", "TP53", Route::Ncbi);
    route("GeneID:7157", "TP53", Route::Ncbi);
    route("TP53", "TP53", Route::Symbol);
    route("hg19_TP53", "TP53", Route::Symbol);
    route("GRCh38______TP53", "TP53", Route::Symbol);
    route("MKI67IP", "NIFK", Route::Previous);
    route("HER2", "ERBB2", Route::Alias);
    route("10-Mar", "MARCHF10", Route::Previous);
}

#[test]
fn the_precedence() {
    let actb = "ENSG00000075624";
    route("GATA4\tENSG00000141510", "TP53", Route::Ensembl);
    route("HGNC:11998\tGATA4", "TP53", Route::Hgnc);
    route("GATA4\tHGNC:11998", "GATA4", Route::Symbol);
    route("nonsense\tNCBI:7157", "TP53", Route::Ncbi);
    route("AMY1\tGATA4", "GATA4", Route::Symbol);
    route("HER2\tGATA4", "ERBB2", Route::Alias);
    // Previous symbols before aliases, and both after current ones.
    let table = Annotation::shipped().unwrap();
    let sept = table.resolve("CD20");
    assert!(matches!(sept, Resolution::Found(_, Route::Previous)));
    assert!(table.gene(actb.parse().unwrap()).is_some());
}

#[test]
fn ambiguous_and_unknown_names() {
    let check = |row: &str, ambiguous: u64, unknown: u64| {
        let (_, file) = ingest(&["ACTB", row]);
        assert_eq!((file.ambiguous.rows, file.unknown.rows), (ambiguous, unknown), "{row}");
    };
    check("AMY1", 1, 0);
    check("1-Mar", 1, 0);
    check("Mar-01", 1, 0);
    check("3/1", 1, 0);
    check("7157", 0, 1);
    check("HGNC:99999999", 0, 1);
    check("mm10_Trp53", 0, 1);
    check("TBCE.1", 0, 1);
    check("ACTB.0", 0, 1);
    check("AMY1\tnonsense", 1, 0);
}

#[test]
fn names_made_unique_go_with_their_original() {
    let (genes, file) = ingest(&["TBCE", "TBCE-1", "TBCE.2", "ACTB.1", "GAPDH"]);
    assert_eq!(genes, ["TBCE", "GAPDH"]);
    assert_eq!((file.routes[&Route::Uniquified].rows, file.unknown.rows), (2, 1));
    assert_eq!((file.unknown_names.as_slice(), file.summed_rows), (&["ACTB.1".to_owned()][..], 2));
    let (_, file) = ingest(&["ACTB", "AMY1", "AMY1.1"]);
    assert_eq!(file.ambiguous.rows, 2);
}

#[test]
fn a_column_of_ncbi_ids() {
    let (genes, file) = ingest(&["7157", "60", "2626", "999999999", "672", "675"]);
    assert_eq!(genes, ["TP53", "ACTB", "GATA4", "BRCA1", "BRCA2"]);
    assert_eq!((file.routes[&Route::Ncbi].rows, file.unknown.rows), (5, 1));
    // One name among them, and none of the numbers is taken for an id.
    let (genes, file) = ingest(&["7157", "60", "2626", "672", "GAPDH"]);
    assert_eq!((genes, file.unknown.rows), (vec!["GAPDH".to_owned()], 4));
    // Row numbers beside names are not NCBI ids.
    let (genes, _) = ingest(&["1\tTP53", "2\tACTB", "3\tGATA4"]);
    assert_eq!(genes, ["TP53", "ACTB", "GATA4"]);
}

#[test]
fn the_excel_table() {
    let Some(path) = shared("data/19_gene_annotation/excel_mangled_symbols.csv") else { return };
    let text = fs::read_to_string(path).unwrap();
    let mangled: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit(',').next())
        .map(|m| m.trim_matches('"'))
        .collect();
    let rows: Vec<&str> = std::iter::once("ACTB").chain(mangled.iter().copied()).collect();
    let (_, file) = ingest(&rows);
    eprintln!("{} dates: routes {:?}, ambiguous {:?}", mangled.len(), file.routes, file.ambiguous);
    assert_eq!(file.unknown.rows, 0, "{:?}", file.unknown_names);
}

fn given(map: &GeneMap, name: &str) -> Option<String> {
    match map {
        GeneMap::Given(map) => map.get(name).map(|id| id.to_string()),
        GeneMap::Shipped => panic!("the shipped annotation"),
    }
}

#[test]
fn the_reference_maps() {
    let (Some(map), Some(tokens)) = (
        shared("dicts/ensembl_mapping_dict_gc104M.pkl"),
        shared("dicts/token_dictionary_gc104M.pkl"),
    ) else {
        return;
    };
    let whole = GeneMap::open(&map).unwrap();
    let GeneMap::Given(names) = &whole else { panic!("{whole:?}") };
    // REFERENCE.md 0.2: keys in all, and those whose value is a token.
    assert_eq!(names.len(), 173_697);
    assert_eq!(given(&whole, "gata4").as_deref(), Some("ENSG00000136574"));
    assert_eq!(given(&whole, "ENSG00000136574.5").as_deref(), Some("ENSG00000136574"));
    assert!(given(&whole, "MALAT1").is_some());
    let cut = whole.restricted_to(&tokens).unwrap();
    let GeneMap::Given(names) = &cut else { panic!("{cut:?}") };
    assert_eq!(names.len(), 91_753);
    assert_eq!(given(&cut, "MALAT1"), None);
}

#[test]
fn maps_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.tsv");
    let open = |text: &str| {
        fs::write(&path, text).unwrap();
        GeneMap::open(&path).map_err(|error| error.to_string())
    };
    let map = open("name\tensembl_id\r\nmine\tENSG00000136574.3\r\n").unwrap();
    assert_eq!(given(&map, "mine").as_deref(), Some("ENSG00000136574"));
    assert_eq!(given(&map, "MINE"), None);
    let refused = |text: &str, word: &str| {
        let message = open(text).unwrap_err();
        assert!(message.contains(word) && message.contains("map.tsv"), "{message}");
    };
    refused("mine\n", "a name, a tab");
    refused("a\tENSG00000136574\nb\tGATA4\n", "line 2");
    refused("a\tENSG00000136574\na\tENSG00000141510\n", "one id for each name");
    let pickled = folder.path().join("numbers.pkl");
    gf_corpus::pickle::write_f64_dict(&pickled, [("GATA4", 1.0)]).unwrap();
    let message = GeneMap::open(&pickled).unwrap_err().to_string();
    assert!(message.contains("GATA4") && message.contains("an Ensembl human gene id"), "{message}");
}

proptest! {
    /// What stands around an id never changes the gene.
    #[test]
    fn an_id_is_itself_whatever_stands_beside_it(number in 0u64..99_999_999_999, name in "[A-Z][A-Z0-9-]{1,8}") {
        let id = format!("ENSG{number:011}");
        let expected: GeneId = id.parse().unwrap();
        for row in [id.clone(), format!("{id}.3"), format!("{id}_{name}"), format!("{name}|{id}"), format!("hg19_{id}")] {
            let (_, file) = ingest(&["ACTB", &row]);
            prop_assert_eq!(file.mapped().rows, 2);
        }
        prop_assert_eq!(expected.to_string(), id);
    }
}
