//! Tokenises files of counts as `gf tokenize` does, and says how long each step took: what
//! tokens cost, without the program.
//!
//!     cargo run --release -p gf-tokenize --example tokenize_files -- \
//!         VOCAB MEDIANS OUT [--threads N] [--reference MAPPING] FILE…

use std::{error::Error, ops::ControlFlow, path::PathBuf, time::Instant};

use gf_corpus::{Cells, Collapse, FileCells, Found, GeneMap, IngestOptions, Medians, QcOptions};
use gf_tokenize::{Compat, RankEncoder, TokenizeOptions, Vocabulary, tokenize};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let threads = option(&mut paths, "--threads").and_then(|n| n.to_str()?.parse().ok());
    let mapping = option(&mut paths, "--reference");
    if paths.len() < 4 {
        return Err("usage: tokenize_files VOCAB MEDIANS OUT [OPTIONS] FILE…".into());
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build_global()?;
    let mut clock = Clock(Instant::now());
    let medians = Medians::open(&paths[1])?;
    clock.lap("medians");
    let vocabulary = Vocabulary::open(&paths[0])?;
    clock.lap("vocabulary");
    let max_len = RankEncoder::longest(&vocabulary);
    let encoder = RankEncoder::new(vocabulary, &medians, max_len)?;
    clock.lap("encoder");
    let options = ingest_options(mapping, encoder.vocabulary())?;
    let mut cells = FileCells::open(Found::under(&paths[3..])?.catalogue.studies, options.0)?;
    clock.lap("files opened");
    let options = TokenizeOptions { compat: options.1, ..TokenizeOptions::default() };
    let go_on = &mut |_| ControlFlow::Continue(());
    let report = tokenize(&mut cells, &encoder, &paths[2], &options, go_on)?;
    clock.lap("tokens");
    println!("{} of {} cells, {} tokens", report.written, cells.n_cells(), report.tokens);
    Ok(())
}

/// No cell is filtered, as in the program.
fn ingest_options(
    mapping: Option<PathBuf>,
    vocabulary: &Vocabulary,
) -> Result<(IngestOptions, Compat), Box<dyn Error>> {
    let qc = QcOptions { min_protein_coding: 0, ..QcOptions::default() };
    let mut options = IngestOptions { qc, ..IngestOptions::default() };
    let Some(mapping) = mapping else { return Ok((options, Compat::Own)) };
    let tokens = vocabulary.genes().map(|(gene, _)| gene);
    options.genes = GeneMap::reference(Some(&mapping), tokens)?;
    options.collapse = Collapse::Reference;
    options.source.gene_column = Some("ensembl_id".to_owned());
    Ok((options, Compat::Reference))
}

/// Takes an option and its value out of the arguments.
fn option(arguments: &mut Vec<PathBuf>, name: &str) -> Option<PathBuf> {
    let at = arguments.iter().position(|argument| argument.as_os_str() == name)?;
    let value = (at + 1 < arguments.len()).then(|| arguments.remove(at + 1));
    arguments.remove(at);
    value
}

/// When the last step ended.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self, step: &str) {
        println!("{step}: {:.1} ms", self.0.elapsed().as_secs_f64() * 1e3);
        self.0 = Instant::now();
    }
}
