//! Every gene of one cell is deleted in turn; the largest effects are printed.
//!
//! After `cargo xtask demo`:
//! `cargo run --release -p gf-examples --example delete_genes -- \
//!     target/demo/pretrain/model target/demo/immune.dataset`

use std::{env, error::Error, ops::ControlFlow, path::PathBuf};

use burn_flex::{Flex, FlexDevice};
use gf_embed::CellReader;
use gf_model::checkpoint::load_encoder;
use gf_perturb::{CellShifts, PerturbOptions, rank, run};
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
    let options = PerturbOptions::new(config.max_position_embeddings);
    let mut go_on = |_| ControlFlow::Continue(());
    let mut effects = Vec::new();
    let mut take = |cell: CellShifts| {
        effects.extend(cell.effects);
        Ok(())
    };
    run(&encoder.pack(), &reader, &[row], &options, &FlexDevice, &mut go_on, &mut take)?;
    println!("cell {}, {} genes", dataset.cell_id(row)?, effects.len());
    for effect in rank(&effects).iter().take(10) {
        let name = vocabulary.name(effect.genes[0]).unwrap_or_default();
        println!("{name}  1 − cosine = {:.3e}", effect.mean_shift);
    }
    Ok(())
}
