//! From the names of a file to genes: routes, precedence, maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use gf_corpus::{
    Annotation, FileLedger, GeneId, GeneMap, IngestOptions, Resolution, Route,
    pickle::{self, Value},
};
use proptest::prelude::*;

use crate::support::{Mex, Triplets, every_cell, lenient, run, shared, text, triplets};

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
    route("ENSG00000161570", "CCL5", Route::Retired);
    route("ENSG00000161570.7_CCL5", "CCL5", Route::Retired);
    route("RP11-1143G9.4", "ENSG00000257764", Route::Previous);
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
    route("GATA4\tENSG00000141510", "TP53", Route::Ensembl);
    route("HGNC:11998\tGATA4", "TP53", Route::Hgnc);
    route("GATA4\tHGNC:11998", "GATA4", Route::Symbol);
    route("nonsense\tNCBI:7157", "TP53", Route::Ncbi);
    route("AMY1\tGATA4", "GATA4", Route::Symbol);
    route("HER2\tGATA4", "ERBB2", Route::Alias);
    // Previous symbols before aliases, and both after current ones.
    let table = Annotation::shipped().unwrap();
    assert!(matches!(table.resolve("CD20"), Resolution::Found(_, Route::Previous)));
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
fn a_retired_id_and_todays_are_one_gene() {
    let (genes, file) = ingest(&["ENSG00000161570", "ENSG00000271503"]);
    assert_eq!((genes, file.summed_rows), (vec!["CCL5".to_owned()], 1));
    assert_eq!((file.routes[&Route::Retired].rows, file.routes[&Route::Ensembl].rows), (1, 1));
}

/// Known numbers that count the rows are not NCBI ids.
#[test]
fn a_count_of_rows_is_no_column_of_ids() {
    let known = |n: &u32| {
        let found = Annotation::shipped().unwrap().resolve(&format!("NCBI:{n}"));
        matches!(found, Resolution::Found(..))
    };
    assert_eq!((1..=3000).filter(known).count(), 2210);
    let rows: Vec<String> = (1000..1400).filter(known).map(|n| n.to_string()).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).chain(["ACTB"]).collect();
    let (genes, file) = ingest(&rows);
    assert_eq!((genes, file.unknown.rows), (vec!["ACTB".to_owned()], rows.len() as u64 - 1));
}

#[test]
fn the_excel_table() {
    let Some(path) = shared("data/19_gene_annotation/excel_mangled_symbols.csv") else { return };
    let text = fs::read_to_string(path).unwrap().replace('"', "");
    let pairs: Vec<(&str, &str)> = text.lines().skip(1).filter_map(|l| l.split_once(',')).collect();
    let mangled: BTreeSet<&str> = pairs.iter().map(|(_, mangled)| *mangled).collect();
    let table = Annotation::shipped().unwrap();
    // One cell for each date tells which gene it became.
    let rows: Vec<&str> = mangled.iter().copied().collect();
    let entries: Vec<(usize, usize, &str)> = (0..rows.len()).map(|row| (row, row, "1")).collect();
    let folder = tempfile::tempdir().unwrap();
    let input = Mex::new(&rows, rows.len(), &entries).write(folder.path(), "");
    let (_folder, corpus, ledger) = lenient(&[input], None).unwrap();
    assert_eq!(ledger.files[0].unknown.rows, 0, "{:?}", ledger.files[0].unknown_names);
    let mut n_mapped = 0;
    for (cell, gene) in triplets(&corpus).into_keys() {
        n_mapped += 1;
        let date = rows[cell[4..].trim_end_matches("-1").parse::<usize>().unwrap()];
        // The table's own column has that gene among what the date may have been.
        let originals = pairs.iter().filter(|(_, mangled)| *mangled == date);
        let ids: Vec<String> = originals
            .filter_map(|(original, _)| match table.resolve(original) {
                Resolution::Found(id, _) => Some(id.to_string()),
                _ => None,
            })
            .collect();
        assert!(ids.contains(&gene), "{date} became {gene}, not one of {ids:?}");
    }
    assert_eq!((mangled.len(), n_mapped), (217, 20));
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
fn a_given_map_alone_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.tsv");
    fs::write(
        &path,
        "mine\tENSG00000136574\nENSG00000141510\tENSG00000141510\nSecond\tENSG00000075624\n",
    )
    .unwrap();
    let rows =
        ["mine", "nothing\tSecond", "ENSG00000141510.4", "GAPDH", "Gapdh", "ENSG00000161570"];
    let entries: Vec<(usize, usize, &str)> = (0..rows.len()).map(|row| (row, 0, "1")).collect();
    let input = Mex::new(&rows, 1, &entries).write(&folder.path().join("mex"), "");
    let options = IngestOptions { genes: GeneMap::open(&path).unwrap(), ..every_cell() };
    let (_folder, corpus, ledger) = run(&[input], &options).unwrap();
    let symbols: Vec<&str> = corpus.genes().iter().map(|gene| gene.symbol.as_str()).collect();
    assert_eq!(symbols, ["GATA4", "ACTB", "TP53"]);
    let file = &ledger.files[0];
    assert_eq!((file.routes.len(), file.routes[&Route::Map].rows), (1, 3));
    assert_eq!(file.unknown_names, ["GAPDH", "Gapdh", "ENSG00000161570"]);
}

