//! Unpacks the table of genes and counts its columns, so that no program has to whenever it starts.

use std::{env, error::Error, fs, io::Read, path::Path};

use flate2::read::GzDecoder;

const TABLE: &str = "data/genes.tsv.gz";
const N_COLUMNS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let mut text = String::new();
    GzDecoder::new(fs::File::open(TABLE)?).read_to_string(&mut text)?;
    if let Some(line) = text.lines().find(|line| line.split('\t').count() != N_COLUMNS) {
        return Err(format!("{TABLE}: {line:?} has not {N_COLUMNS} columns").into());
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("genes.tsv"), text)?;
    Ok(())
}
