//! Means of genes over a run in pieces.

use std::{fs, path::Path};

use gf_embed::{Error, GeneMeans, GeneStates, KeptMeans};
use gf_tokenize::TokenId;
use ndarray::{Array1, Array2};
use proptest::prelude::*;

const WIDTH: usize = 3;
const FILE: &str = ".e.csv.partial";

/// States of a cell; what decides here are their tokens and numbers.
fn cell(tokens: &[u32]) -> GeneStates {
    let value = |(i, j): (usize, usize)| (f32::from(tokens[i] as u16) + 0.3).powi(j as i32 * 5 - 4);
    GeneStates {
        rows: vec![0; tokens.len()],
        positions: (0..tokens.len()).collect(),
        tokens: tokens.iter().copied().map(TokenId).collect(),
        values: Array2::from_shape_fn((tokens.len(), WIDTH), value),
    }
}

fn add(kept: &mut KeptMeans, tokens: &[u32]) {
    kept.means.add(&cell(tokens));
    kept.n_cells += 1;
}

fn open(target: &Path, key: &str) -> KeptMeans {
    KeptMeans::open(target, key, WIDTH).unwrap()
}

fn listed(means: &GeneMeans) -> Vec<(TokenId, u64, Array1<f32>)> {
    means.iter().collect()
}

#[test]
fn means_go_on_with_the_same_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("e.csv");
    let mut kept = open(&target, "key");
    add(&mut kept, &[7, 2]);
    for _ in 0..2 {
        let error = KeptMeans::open(&target, "key", WIDTH).err().unwrap();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        kept.keep().unwrap();
    }
    let expected = listed(&kept.means);
    // Not kept: lost.
    add(&mut kept, &[2]);
    drop(kept);
    let kept = open(&target, "key");
    assert_eq!((kept.n_cells, listed(&kept.means)), (1, expected));
    drop(kept);
    let other = open(&target, "other");
    assert_eq!((other.n_cells, other.means.len()), (0, 0));
    drop(other);
    let left = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left(), 0, "a file without means was left behind");
    let mut kept = open(&target, "key");
    kept.keep().unwrap();
    add(&mut kept, &[7]);
    kept.keep().unwrap();
    kept.remove().unwrap();
    assert_eq!(left(), 0, "a removed file is there");
}

proptest! {
    /// Broken off after any cells, the means are those of a run in one piece, bit for bit.
    #[test]
    fn pieces_give_the_whole(
        cells in prop::collection::vec(prop::collection::vec(0u32..9, 0..6), 0..8),
        breaks in prop::collection::vec(any::<bool>(), 8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("e.csv");
        let mut whole = GeneMeans::default();
        cells.iter().for_each(|tokens| whole.add(&cell(tokens)));
        let mut kept = open(&target, "key");
        for (tokens, breaks) in cells.iter().zip(breaks) {
            add(&mut kept, tokens);
            if breaks {
                kept.keep().unwrap();
                drop(kept);
                kept = open(&target, "key");
            }
        }
        prop_assert_eq!(kept.n_cells, cells.len());
        prop_assert_eq!(listed(&kept.means), listed(&whole));
    }

    /// A file that is not as it was written counts for nothing.
    #[test]
    fn damage_starts_anew(cut in 0usize..200, flipped in 0usize..200) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("e.csv");
        let mut kept = open(&target, "key");
        add(&mut kept, &[7, 2]);
        kept.keep().unwrap();
        drop(kept);
        let path = folder.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let sound = bytes.clone();
        bytes.truncate(cut);
        if let Some(byte) = bytes.get_mut(flipped) {
            *byte ^= 0x10;
        }
        fs::write(&path, &bytes).unwrap();
        let kept = open(&target, "key");
        prop_assert_eq!(kept.n_cells, usize::from(bytes == sound));
    }
}