/// Strings of the reference's dictionary by key.
fn dictionary(name: &str) -> Option<Vec<(String, Value)>> {
    let Value::Dict(pairs) = pickle::read(&shared(name)?).unwrap() else { panic!("{name}") };
    let entry = |pair| match pair {
        (Value::Str(key), value) => (key, value),
        other => panic!("{other:?}"),
    };
    Some(pairs.into_iter().map(entry).collect())
}

const MAP: &str = "dicts/ensembl_mapping_dict_gc104M.pkl";
const TOKENS: &str = "dicts/token_dictionary_gc104M.pkl";

/// The toy cells as the reference's map has them; `None` without the shared folder.
fn toy() -> Option<Triplets> {
    let (map, tokens) = (shared(MAP)?, shared(TOKENS)?);
    let genes = GeneMap::open(&map).unwrap().restricted_to(&tokens).unwrap();
    let options = IngestOptions { genes, ..every_cell() };
    let (_folder, corpus, ledger) =
        run(&[shared("golden/ref/tokens/toy.h5ad")?], &options).unwrap();
    let file = &ledger.files[0];
    assert!(file.routes.len() == 1 && file.unknown.rows > 0 && file.summed_rows > 0, "{file:?}");
    Some(triplets(&corpus))
}

/// REFERENCE.md 1.3: the id in capitals looked up, rows of one id summed.
#[test]
fn the_reference_map_sums_the_rows_of_a_gene() {
    let Some((((found, map), tokens), table)) = toy()
        .zip(dictionary(MAP))
        .zip(dictionary(TOKENS))
        .zip(shared("golden/ref/tokens/toy_counts.csv"))
    else {
        return;
    };
    let vocabulary: BTreeSet<String> = tokens.into_iter().map(|(name, _)| name).collect();
    let map: BTreeMap<String, String> = map
        .into_iter()
        .filter_map(|(name, id)| if let Value::Str(id) = id { Some((name, id)) } else { None })
        .filter(|(_, id)| vocabulary.contains(id))
        .collect();
    let table = text(&table);
    let mut lines = table.lines().map(|line| line.split(','));
    let heads: Vec<&str> = lines.next().unwrap().skip(1).collect();
    let mut expected = Triplets::new();
    for mut line in lines {
        let cell = line.next().unwrap();
        for (head, count) in heads.iter().zip(line) {
            let count: f64 = count.parse().unwrap();
            if let Some(id) = map.get(&head.to_uppercase()).filter(|_| count > 0.0) {
                *expected.entry((cell.to_owned(), id.clone())).or_default() += count as u64;
            }
        }
    }
    assert_eq!(found, expected);
}

/// The tokens that the reference itself gave these cells, as sets: their order
/// is the tokenizer's.
#[test]
fn the_reference_map_finds_the_reference_tokens() {
    let Some(((found, tokens), truth)) =
        toy().zip(dictionary(TOKENS)).zip(shared("golden/ref/tokens/toy_v2_tokens.json"))
    else {
        return;
    };
    let number = |value| if let Value::Int(token) = value { token } else { panic!("{value:?}") };
    let tokens: BTreeMap<String, i64> =
        tokens.into_iter().map(|(name, value)| (name, number(value))).collect();
    let mut sets = BTreeMap::<&str, BTreeSet<i64>>::new();
    for (cell, gene) in found.keys() {
        sets.entry(cell).or_default().insert(tokens[gene]);
    }
    let truth: serde_json::Value = serde_json::from_str(&text(&truth)).unwrap();
    let cells = truth.as_array().unwrap();
    assert!(cells.len() > 40, "{} cells", cells.len());
    for cell in cells {
        let name = cell["unique_cell_id"].as_str().unwrap();
        let ids = cell["input_ids"].as_array().unwrap().iter().filter_map(|id| id.as_i64());
        // Without <cls> and <eos>.
        let expected: BTreeSet<i64> = ids.filter(|id| ![2, 3].contains(id)).collect();
        assert_eq!(sets[name], expected, "{name}");
    }
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
    // Pickles of protocols 0 and 1, as Python writes them.
    let old = [
        &b"(dp0\nVmine\np1\nVENSG00000136574\np2\ns."[..],
        b"}q\x00X\x04\0\0\0MINEq\x01X\x0f\0\0\0ENSG00000136574q\x02s.",
    ];
    for (bytes, name) in old.iter().zip(["mine", "MINE"]) {
        fs::write(&path, bytes).unwrap();
        let GeneMap::Given(map) = GeneMap::open(&path).unwrap() else { panic!("shipped") };
        assert_eq!((map.len(), map.is_empty()), (1, false), "{name}");
    }
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
        let rows = [id.clone(), format!("{id}.3"), format!("{id}_{name}"), format!("{name}|{id}"), format!("hg19_{id}")];
        let rows: Vec<&str> = std::iter::once("ACTB").chain(rows.iter().map(String::as_str)).collect();
        let (genes, file) = ingest(&rows);
        prop_assert_eq!((genes.len(), file.mapped().rows, file.summed_rows), (2, 6, 4));
        prop_assert_eq!(expected.to_string(), id);
    }
}
