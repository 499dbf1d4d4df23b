//! CSV files of the reference's EmbExtractor (shared/golden/ref/emb_v2, INDEX.md
//! A8) on 43 cells with the tiny_v2 model.

use std::{cmp::Reverse, ops::ControlFlow, path::Path};

use burn_flex::{Flex, FlexDevice};
use gf_embed::{CellReader, EmbedLayer, EmbedOptions, cls_embeddings};
use gf_model::checkpoint::load_encoder;
use gf_tokenize::{Dataset, Vocabulary};

/// INDEX.md: measured difference of f32 and f64 runs, with a margin.
const TOLERANCE: f32 = 5e-5;

#[test]
fn cls_embeddings_of_both_layers() {
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
    // The reference sorts by length, longest first, keeping the order of equal lengths.
    let mut rows: Vec<usize> = (0..dataset.len()).collect();
    rows.sort_by_key(|&row| Reverse(dataset.length(row).unwrap()));

    for (layer, file) in
        [(EmbedLayer::SecondToLast, "cls_layer-1.csv"), (EmbedLayer::Last, "cls_layer0.csv")]
    {
        let options = EmbedOptions { layer, ..EmbedOptions::default() };
        let mut go_on = |_| ControlFlow::Continue(());
        let found =
            cls_embeddings(&encoder, &reader, &rows, &options, &FlexDevice, &mut go_on).unwrap();
        let mut csv = csv::Reader::from_path(reference.join("emb_v2").join(file)).unwrap();
        let mut n_rows = 0;
        for (row, record) in csv.records().enumerate() {
            let record = record.unwrap();
            for (column, value) in found.values.row(row).iter().enumerate() {
                let expected: f32 = record[column + 1].parse().unwrap();
                let difference = (value - expected).abs();
                assert!(
                    difference <= TOLERANCE,
                    "{file} row {row}, {column}: {value}, expected {expected}"
                );
            }
            n_rows += 1;
        }
        assert_eq!(n_rows, found.values.nrows(), "{file}");
    }
}
