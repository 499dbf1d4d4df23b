"""Tokens of `gf tokenize --compat reference` beside the reference's rules in numpy and scipy.

    python docs/checks/tokens_like_reference.py GF SHARED FOLDER

GF is the program, SHARED the folder with data/02_pbmc3k_hg19 and dicts, FOLDER an empty one for
what is written. pbmc3k is written as .h5ad and .loom in several number types, tokenised, and every
token list compared with what shared/design/REFERENCE.md (1.3, 1.4) says, computed here by scipy in
the file's own types, ties in the order of the columns. Needs scanpy, loompy and pyarrow.
"""

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import anndata
import loompy
import numpy as np
import pyarrow as pa
import scanpy as sc
import scipy.sparse as sp

gf, shared, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
dicts = shared / "dicts"
TOKENS, MEDIANS, MAPPING = (
    dicts / f"{name}_gc104M.pkl"
    for name in ("token_dictionary", "gene_median_dictionary", "ensembl_mapping_dict")
)
tokens, medians, mapping = (pickle.load(open(path, "rb")) for path in (TOKENS, MEDIANS, MAPPING))
mapping = {name: gene for name, gene in mapping.items() if gene in tokens}


def collapse(counts, ids, is_loom):
    """Columns by gene in the reference's order; counts keep their type."""
    mapped = [mapping.get(name.upper()) for name in ids]
    listed = {name for name in ids if name in mapping}
    kept = [at for at, gene in enumerate(mapped) if gene is not None]
    if len(listed) == len({gene for gene in mapped if gene is not None}):
        return counts[:, kept], [mapped[at] for at in kept]
    columns = {}
    for at in kept:
        columns.setdefault(mapped[at], []).append(at)
    single = [gene for gene, places in columns.items() if len(places) == 1]
    several = [gene for gene, places in columns.items() if len(places) > 1]
    order = single + (sorted(several) if is_loom else several)
    counts = counts.tocsc()
    parts = [counts[:, columns[gene]].sum(axis=1) for gene in order]
    summed = sp.csr_matrix(np.hstack(parts)).astype(counts.dtype)
    return summed, order


def expected(counts, ids, totals, is_dense, is_loom):
    counts, genes = collapse(counts, ids, is_loom)
    norm = np.array([medians[gene] for gene in genes])
    ids = np.array([tokens[gene] for gene in genes])
    for row in range(counts.shape[0]):
        n = totals[row : row + 1, None]
        if is_dense:
            values = (counts[row].toarray() / n * 10_000 / norm)[0]
            nonzero = np.nonzero(values)[0]
            values = values[nonzero]
        else:
            scaled = sp.csr_matrix(counts[row] / n * 10_000 / norm)
            scaled.sort_indices()
            nonzero, values = scaled.indices, scaled.data
        order = np.argsort(-values, kind="stable")
        yield [2, *ids[nonzero[order]][:4094], 3]


def found(path):
    files = sorted(Path(path).glob("data-*.arrow"))
    for file in files:
        for batch in pa.ipc.open_stream(pa.memory_map(str(file))):
            yield from (row.as_py() for row in batch.column("input_ids"))


def check(name, path, counts, ids, totals, is_dense=False, is_loom=False):
    out = folder / f"{name}.dataset"
    command = [gf, "tokenize", path, "--compat", "reference", "--vocab", TOKENS]
    command += ["--medians", MEDIANS, "--genes", MAPPING, "-o", out]
    start = time.time()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - start
    rows = list(found(out))
    assert len(rows) == counts.shape[0], (name, len(rows))
    different = sum(a != b for a, b in zip(rows, expected(counts, ids, totals, is_dense, is_loom)))
    print(f"{name}: {len(rows)} cells in {seconds:.2f} s, {different} differ", flush=True)
    return different


cells = sc.read_10x_h5(next((shared / "data/02_pbmc3k_hg19").glob("*.h5")))
ids = list(cells.var["gene_ids"])
raw = sp.csr_matrix(cells.X)
raw.sort_indices()
n_different = 0
for x, n in (("float32", "float64"), ("float32", "float32"), ("int32", "float32"), ("int32", "int64"),
             ("uint16", "float32")):
    counts = raw.astype(x)
    totals = np.asarray(raw.astype("float64").sum(axis=1)).ravel().astype(n)
    obs = {"n_counts": totals}
    names = [f"c{row}" for row in range(counts.shape[0])]
    for is_dense in (False, True):
        name = f"{x}_{n}_{'dense' if is_dense else 'csr'}"
        data = anndata.AnnData(counts.toarray() if is_dense else counts)
        data.obs_names, data.obs["n_counts"] = names, totals
        data.var_names = [f"g{at}" for at in range(len(ids))]
        data.var["ensembl_id"] = ids
        path = folder / f"{name}.h5ad"
        data.write_h5ad(path)
        n_different += check(name, path, counts, ids, totals, is_dense=is_dense)
    name = f"{x}_{n}_loom"
    path = folder / f"{name}.loom"
    columns = {"n_counts": totals, "CellID": np.array(names)}
    loompy.create(str(path), counts.T.toarray(), {"ensembl_id": np.array(ids)}, columns)
    n_different += check(name, path, counts, ids, totals, is_dense=True, is_loom=True)
print(json.dumps({"different": n_different}))
sys.exit(n_different > 0)
