//! The ranking, read back.

use gf_perturb::{
    Effect,
    output::{GeneNames, write_groups, write_ranking},
    rank,
    stats::{Observations, compare_groups},
};
use gf_tokenize::{TokenId, Vocabulary};

#[test]
fn rankings_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let genes = ["ENSG00000000003", "ENSG00000000005"].map(|id| id.parse().unwrap());
    let vocabulary = Vocabulary::from_genes(genes);
    let effect = |genes: &[u32], cosine| Effect {
        genes: genes.iter().map(|&gene| TokenId(gene)).collect(),
        cosine,
        shifts: Vec::new(),
        affected: Vec::new(),
    };
    let effects = [effect(&[4], 0.75), effect(&[4, 5], 0.5), effect(&[4], 0.25)];

    let ranking = folder.path().join("ranking.csv");
    let symbol = |id: &str| (id == "ENSG00000000003").then(|| "TSPAN6".to_owned());
    let names = GeneNames { vocabulary: &vocabulary, symbol: &symbol };
    write_ranking(&ranking, &rank(&effects), &names).unwrap();
    assert_eq!(
        std::fs::read_to_string(ranking).unwrap(),
        "Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,Cosine_shift_stdev,N_Detections\n\
         1,4,TSPAN6,ENSG00000000003,0.5,0.25,2\n\
         2,\"(4, 5)\",\"('TSPAN6', 'ENSG00000000005')\",\"('ENSG00000000003', 'ENSG00000000005')\",0.5,0,1\n"
    );
}

#[test]
fn groups_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let genes = (1..=5).map(|n| format!("ENSG{n:011}").parse().unwrap());
    let vocabulary = Vocabulary::from_genes(genes);
    // In two cells the loss of 4 moves 5 and 6 more than 7 and 8.
    let effect = |cosines: [f64; 4]| Effect {
        genes: vec![TokenId(4)],
        cosine: 0.5,
        shifts: Vec::new(),
        affected: (5..9).map(TokenId).zip(cosines).collect(),
    };
    let mut observations = Observations::new(Vec::new());
    observations.add(&effect([0.25, 0.5, 0.75, 1.0]));
    observations.add(&effect([0.75, 0.5, 1.0, 1.0]));
    let group = |name: &str, tokens: [u32; 2]| (name.to_owned(), tokens.map(TokenId).to_vec());
    let groups = [group("direct", [5, 6]), group("housekeeping", [7, 8])];
    let (effects, pairs) = compare_groups(&observations, &[TokenId(4)], &groups).unwrap();

    let [table, tests] = ["genes.csv", "tests.csv"].map(|name| folder.path().join(name));
    let symbol = |id: &str| (id == "ENSG00000000002").then(|| "TWO".to_owned());
    let names = GeneNames { vocabulary: &vocabulary, symbol: &symbol };
    write_groups(&table, &tests, &effects, &pairs, &names).unwrap();
    assert_eq!(
        std::fs::read_to_string(table).unwrap(),
        "Group,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean\n\
         direct,5,TWO,ENSG00000000002,0.5\n\
         direct,6,ENSG00000000003,ENSG00000000003,0.5\n\
         housekeeping,7,ENSG00000000004,ENSG00000000004,0.125\n\
         housekeeping,8,ENSG00000000005,ENSG00000000005,0\n"
    );
    // By hand: ranks 3 + 4 against their expectation 5, over √(2·2·5/12).
    let mut csv = csv::Reader::from_path(tests).unwrap();
    let row = csv.records().next().unwrap().unwrap();
    assert_eq!(
        row.iter().take(6).collect::<Vec<_>>(),
        ["direct", "housekeeping", "2", "2", "0.5", "0.0625"]
    );
    let numbers: Vec<f64> = row.iter().skip(6).map(|x| x.parse().unwrap()).collect();
    let z = 2.0 / (20.0_f64 / 12.0).sqrt();
    assert!((numbers[0] - z).abs() < 1e-12, "{numbers:?}");
    // Two-sided, of a standard normal: scipy.stats.norm.sf(1.5491933384829668) * 2.
    assert!((numbers[1] - 0.121_335_250_358_448_22).abs() < 1e-12, "{numbers:?}");
    assert_eq!(numbers[1], numbers[2], "one test is its own rate");
}
