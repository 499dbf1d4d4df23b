//! Prints a data set of tokens as text: one line a cell, `cell id <TAB> tokens`, then its other columns.
//!
//! `cargo run --release -p gf-tokenize --example show_dataset cells.dataset | head`

use std::{
    error::Error,
    io::{self, BufWriter, Write},
    path::Path,
};

use gf_tokenize::Dataset;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: show_dataset FOLDER")?;
    let dataset = Dataset::open(Path::new(&folder))?;
    let metadata: Vec<&String> = dataset
        .columns()
        .iter()
        .filter(|name| !["input_ids", "cell_id", "length"].contains(&name.as_str()))
        .collect();
    let columns: Vec<_> =
        metadata.iter().map(|name| dataset.column(name)).collect::<Result<_, _>>()?;
    let mut out = BufWriter::new(io::stdout().lock());
    for row in 0..dataset.len() {
        let tokens: Vec<String> = dataset.tokens(row)?.iter().map(i32::to_string).collect();
        write!(out, "{}\t{}", dataset.cell_id(row)?, tokens.join(" "))?;
        for (name, column) in metadata.iter().zip(&columns) {
            write!(out, "\t{name}={}", column.get(row)?.text().as_deref().unwrap_or("<missing>"))?;
        }
        writeln!(out)?;
    }
    Ok(out.flush()?)
}
