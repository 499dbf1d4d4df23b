//! Reading counts: the same generated cells in each format.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gf_corpus::{SourceOptions, open_source};
use rust_hdf5::{H5File, H5Group, H5Type};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_CELLS: usize = 500;
const N_GENES: usize = 2_000;
const BLOCK_CELLS: usize = 512;
/// Stored values in a chunk of a vector.
const CHUNK: usize = 8_192;

/// One count in eleven is above zero.
fn count(cell: usize, gene: usize) -> u32 {
    let mixed = (cell * 7_919 + gene * 104_729) % 1_009;
    if mixed.is_multiple_of(11) { 1 + mixed as u32 % 5 } else { 0 }
}

fn cell_names() -> Vec<String> {
    (0..N_CELLS).map(|cell| format!("CELL{cell}")).collect()
}

fn gene_names() -> Vec<String> {
    (0..N_GENES).map(|gene| format!("ENSG{gene:011}")).collect()
}

/// Offsets, indices and counts of a matrix given by its rows.
fn compressed(
    n_rows: usize,
    n_columns: usize,
    count: impl Fn(usize, usize) -> u32,
) -> (Vec<i64>, Vec<i64>, Vec<i32>) {
    let (mut offsets, mut indices, mut counts) = (vec![0], Vec::new(), Vec::new());
    for row in 0..n_rows {
        for column in (0..n_columns).filter(|&column| count(row, column) > 0) {
            indices.push(column as i64);
            counts.push(count(row, column) as i32);
        }
        offsets.push(counts.len() as i64);
    }
    (offsets, indices, counts)
}

fn put<T: H5Type>(group: &H5Group, name: &str, shape: &[usize], chunk: &[usize], values: &[T]) {
    let dataset = group.new_dataset::<T>().shape(shape).chunk(chunk).deflate(4);
    dataset.create(name).unwrap().write_raw(values).unwrap();
}

fn strings(group: &H5Group, name: &str, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    group.write_vlen_strings(name, &words).unwrap();
}

fn vectors(group: &H5Group, (offsets, indices, counts): &(Vec<i64>, Vec<i64>, Vec<i32>)) {
    let put_ints = |name: &str, values: &[i64]| {
        put(group, name, &[values.len()], &[CHUNK.min(values.len())], values);
    };
    put_ints("indptr", offsets);
    put_ints("indices", indices);
    put(group, "data", &[counts.len()], &[CHUNK.min(counts.len())], counts);
}

fn frame(file: &H5File, name: &str, index: &[String]) {
    let group = file.create_group(name).unwrap();
    group.set_attr_string("_index", "_index").unwrap();
    strings(&group, "_index", index);
}

fn h5ad(path: &Path, encoding: &str) {
    let file = H5File::create(path).unwrap();
    if encoding == "array" {
        let values = (0..N_CELLS * N_GENES).map(|at| count(at / N_GENES, at % N_GENES) as f32);
        let values: Vec<f32> = values.collect();
        put(&file.root_group(), "X", &[N_CELLS, N_GENES], &[32, N_GENES], &values);
    } else {
        let group = file.create_group("X").unwrap();
        group.set_attr_string("encoding-type", encoding).unwrap();
        vectors(
            &group,
            &match encoding {
                "csr_matrix" => compressed(N_CELLS, N_GENES, count),
                _ => compressed(N_GENES, N_CELLS, |gene, cell| count(cell, gene)),
            },
        );
    }
    frame(&file, "obs", &cell_names());
    frame(&file, "var", &gene_names());
    file.close().unwrap();
}

fn tenx(path: &Path) {
    let file = H5File::create(path).unwrap();
    let group = file.create_group("matrix").unwrap();
    vectors(&group, &compressed(N_CELLS, N_GENES, count));
    put(&group, "shape", &[2], &[2], &[N_GENES as i32, N_CELLS as i32]);
    strings(&group, "barcodes", &cell_names());
    let features = group.create_group("features").unwrap();
    strings(&features, "id", &gene_names());
    strings(&features, "name", &gene_names());
    strings(&features, "feature_type", &vec!["Gene Expression".to_owned(); N_GENES]);
    file.close().unwrap();
}

fn loom(path: &Path) {
    let file = H5File::create(path).unwrap();
    let values = (0..N_CELLS * N_GENES).map(|at| count(at % N_CELLS, at / N_CELLS) as i32);
    let values: Vec<i32> = values.collect();
    put(&file.root_group(), "matrix", &[N_GENES, N_CELLS], &[64, 64], &values);
    for group in ["row_attrs", "col_attrs", "layers"] {
        file.create_group(group).unwrap();
    }
    let root = file.root_group();
    strings(&root.group("row_attrs").unwrap(), "Accession", &gene_names());
    strings(&root.group("row_attrs").unwrap(), "Gene", &gene_names());
    strings(&root.group("col_attrs").unwrap(), "CellID", &cell_names());
    file.close().unwrap();
}

fn mex(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let (offsets, genes, counts) = compressed(N_CELLS, N_GENES, count);
    let mut text = "%%MatrixMarket matrix coordinate integer general\n".to_owned();
    text += &format!("{N_GENES} {N_CELLS} {}\n", counts.len());
    for (cell, span) in offsets.windows(2).enumerate() {
        for at in span[0] as usize..span[1] as usize {
            text += &format!("{} {} {}\n", genes[at] + 1, cell + 1, counts[at]);
        }
    }
    fs::write(folder.join("matrix.mtx"), text).unwrap();
    fs::write(folder.join("barcodes.tsv"), cell_names().join("\n") + "\n").unwrap();
    let feature = |id: String| format!("{id}\t{id}\tGene Expression\n");
    let features: String = gene_names().into_iter().map(feature).collect();
    fs::write(folder.join("features.tsv"), features).unwrap();
}

fn csv(path: &Path) {
    let mut text = format!("cell,{}\n", gene_names().join(","));
    for (cell, name) in cell_names().iter().enumerate() {
        text += name;
        (0..N_GENES).for_each(|gene| text += &format!(",{}", count(cell, gene)));
        text += "\n";
    }
    fs::write(path, text).unwrap();
}

fn read(path: &Path) -> u64 {
    let mut source = open_source(path, &SourceOptions::default()).unwrap();
    let mut sum = 0;
    while let Some(block) = source.next_block(BLOCK_CELLS).unwrap() {
        sum += block.counts.values().iter().map(|&count| u64::from(count)).sum::<u64>();
    }
    sum
}

fn bench(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    h5ad(&path("csr.h5ad"), "csr_matrix");
    h5ad(&path("csc.h5ad"), "csc_matrix");
    h5ad(&path("dense.h5ad"), "array");
    tenx(&path("tenx.h5"));
    loom(&path("cells.loom"));
    mex(&path("mex"));
    csv(&path("cells.csv"));

    let mut group = c.benchmark_group("read");
    group.sample_size(10).throughput(Throughput::Elements(N_CELLS as u64));
    let expected = read(&path("csr.h5ad"));
    for name in ["csr.h5ad", "csc.h5ad", "dense.h5ad", "tenx.h5", "cells.loom", "mex", "cells.csv"]
    {
        assert_eq!(read(&path(name)), expected, "{name}");
        group.bench_function(name, |b| b.iter(|| black_box(read(&path(name)))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
