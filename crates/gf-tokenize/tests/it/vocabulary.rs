//! Tables of tokens: what is read, what is refused, what is written.

use std::{fs, path::Path};

use gf_tokenize::{SpecialTokens, TokenId, Vocabulary};

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
