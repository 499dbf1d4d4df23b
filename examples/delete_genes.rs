//! Every gene of one cell is deleted in turn; the largest effects are printed.
//!
//! After `cargo xtask demo`:
//! `cargo run --release -p gf-examples --example delete_genes -- \
//!     target/demo/pretrain/model target/demo/immune.dataset`

use std::{env, error::Error, ops::ControlFlow, path::PathBuf};

use burn_flex::{Flex, FlexDevice};
use gf_embed::CellReader;
use gf_model::checkpoint::load_encoder;
use gf_perturb::{PerturbOptions, rank, run};
use gf_tokenize::Dataset;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, data] = paths.as_slice() else {
        return Err("expected two folders: MODEL DATASET".into());
    };
    let (config, encoder) = load_encoder::<Flex>(model, &FlexDevice)?;
    let dataset = Dataset::open(data)?;
    let vocabulary = dataset.vocabulary().ok_or("the data set holds no vocabulary.tsv")?;
    let reader = CellReader::new(&config, &dataset, vocabulary)?;

    // The shortest cell: its deletions are the fewest and the cheapest.
    let Some(&row) = dataset.longest_first(0..dataset.len())?.last() else {
        return Err("the data set is empty".into());
    };
    let options = PerturbOptions::default();
    let mut go_on = |_| ControlFlow::Continue(());
    let cells = run(&encoder, &reader, &[row], &options, &FlexDevice, &mut go_on)?;
    println!("cell {}, {} genes", dataset.cell_id(row)?, cells[0].genes.len());
    for effect in rank(&cells).iter().take(10) {
        let name = vocabulary.name(effect.gene).unwrap_or_default();
        println!("{name}  1 − cosine = {:.3e}", effect.mean_shift);
    }
    Ok(())
}
