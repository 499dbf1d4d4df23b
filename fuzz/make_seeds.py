"""Writes small valid files of every format into fuzz/seeds/TARGET/.

Run with a Python that has anndata, loompy and h5py; the shard comes from our
own ingest (README.md).
"""

import gzip
import pickle
import shutil
from collections import OrderedDict, defaultdict
from pathlib import Path

import anndata
import h5py
import loompy
import numpy as np
import pandas as pd
import scipy.sparse as sp

SEEDS = Path(__file__).parent / "seeds"
SYMBOLS = ["ACTB", "GAPDH", "CD3D", "CD3E", "MS4A1", "NKG7", "LYZ", "CD14", "CD8A", "CD4"]
IDS = [f"ENSG00000{n}" for n in ["075624", "111640", "167286", "198851", "156738",
                                 "105374", "090382", "170458", "153563", "010610"]]
CELLS = [f"CELL{n}-1" for n in range(4)]
COUNTS = np.random.default_rng(1).poisson(2, (4, 10)) + np.eye(4, 10, dtype=int)


def folder(target):
    path = SEEDS / target
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def h5ad():
    out = folder("h5ad")
    obs = pd.DataFrame({"kind": pd.Categorical(list("abab")), "depth": np.arange(4.0)}, CELLS)
    var = pd.DataFrame({"symbol": SYMBOLS}, IDS)
    def save(name, x, **more):
        data = anndata.AnnData(x, obs, var, **more.pop("parts", {}))
        data.write_h5ad(out / f"{name}.h5ad", **more)
    save("csr", sp.csr_matrix(COUNTS.astype("f4")))
    save("csc_gzip", sp.csc_matrix(COUNTS.astype("i4")), compression="gzip")
    dense = COUNTS.astype("f4")
    save("layer", np.log1p(dense), parts={"layers": {"counts": sp.csr_matrix(dense)}})
    with h5py.File(out / "old.h5ad", "w") as f:
        f.create_dataset("X", data=dense, chunks=(2, 5), compression="lzf", shuffle=True)
        rows = [("index", "S8"), ("depth", "f4")]
        f["obs"] = np.array([(c, 1) for c in CELLS], rows)
        f["var"] = np.array([(s, 1) for s in SYMBOLS], rows)
    with h5py.File(out / "latest.h5ad", "w", libver="latest") as f:
        x = f.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0",
                        "shape": COUNTS.shape})
        m = sp.csr_matrix(COUNTS)
        for name in ["data", "indices", "indptr"]:
            x.create_dataset(name, data=getattr(m, name).astype("u2"), chunks=(3,),
                             maxshape=(None,), fletcher32=True)
        for name, index in [("obs", CELLS), ("var", SYMBOLS)]:
            frame = f.create_group(name)
            frame.attrs["_index"] = "_index"
            frame["_index"] = index


def loom():
    out = folder("loom")
    rows = {"Gene": np.array(SYMBOLS), "Accession": np.array(IDS)}
    cols = {"CellID": np.array(CELLS), "Age": np.arange(4)}
    loompy.create(str(out / "v3.loom"), COUNTS.T, rows, cols)
    with h5py.File(out / "plain.loom", "w") as f:
        f["matrix"] = COUNTS.T.astype("u2")
        f["row_attrs/Gene"] = np.array(SYMBOLS, "S")
        f["col_attrs/CellID"] = np.array(CELLS, "S")


def tenx_h5():
    out = folder("tenx_h5")
    m = sp.csr_matrix(COUNTS)
    def parts(group, **more):
        group["barcodes"] = np.array(CELLS, "S")
        group["shape"] = np.array([10, 4], "i4")
        group.create_dataset("data", data=m.data.astype("i4"), chunks=(8,), compression="gzip")
        group.create_dataset("indices", data=m.indices.astype("i8"), chunks=(8,))
        group["indptr"] = m.indptr.astype("i8")
    with h5py.File(out / "v3.h5", "w") as f:
        group = f.create_group("matrix")
        parts(group)
        kinds = ["Gene Expression"] * 9 + ["Antibody Capture"]
        features = {"id": IDS, "name": SYMBOLS, "feature_type": kinds, "genome": ["GRCh38"] * 10}
        for name, values in features.items():
            group[f"features/{name}"] = np.array(values, "S")
    with h5py.File(out / "v2.h5", "w") as f:
        group = f.create_group("GRCh38")
        parts(group)
        group["genes"] = np.array(IDS, "S")
        group["gene_names"] = np.array(SYMBOLS, "S")
    with h5py.File(out / "vlen.h5", "w") as f:
        group = f.create_group("GRCh38")
        parts(group)
        group["genes"] = IDS
        group["gene_names"] = SYMBOLS


def table(sep, corner, ids):
    head = sep.join(([corner] if corner is not None else []) + CELLS)
    rows = [sep.join([name, *map(str, column)]) for name, column in zip(ids, COUNTS.T)]
    return "\n".join([head, *rows, ""]).encode()


