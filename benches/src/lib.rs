//! Benches of the libraries: `cargo bench --workspace --bench encoder --bench tokenize`.
