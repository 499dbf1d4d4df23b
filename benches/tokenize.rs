//! Rank value encoding of the shipped cells, saving included.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{ops::ControlFlow, path::Path};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gf_corpus::{Corpus, CorpusCells, Found, IngestOptions, Selection, ingest, nonzero_medians};
use gf_tokenize::{RankEncoder, TokenizeOptions, Vocabulary, tokenize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn bench(c: &mut Criterion) {
    let cells = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/immune_559");
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("corpus");
    let catalogue = Found::under(&[cells]).unwrap().catalogue;
    let go_on = &mut |_: &_, _| ControlFlow::Continue(());
    ingest(&catalogue, &folder, &IngestOptions::default(), go_on).unwrap();
    let corpus = Corpus::open(&folder).unwrap();
    let medians =
        nonzero_medians(&corpus, Selection::ALL, &mut |_| ControlFlow::Continue(())).unwrap();
    let vocabulary = Vocabulary::from_genes(medians.iter().map(|(gene, _)| gene));
    let encoder = RankEncoder::new(vocabulary, &medians, 4_096).unwrap();
    let out = scratch.path().join("cells.dataset");

    let mut group = c.benchmark_group("tokenize");
    group.throughput(Throughput::Elements(corpus.n_cells() as u64));
    group.bench_function("immune_559", |b| {
        b.iter(|| {
            let options = TokenizeOptions::default();
            let mut cells = CorpusCells::new(&corpus, Selection::ALL);
            tokenize(&mut cells, &encoder, &out, &options, &mut |_| ControlFlow::Continue(()))
                .unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