def delimited():
    out = folder("delimited")
    (out / "cells.csv").write_bytes(table(",", "", IDS))
    (out / "no_corner.tsv").write_bytes(table("\t", None, SYMBOLS))
    (out / "quoted.csv").write_bytes(table(",", '"gene"', [f'"{s}"' for s in SYMBOLS]))
    rows = [",".join([cell, *map(str, row)]) for cell, row in zip(CELLS, COUNTS)]
    (out / "by_cell.csv").write_bytes("\n".join([",".join(["id", *IDS]), *rows]).encode())
    (out / "cells.csv.gz").write_bytes(gzip.compress(table(",", "", IDS)))


def mex():
    out = folder("mex")
    entries = [(g + 1, c + 1, COUNTS[c, g]) for c in range(4) for g in range(10) if COUNTS[c, g]]
    lines = [f"10 4 {len(entries)}", *(f"{g} {c} {n}" for g, c, n in entries)]
    matrix = "%%MatrixMarket matrix coordinate integer general\n%\n" + "\n".join(lines)
    v3 = "\n".join(f"{i}\t{s}\tGene Expression" for i, s in zip(IDS, SYMBOLS))
    v2 = "\n".join(f"{i}\t{s}" for i, s in zip(IDS, SYMBOLS))
    for name, features in [("v3", v3), ("v2", v2)]:
        (out / name).write_bytes("\n--\n".join([matrix, features, "\n".join(CELLS)]).encode())
    parts = [matrix.replace("integer", "real"), v3, "\n".join(CELLS)]
    (out / "gzip").write_bytes(b"\n--\n".join(gzip.compress(p.encode()) for p in parts))


def pickles():
    out = folder("pickle")
    values = {"tokens": {"<pad>": 0, **{i: n + 2 for n, i in enumerate(IDS[:4])}},
              "medians": defaultdict(float, {IDS[0]: 1.5, IDS[1]: np.float64(2.5)}),
              "nested": OrderedDict(a=[1, -2.5, None, True], b=({"x"}, b"bytes", 1 << 40))}
    for name, value in values.items():
        for protocol in range(6):
            (out / f"{name}_{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))


def texts():
    out = folder("gene_map")
    pairs = list(zip(SYMBOLS, IDS))
    text = "\n".join(["name\tensembl_id", *map("\t".join, pairs), ""]).encode()
    (out / "map.tsv").write_bytes(text)
    (out / "map.tsv.gz").write_bytes(gzip.compress(text))
    (out / "map.pkl").write_bytes(pickle.dumps(dict(pairs), 4))
    out = folder("medians")
    rows = "".join(f"{i}\t{1.5 + n}\n" for n, i in enumerate(IDS))
    (out / "medians.tsv").write_text("ensembl_id\tnonzero_median\n" + rows)
    sketch = "#gf-corpus median sketch\tversion 1\t7 mantissa bits\t4 cells\n"
    sketch += "".join(f"{i}\t{130_944 + 64 * n}\t1 0 2\n" for n, i in enumerate(IDS[:4]))
    (out / "sketch.tsv").write_text(sketch)
    (out / "sketch.tsv.gz").write_bytes(gzip.compress(sketch.encode()))


def catalogue():
    out = folder("catalogue")
    head = ["id", "path", "source_database", "accession", "doi", "organ", "assay", "malignant"]
    rows = [["a", "a.h5ad", "GEO", "GSE1", "10.1038/s41586-023-06139-9", "lung", "10x", "no"],
            ["b", "b.loom", "HCA", "X", "https://doi.org/10.1038/S41586-023-06139-9.", "", "", ""]]
    for name, sep in [("tabs.tsv", "\t"), ("commas.csv", ",")]:
        (out / name).write_text("\n".join(sep.join(row) for row in [head, *rows]) + "\n")
    toml = "".join("[[study]]\n" + "".join(f'{k} = "{v}"\n' for k, v in zip(head, row) if v)
                   for row in rows)
    (out / "studies.toml").write_text(toml)
    (out / "least.tsv").write_text("path\na.h5ad\n")


def zarr():
    """The folders that the tests read, each as one file."""
    out = folder("zarr")
    fixtures = Path(__file__).parent.parent / "crates/gf-corpus/tests/fixtures/zarr"
    for store in sorted(fixtures.glob("*.zarr")):
        files = sorted(path for path in store.rglob("*") if path.is_file())
        named = [(str(path.relative_to(store)).encode(), path.read_bytes()) for path in files]
        parts = [b"\n--\n" + name + b"\n" + content for name, content in named]
        (out / store.stem).write_bytes(b"".join(parts))


for make in [h5ad, loom, tenx_h5, delimited, mex, pickles, texts, catalogue, zarr]:
    make()
