//! UMAP as a whole; its graph is tested where it is made.

use gf_embed::{Error, umap};
use ndarray::Array2;

/// Two clouds far apart, on a lattice so that no two points are the same.
fn clouds() -> Array2<f32> {
    Array2::from_shape_fn((60, 4), |(i, j)| {
        let apart = if i < 30 { 0.0 } else { 50.0 };
        apart + ((i * (2 * j + 3) * 7) % 31) as f32 / 10.0
    })
}

#[test]
fn clouds_stay_apart() {
    let points = umap(clouds().view(), 1).unwrap();
    let distance =
        |a: usize, b: usize| (points[a][0] - points[b][0]).hypot(points[a][1] - points[b][1]);
    for a in 0..60 {
        let others = (0..60).filter(|&b| b != a);
        let nearest = others.min_by(|&b, &c| distance(a, b).total_cmp(&distance(a, c)));
        assert_eq!(nearest.unwrap() < 30, a < 30, "the neighbour of {a}");
    }
}

#[test]
fn the_seed_alone_decides() {
    let map = |seed, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| umap(clouds().view(), seed).unwrap())
    };
    assert_eq!(map(1, 1), map(1, 3));
    assert_ne!(map(1, 1), map(2, 1));
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    for values in [clouds().slice(ndarray::s![..3, ..]).to_owned(), Array2::ones((9, 4))] {
        let error = umap(values.view(), 1).unwrap_err();
        assert!(matches!(error, Error::NoMap { width: 4, least: 4, .. }), "{error}");
    }
}
