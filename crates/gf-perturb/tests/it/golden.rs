//! Deletions of the reference's InSilicoPerturber (shared/golden/ref/isp_v2,
//! INDEX.md A8: tag del_all_cls, three of 43 cells, tiny_v2 model).

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use burn_flex::{Flex, FlexDevice};
use gf_embed::CellReader;
use gf_model::checkpoint::load_encoder;
use gf_perturb::{PerturbOptions, rank, run};
use gf_tokenize::{Dataset, TokenId, Vocabulary};
use serde_json::Value;

/// INDEX.md: f32 cosines of near-parallel vectors.
const COSINE_TOLERANCE: f64 = 2e-5;

#[test]
fn deleting_every_gene_of_three_cells() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
    let shared = Path::new(&shared);
    let reference = shared.join("golden/ref");
    if !reference.is_dir() {
        eprintln!("SKIPPED: {} is absent", reference.display());
        return;
    }
    let (config, encoder) =
        load_encoder::<Flex>(&reference.join("model/tiny_v2"), &FlexDevice).unwrap();
    let dataset = Dataset::open(&reference.join("small/small_v2.dataset")).unwrap();
    let vocabulary =
        Vocabulary::read_tsv(&shared.join("dicts/token_dictionary_gc104M.tsv.gz")).unwrap();
    let reader = CellReader::new(&config, &dataset, &vocabulary).unwrap();

    let expected = expected_cells(&reference.join("isp_v2/del_all_cls.json"));
    assert_eq!(expected.len(), 3);
    let rows: Vec<usize> = expected.iter().map(|(genes, _)| row_of(genes, &dataset)).collect();
    let mut go_on = |_| ControlFlow::Continue(());
    let options = PerturbOptions::default();
    let found = run(&encoder, &reader, &rows, &options, &FlexDevice, &mut go_on).unwrap();
    for (cell, (genes, cosines)) in found.iter().zip(&expected) {
        assert_eq!(&cell.genes, genes);
        for ((gene, found), expected) in cell.genes.iter().zip(&cell.cosines).zip(cosines) {
            check(&format!("cell {}, token {gene}", cell.row), *found, *expected);
        }
    }

    let mut stats = csv::Reader::from_path(reference.join("isp_v2/del_all_cls_stats.csv")).unwrap();
    let effects = rank(&found);
    let effects: BTreeMap<u32, _> = effects.iter().map(|effect| (effect.gene.0, effect)).collect();
    let mut n_genes = 0;
    for record in stats.deserialize() {
        let record: BTreeMap<String, String> = record.unwrap();
        let effect = effects[&record["Gene"].parse().unwrap()];
        let cosine: f64 = record["Test_avg_shift"].parse().unwrap();
        check(&format!("mean of token {}", effect.gene), 1.0 - effect.mean_shift, cosine);
        assert_eq!(effect.n_detections.to_string(), record["N_Detections"]);
        n_genes += 1;
    }
    assert_eq!(n_genes, effects.len());
}

fn check(what: &str, found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(
        difference <= COSINE_TOLERANCE,
        "{what}: {found}, expected {expected}, differs by {difference}"
    );
}

/// Genes and cosines of each cell; the file holds a cell in the parts `Nbatch-1`
/// and `Nbatch0`.
fn expected_cells(path: &Path) -> Vec<(Vec<TokenId>, Vec<f64>)> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut cells: BTreeMap<String, (Vec<TokenId>, Vec<f64>)> = BTreeMap::new();
    for (file, entries) in json.as_object().unwrap() {
        let cell = file.rsplit("embs_").next().unwrap().split("batch").next().unwrap();
        let (genes, cosines) = cells.entry(cell.to_owned()).or_default();
        for entry in entries.as_array().unwrap() {
            genes.push(TokenId(entry[0][0].as_u64().unwrap() as u32));
            cosines.push(entry[1][0].as_f64().unwrap());
        }
    }
    cells.into_values().collect()
}

/// The row of the data set with these genes.
fn row_of(genes: &[TokenId], dataset: &Dataset) -> usize {
    let has_them = |row: &usize| {
        let tokens = dataset.tokens(*row).unwrap();
        tokens[1..tokens.len() - 1].iter().map(|&t| TokenId(t as u32)).eq(genes.iter().copied())
    };
    (0..dataset.len()).find(has_them).unwrap()
}
