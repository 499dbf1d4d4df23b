//! Reads a file of counts of any format and sums it by gene: what reading
//! costs, without a corpus.
//!
//!     cargo run --release -p gf-corpus --example sum_by_gene -- PATH [LAYER]

use std::{path::PathBuf, process::ExitCode, time::Instant};

use gf_corpus::{Error, SourceOptions, open_source};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BLOCK_CELLS: usize = 512;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(path) = arguments.next().map(PathBuf::from) else {
        eprintln!("give the path of a file of counts");
        return ExitCode::FAILURE;
    };
    let layer = arguments.next().map(|layer| layer.to_string_lossy().into_owned());
    match sum(&path, &SourceOptions { layer, ..SourceOptions::default() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn sum(path: &std::path::Path, options: &SourceOptions) -> Result<(), Error> {
    let start = Instant::now();
    let mut source = open_source(path, options)?;
    let mut sums = vec![0u64; source.genes().len()];
    let mut n_cells = 0;
    while let Some(block) = source.next_block(BLOCK_CELLS)? {
        n_cells += block.cell_ids.len();
        for (&gene, &count) in block.counts.indices().iter().zip(block.counts.values()) {
            sums[gene as usize] += u64::from(count);
        }
    }
    let (n_genes, total): (_, u64) = (sums.len(), sums.iter().sum());
    let seconds = start.elapsed().as_secs_f64();
    println!("{n_cells} cells, {n_genes} genes, {total} counts, {seconds:.2} s, {}", peak_memory());
    Ok(())
}

/// The most memory this process has held, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "peak memory unknown".to_owned(), |peak| format!("peak {}", peak.trim()))
}
