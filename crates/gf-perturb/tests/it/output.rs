//! The ranking, read back.

use gf_perturb::{
    Effect,
    output::{GeneNames, write_ranking},
    rank,
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
