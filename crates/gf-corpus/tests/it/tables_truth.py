"""Prints what tests/it/tables.rs expects of the shared tables (pandas)."""

import sys
import zlib

import numpy as np
import pandas as pd

DATA = sys.argv[1]
TABLES = [
    ("celseq2", "04_sc_mixology/sc_celseq2.count.csv.gz", dict(index_col=0), True),
    ("dropseq", "04_sc_mixology/sc_dropseq.count.csv.gz", dict(index_col=0), True),
    ("celltypist", "13_celltypist_cells_x_genes_csv/sample_cell_by_gene_100.csv.gz", dict(index_col=0), False),
    ("sctransform", "16_small_symbol_matrices/sctransform_pbmc_914x283.csv.gz", dict(index_col=0), True),
    ("seurat", "16_small_symbol_matrices/seurat_pbmc_raw_230x80.txt", dict(sep="\t"), True),
]

for name, path, how, by_gene in TABLES:
    table = pd.read_csv(f"{DATA}/{path}", keep_default_na=False, **how)
    table = table.T if by_gene else table
    values = np.rint(table.to_numpy(float)).astype(int)
    assert abs(values - table.to_numpy(float)).max() <= 1e-6
    sums = {}
    for cell, gene in zip(*values.nonzero()):
        key = (str(table.index[cell]).encode(), str(table.columns[gene]).encode())
        sums[key] = sums.get(key, 0) + int(values[cell, gene])
    lines = b"".join(b"%s\t%s\t%d\n" % (*key, sums[key]) for key in sorted(sums))
    print(f"""#[test]
fn {name}() {{
    check_known(&Known {{
        path: "{path}",
        n_cells: {len(table)},
        n_genes: {table.shape[1]},
        n_entries: {len(sums)},
        counts: {values.sum()},
        crc: {zlib.crc32(lines):#010x},
    }});
}}
""")
