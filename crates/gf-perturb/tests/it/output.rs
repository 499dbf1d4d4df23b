//! The CSV files, read back.

use gf_perturb::{
    CellShifts,
    output::{write_cell_shifts, write_ranking},
    rank,
};
use gf_tokenize::{TokenId, Vocabulary};

#[test]
fn rankings_and_shifts_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let genes = ["ENSG00000000003", "ENSG00000000005"].map(|id| id.parse().unwrap());
    let vocabulary = Vocabulary::from_genes(genes);
    let cell = |cell_id: &str, genes: &[u32], cosines: &[f64]| CellShifts {
        row: 0,
        cell_id: cell_id.to_owned(),
        genes: genes.iter().map(|&gene| TokenId(gene)).collect(),
        cosines: cosines.to_vec(),
    };
    let cells = [cell("a,1", &[4, 5], &[0.75, 0.5]), cell("b", &[4], &[0.25])];

    let ranking = folder.path().join("ranking.csv");
    let symbol = |id: &str| (id == "ENSG00000000003").then(|| "TSPAN6".to_owned());
    write_ranking(&ranking, &rank(&cells), &vocabulary, symbol).unwrap();
    assert_eq!(
        std::fs::read_to_string(ranking).unwrap(),
        "Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,Cosine_shift_stdev,N_Detections\n\
         1,4,TSPAN6,ENSG00000000003,0.5,0.25,2\n\
         2,5,ENSG00000000005,ENSG00000000005,0.5,0,1\n"
    );

    let shifts = folder.path().join("cell_shifts.csv");
    write_cell_shifts(&shifts, &cells, &vocabulary).unwrap();
    assert_eq!(
        std::fs::read_to_string(shifts).unwrap(),
        "cell_id,Gene,Ensembl_ID,Cosine_sim\n\
         \"a,1\",4,ENSG00000000003,0.75\n\
         \"a,1\",5,ENSG00000000005,0.5\n\
         b,4,ENSG00000000003,0.25\n"
    );
}
