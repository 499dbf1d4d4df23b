//! Laws that hold for any counts.

use std::collections::BTreeMap;

use gf_corpus::{CountMatrix, GeneId};
use proptest::prelude::*;

use crate::support::{Mex, SYMBOLS, every_cell, run, triplets};

const N_GENES: u32 = 12;

fn entries() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((0..N_GENES, 0u32..1000), 0..40)
}

proptest! {
    #[test]
    fn rows_sum_their_duplicates(rows in prop::collection::vec(entries(), 0..8)) {
        let mut counts = CountMatrix::new(N_GENES as usize);
        for row in &rows {
            counts.push_row(row.clone()).unwrap();
        }
        prop_assert_eq!(counts.n_cells(), rows.len());
        for (row, (genes, values)) in rows.iter().zip(counts.rows()) {
            let mut sums = BTreeMap::new();
            for (gene, count) in row {
                *sums.entry(*gene).or_insert(0) += count;
            }
            sums.retain(|_, sum| *sum > 0);
            let found: BTreeMap<u32, u32> = genes.iter().copied().zip(values.iter().copied()).collect();
            prop_assert!(genes.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(found, sums);
        }
    }

    #[test]
    fn pushed_rows_satisfy_every_promise(rows in prop::collection::vec(entries(), 0..8)) {
        let mut counts = CountMatrix::new(N_GENES as usize);
        for row in rows {
            counts.push_row(row).unwrap();
        }
        let parts = (counts.indptr().to_vec(), counts.indices().to_vec(), counts.values().to_vec());
        let again = CountMatrix::from_parts(parts.0, parts.1, parts.2, N_GENES as usize).unwrap();
        prop_assert_eq!(&again, &counts);
        let mut twice = again;
        twice.append(&counts);
        prop_assert_eq!(twice.n_cells(), 2 * counts.n_cells());
        for cell in 0..counts.n_cells() {
            prop_assert_eq!(twice.row(cell + counts.n_cells()), counts.row(cell));
        }
    }

    #[test]
    fn ids_read_back(number in 0u64..99_999_999_999, version in 1u32..100) {
        let text = format!("ENSG{number:011}");
        let id: GeneId = text.parse().unwrap();
        prop_assert_eq!(id.to_string(), text.clone());
        prop_assert_eq!(GeneId::from_versioned(&format!("{text}.{version}")), Some(id));
        prop_assert_eq!(serde_json::to_string(&id).unwrap(), format!("{text:?}"));
        prop_assert_eq!(serde_json::from_str::<GeneId>(&format!("{text:?}")).unwrap(), id);
    }

    #[test]
    fn no_text_makes_an_id_panic(text in "(ENSG|ENSGR|ENSMUSG)?[0-9Rµ.]{0,14}") {
        if let Some(id) = GeneId::new(&text) {
            prop_assert_eq!(&id.to_string(), &text);
        }
        let _ = GeneId::from_versioned(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ingest_and_corpus_are_a_round_trip(
        cells in prop::collection::vec(prop::collection::vec((0..SYMBOLS.len(), 1u32..5000), 1..12), 1..20),
        shuffled in any::<bool>(),
    ) {
        let mut lines: Vec<(usize, usize, String)> = Vec::new();
        let mut expected: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (cell, entries) in cells.iter().enumerate() {
            for (gene, count) in entries {
                lines.push((*gene, cell, count.to_string()));
                *expected.entry((cell, *gene)).or_default() += u64::from(*count);
            }
        }
        if shuffled {
            lines.sort();
        }
        let lines: Vec<(usize, usize, &str)> = lines.iter().map(|(g, c, n)| (*g, *c, n.as_str())).collect();
        let folder = tempfile::tempdir().unwrap();
        let input = Mex::new(&SYMBOLS, cells.len(), &lines).write(folder.path(), "");
        let options = gf_corpus::IngestOptions { keep_copies: true, ..every_cell() };
        let (_folder, corpus, _) = run(&[input], &options).unwrap();
        let place: BTreeMap<String, usize> =
            corpus.genes().iter().enumerate().map(|(at, gene)| (gene.id.to_string(), at)).collect();
        let found: BTreeMap<(usize, usize), u64> = triplets(&corpus)
            .into_iter()
            .map(|((cell, gene), n)| ((cell[4..cell.len() - 2].parse().unwrap(), place[&gene]), n))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
