//! The CSV file.

use gf_embed::{Embeddings, similarity::cosine};
use proptest::prelude::*;

#[test]
fn csv_holds_the_id_and_the_exact_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emb.csv");
    let values = ndarray::array![[0.1f32, -1e-30], [1.0, 16_777_217.0]];
    let cell_ids = vec!["AAAC,1".to_owned(), "b\"q".to_owned()];
    Embeddings { cell_ids: cell_ids.clone(), values: values.clone() }.write_csv(&path).unwrap();

    let mut reader = csv::Reader::from_path(&path).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["cell_id", "0", "1"]);
    for (row, record) in reader.records().enumerate() {
        let record = record.unwrap();
        assert_eq!(&record[0], cell_ids[row]);
        let found: Vec<f32> = record.iter().skip(1).map(|field| field.parse().unwrap()).collect();
        assert_eq!(found, values.row(row).to_vec());
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let table = Embeddings { cell_ids: vec![], values: ndarray::Array2::zeros((0, 1)) };
    let error = table.write_csv(std::path::Path::new("/no/such/emb.csv")).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/emb.csv: "), "{error}");
}

/// Rounding of a handful of f64 operations.
const ROUNDING: f64 = 1e-12;

proptest! {
    #[test]
    fn cosine_is_symmetric_bounded_and_blind_to_scale(
        a in prop::collection::vec(-10.0f32..10.0, 6),
        b in prop::collection::vec(-10.0f32..10.0, 6),
    ) {
        let found = cosine(&a, &b);
        prop_assert!((found - cosine(&b, &a)).abs() <= ROUNDING);
        prop_assert!(found.abs() <= 1.0 + ROUNDING);
        let doubled: Vec<f32> = a.iter().map(|x| 2.0 * x).collect();
        prop_assume!(a.iter().any(|x| x.abs() > 1e-3));
        prop_assert!((found - cosine(&doubled, &b)).abs() <= ROUNDING);
        prop_assert!((cosine(&a, &a) - 1.0).abs() <= ROUNDING);
    }
}
