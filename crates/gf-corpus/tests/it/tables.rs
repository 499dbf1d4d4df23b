//! Dense tables of text against pandas, entry by entry.

use std::path::Path;

use gf_corpus::{SourceOptions, open_source};

use crate::support::{Triplets, shared, write};

/// What `tests/it/tables_truth.py` (pandas 2) found in a shared file.
struct Known {
    path: &'static str,
    n_cells: usize,
    n_genes: usize,
    n_entries: usize,
    counts: u64,
    /// CRC-32 of the sorted lines `cell TAB gene TAB count`.
    crc: u32,
}

#[track_caller]
fn check_known(known: &Known) {
    let Some(path) = shared(&format!("data/{}", known.path)) else { return };
    let source = open_source(&path, &SourceOptions::default()).unwrap();
    assert_eq!((source.n_cells(), source.genes().len()), (known.n_cells, known.n_genes));
    let found = source_triplets(&path).unwrap();
    assert_eq!(found.len(), known.n_entries);
    assert_eq!(found.values().sum::<u64>(), known.counts);
    let mut crc = flate2::Crc::new();
    for ((cell, gene), count) in &found {
        crc.update(format!("{cell}\t{gene}\t{count}\n").as_bytes());
    }
    assert_eq!(crc.sum(), known.crc);
}

#[test]
fn celseq2() {
    check_known(&Known {
        path: "04_sc_mixology/sc_celseq2.count.csv.gz",
        n_cells: 274,
        n_genes: 28204,
        n_entries: 1954979,
        counts: 10321416,
        crc: 0xb88fa55f,
    });
}

#[test]
fn dropseq() {
    check_known(&Known {
        path: "04_sc_mixology/sc_dropseq.count.csv.gz",
        n_cells: 225,
        n_genes: 15127,
        n_entries: 1290921,
        counts: 5830998,
        crc: 0xdcc50871,
    });
}

#[test]
fn celltypist() {
    check_known(&Known {
        path: "13_celltypist_cells_x_genes_csv/sample_cell_by_gene_100.csv.gz",
        n_cells: 100,
        n_genes: 32786,
        n_entries: 129273,
        counts: 459580,
        crc: 0xfaffc1cb,
    });
}

#[test]
fn sctransform() {
    check_known(&Known {
        path: "16_small_symbol_matrices/sctransform_pbmc_914x283.csv.gz",
        n_cells: 283,
        n_genes: 914,
        n_entries: 82904,
        counts: 352187,
        crc: 0x9ff948dd,
    });
}

#[test]
fn seurat() {
    check_known(&Known {
        path: "16_small_symbol_matrices/seurat_pbmc_raw_230x80.txt",
        n_cells: 80,
        n_genes: 230,
        n_entries: 4456,
        counts: 19633,
        crc: 0xe0eff75d,
    });
}

/// Reads a table of that name and text.
fn read(name: &str, text: &str) -> Result<Triplets, gf_corpus::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, text);
    source_triplets(&path)
}

/// A table whose fields straddle the buffers of the reader, quoted or not.
#[test]
fn long_tables_read_by_cell_and_by_gene() {
    let n_cells = 60_000;
    let value = |cell: usize, gene: usize| (cell * 7 + gene * 3) % 1013;
    let (mut by_gene, mut by_cell) = (String::from("gene"), String::from(",TP53,GATA4\n"));
    for cell in 0..n_cells {
        by_gene += &format!(",\"cell {cell}\"");
        by_cell += &format!("\"cell {cell}\",\"{}\",{}\n", value(cell, 0), value(cell, 1));
    }
    for (gene, name) in ["TP53", "GATA4"].iter().enumerate() {
        by_gene += &format!("\n{name}");
        (0..n_cells).for_each(|cell| by_gene += &format!(",{}", value(cell, gene)));
    }
    let found = read("t.csv.gz", &by_gene).unwrap();
    assert!(found == read("t.csv", &by_cell).unwrap());
    let expected: usize = (0..n_cells).map(|cell| value(cell, 0) + value(cell, 1)).sum();
    assert_eq!(found.values().sum::<u64>(), expected as u64);
}

fn source_triplets(path: &Path) -> Result<Triplets, gf_corpus::Error> {
    let mut source = gf_corpus::open_source(path, &SourceOptions::default())?;
    let mut all = Triplets::new();
    let mut n_cells = 0;
    while let Some(block) = source.next_block(7)? {
        n_cells += block.cell_ids.len();
        for (cell, (genes, counts)) in block.cell_ids.iter().zip(block.counts.rows()) {
            for (&gene, &count) in genes.iter().zip(counts) {
                let gene = source.genes()[gene as usize].id.clone();
                *all.entry((cell.clone(), gene)).or_default() += u64::from(count);
            }
        }
    }
    assert_eq!(n_cells, source.n_cells());
    Ok(all)
}
