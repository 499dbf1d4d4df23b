//! Benches of the libraries: `cargo bench --profile release -p gf-benches`.
