//! Tables of tokens: what is read, what is refused, what is written.

use std::{fs, path::Path};

use gf_corpus::{Annotation, Medians};
use gf_tokenize::{RankEncoder, SpecialTokens, TokenId, Vocabulary};

use crate::support::{gene, shared};

#[test]
fn official_dictionaries() {
    check_dictionary(
        "gc104M",
        20_275,
        SpecialTokens::V2,
        &[("ENSG00000136574", 7196), ("ENSG00000293553", 20_274)],
    );
    let v1 = SpecialTokens { pad: TokenId(0), mask: TokenId(1), cls: None, eos: None };
    check_dictionary("gc30M", 25_426, v1, &[("ENSG00000136574", 7261)]);
}

fn check_dictionary(name: &str, len: usize, special: SpecialTokens, genes: &[(&str, u32)]) {
    let Some(path) = shared(&format!("dicts/token_dictionary_{name}.tsv.gz")) else { return };
    let vocabulary = Vocabulary::read_tsv(&path).unwrap();
    assert_eq!(vocabulary.len(), len);
    assert_eq!(vocabulary.special(), special);
    for &(id, token) in genes {
        let id = id.parse().unwrap();
        assert_eq!(vocabulary.id(id), Some(TokenId(token)));
        assert_eq!(vocabulary.gene(TokenId(token)), Some(id));
    }
    // Written and read again it is the same, and so is its hash.
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("vocabulary.tsv");
    vocabulary.write_tsv(&copy).unwrap();
    assert_eq!(Vocabulary::read_tsv(&copy).unwrap(), vocabulary);
}

#[test]
fn v2_layout_is_determined_by_its_genes() {
    let Some(path) = shared("dicts/token_dictionary_gc104M.tsv.gz") else { return };
    let official = Vocabulary::read_tsv(&path).unwrap();
    let mut genes: Vec<_> = official.genes().map(|(gene, _)| gene).collect();
    genes.reverse();
    genes.push(genes[0]);
    let rebuilt = Vocabulary::from_genes(genes);
    assert_eq!(rebuilt.content_hash(), official.content_hash());
    assert_eq!(rebuilt, official);
}

#[test]
fn tokens_and_genes_are_one_to_one() {
    let vocabulary = Vocabulary::from_genes([5, 3, 9, 3].map(gene));
    let pairs: Vec<_> = vocabulary.genes().collect();
    assert_eq!(pairs, [(gene(3), TokenId(4)), (gene(5), TokenId(5)), (gene(9), TokenId(6))]);
    for (gene, token) in pairs {
        assert_eq!(vocabulary.id(gene), Some(token));
        assert_eq!(vocabulary.gene(token), Some(gene));
        assert_eq!(vocabulary.name(token), Some(gene.to_string()));
    }
    assert_eq!(vocabulary.gene(TokenId(2)), None);
    assert_eq!(vocabulary.name(TokenId(7)), None);
    assert_ne!(vocabulary.content_hash(), Vocabulary::from_genes([3, 5].map(gene)).content_hash());
}

#[test]
fn refusals_name_the_place() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("v.tsv");
    let check = |text: &str, expected: &str| {
        fs::write(&path, text).unwrap();
        let error = Vocabulary::read_tsv(&path).unwrap_err().to_string();
        assert!(error.contains("v.tsv") && error.contains(expected), "{error}");
    };
    check("gene\tid\n", "line 1: expected the header");
    check("key\ttoken_id\n<pad>\t0\n<mask>\t1\nGATA4\t2\n", "line 4: expected a gene id");
    check("key\ttoken_id\n<pad>\t0\n<mask>\tone\n", "line 3");
    check("key\ttoken_id\n<pad>\t0\n<mask> 1\n", "line 3");
    check("key\ttoken_id\n<pad>\t0\n<mask>\t0\n", "line 3: <mask> = 0 repeats");
    check("key\ttoken_id\n<pad>\t0\n<pad>\t1\n", "line 3: <pad> = 1 repeats");
    check("key\ttoken_id\n<pad>\t0\n<mask>\t2\n", "token id 1 is missing");
    check("key\ttoken_id\n<pad>\t0\n", "special token <mask>");
    let absent = Vocabulary::read_tsv(Path::new("/nowhere/v.tsv")).unwrap_err().to_string();
    assert!(absent.starts_with("/nowhere/v.tsv"), "{absent}");
}

