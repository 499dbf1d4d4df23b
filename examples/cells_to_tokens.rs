//! Raw counts of the shipped cells become ranked gene tokens.
//!
//! `cargo run --release -p gf-examples --example cells_to_tokens`

use std::{error::Error, ops::ControlFlow, path::Path};

use gf_corpus::{Annotation, Corpus, Found, IngestOptions, Selection, ingest, nonzero_medians};
use gf_tokenize::{CellCounts, RankEncoder, TokenId, Vocabulary};

fn main() -> Result<(), Box<dyn Error>> {
    let cells = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/immune_559");
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("corpus");
    let catalogue = Found::under(&[cells])?.catalogue;
    let go_on = &mut |_: &_, _| ControlFlow::Continue(());
    ingest(&catalogue, &folder, &IngestOptions::default(), go_on)?;
    let corpus = Corpus::open(&folder)?;
    let medians = nonzero_medians(&corpus, Selection::MEDIANS, &mut |_| ControlFlow::Continue(()))?;

    let coding = corpus.genes().iter().filter(|gene| gene.biotype.is_protein_coding());
    let detected = coding.map(|gene| gene.id).filter(|&id| medians.get(id).is_some());
    let encoder = RankEncoder::new(Vocabulary::from_genes(detected), &medians, 4_096)?;
    let columns = encoder.gene_columns(corpus.genes().iter().map(|gene| gene.id));

    let annotation = Annotation::shipped()?;
    let symbol = |token: TokenId| {
        let gene = encoder.vocabulary().gene(token).and_then(|id| annotation.gene(id));
        gene.map_or("", |gene| gene.symbol)
    };
    let Some(block) = corpus.blocks().next().transpose()? else { return Ok(()) };
    for cell in 0..block.cell_ids.len().min(5) {
        let (genes, counts) = block.counts.row(cell);
        let counts = CellCounts { genes, counts, total: block.totals[cell] };
        let Some(encoding) = encoder.encode(&columns, counts) else { continue };
        // Token 0 is <cls>: the genes begin behind it.
        let tokens = encoding.tokens.tokens();
        let first: Vec<&str> = tokens.iter().skip(1).take(8).map(|&token| symbol(token)).collect();
        println!("{}: {} tokens, {} …", block.cell_ids[cell], tokens.len(), first.join(" > "));
    }
    Ok(())
}