/// The original pickles say what the tables of shared/dicts say, which were made from them.
#[test]
fn original_pickles_are_their_tables() {
    let Some(dicts) = shared("dicts") else { return };
    for name in ["gc104M", "gc30M"] {
        let of = |kind: &str, end: &str| dicts.join(format!("{kind}_dictionary_{name}.{end}"));
        let vocabulary = Vocabulary::open(&of("token", "pkl")).unwrap();
        assert_eq!(vocabulary, Vocabulary::open(&of("token", "tsv.gz")).unwrap());
        let medians = Medians::open(&of("gene_median", "pkl")).unwrap();
        assert_eq!(medians, Medians::open(&of("gene_median", "tsv.gz")).unwrap());
        let encoder = |medians: &Medians| RankEncoder::new(vocabulary.clone(), medians, 2048);
        let hash = encoder(&medians).unwrap().medians_hash().to_owned();

        // The same as JSON, written as Python writes it: the shortest text of every number.
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("any.name");
        let entries = medians.iter().map(|(gene, median)| format!("\"{gene}\": {median:?}"));
        fs::write(&path, format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))).unwrap();
        assert_eq!(encoder(&Medians::open(&path).unwrap()).unwrap().medians_hash(), hash);
        let tokens = (0..vocabulary.len() as u32).map(TokenId);
        let entries =
            tokens.map(|token| format!("\"{}\": {token}", vocabulary.name(token).unwrap()));
        fs::write(&path, format!(" {{{}\n}}\n", entries.collect::<Vec<_>>().join(",\n"))).unwrap();
        assert_eq!(Vocabulary::open(&path).unwrap(), vocabulary);
    }
}

/// Every token of gc30M is reached by the gene's id of today, but where that id has a token of its
/// own (two keys of one gene) or where several former ids are keys, which is reported.
#[test]
fn no_token_of_a_retired_id_is_lost() {
    let Some(dicts) = shared("dicts") else { return };
    let vocabulary = Vocabulary::open(&dicts.join("token_dictionary_gc30M.pkl")).unwrap();
    let medians = Medians::open(&dicts.join("gene_median_dictionary_gc30M.pkl")).unwrap();
    let encoder = RankEncoder::new(vocabulary, &medians, RankEncoder::MAX_LEN_V1).unwrap();
    let table = Annotation::shipped().unwrap();
    let (mut retired, mut reached, mut reported, mut doubled) = (0, 0, 0, 0);
    for (gene, token) in encoder.vocabulary().genes() {
        let Some(today) = table.successor(gene).map(|gene| gene.id) else {
            assert_eq!(encoder.token(gene), Some(token), "{gene}");
            continue;
        };
        retired += 1;
        let ambiguous = encoder.ambiguous_genes().iter().find(|(gene, _)| *gene == today);
        match (encoder.token(today), ambiguous) {
            (Some(found), None) if found == token => reached += 1,
            (Some(found), None) => {
                assert_eq!(encoder.vocabulary().id(today), Some(found), "{gene}");
                doubled += 1;
            }
            (None, Some((_, candidates))) => {
                assert!(candidates.contains(&gene), "{gene}");
                reported += 1;
            }
            other => panic!("{gene}: {other:?}"),
        }
    }
    // Counted anew in Python from the pickle and data/genes.tsv.gz.
    assert_eq!((retired, reached, reported, doubled), (1_313, 40, 12, 1_261));
}

/// A corpus's own medians are under today's id; the vocabulary has the former one.
#[test]
fn medians_of_today_serve_former_ids() {
    // CCL5: GRCh37's id and today's.
    let [former, today] =
        ["ENSG00000161570", "ENSG00000271503"].map(|id| id.parse::<gf_corpus::GeneId>().unwrap());
    let encoder = |medians: &[(gf_corpus::GeneId, f64)]| {
        let vocabulary = Vocabulary::from_genes([former]);
        RankEncoder::from_medians(vocabulary, medians.iter().copied(), 9)
    };
    let by_today = encoder(&[(today, 2.0)]).unwrap();
    assert_eq!(by_today.token(today), Some(TokenId(4)));
    let both = encoder(&[(today, 7.0), (former, 2.0)]).unwrap();
    assert_eq!(both.medians_hash(), by_today.medians_hash());
    assert!(encoder(&[(gene(1), 2.0)]).is_err());
}

#[test]
fn dictionaries_that_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("v");
    let check = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let error = Vocabulary::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(b"{\"<pad>\": 0, \"<mask>\": -1}", "entry 2: expected a gene id");
    check(b"{\"<pad>\": 0, \"<mask>\": 1.5}", "entry 2");
    check(b"{\"<pad>\": 0, \"GATA4\": 1}", "entry 2");
    check(b"{\"<pad>\": 0, \"<pad>\": 1}", "repeats a key");
    check(
        b"{\"<pad>\": 0, \"<mask>\": [1]}",
        "found invalid type: sequence, expected a number or a text at line 1 column 24",
    );
    check(b"{\"<pad>\": 0 \"<mask>\": 1}", "expected `,`");
    check(b"{\"<pad>\": 0, \"<mask>\": 1", "EOF while parsing an object");
    check(b"{\"<pad>\": 0}{", "trailing characters");
    check(b"{", "EOF while parsing an object");
    check(b"\x80\x04N.", "a dictionary");
    check(b"\x80\x02cos\nsystem\n.", "os.system");
}
