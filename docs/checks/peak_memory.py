"""Shows that the memory which reading takes does not grow with the cells: writes one
file of counts and another with ten times its cells, in each format, reads both with
`examples/sum_by_gene` and prints both peaks and their ratio.

    cargo build --release -p gf-corpus --example sum_by_gene
    python peak_memory.py target/release/examples/sum_by_gene COUNTS.h5 [CELLS [FORMAT ...]]

COUNTS.h5 is a 10x HDF5 file whose cells are repeated (2,000 and 20,000 of them unless
CELLS is given). Formats: csr csc dense gzip tenx loom mex zarr zarr3; `gzip` is a compressed
CSR, `zarr` and `zarr3` are CSR in zarr format 2 and 3.
"""

import gzip
import pathlib
import subprocess
import sys
import tempfile

import anndata
import h5py
import numpy
import pandas
import scanpy

FORMATS = ["csr", "csc", "dense", "gzip", "tenx", "loom", "mex", "zarr", "zarr3"]
NAMES = {"tenx": "cells.h5", "loom": "cells.loom", "mex": "mex", "zarr": "cells.zarr", "zarr3": "cells.zarr"}


def cells_of(counts, n):
    rows = counts.X.tocsr()[numpy.arange(n) % counts.n_obs]
    rows.sort_indices()
    return rows


def write_tenx(path, rows, genes):
    """As Cell Ranger does: gzip 4, chunks of 80,000."""
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")

        def put(group, name, values):
            values = numpy.asarray(values)
            chunks = (min(80_000, len(values)),)
            group.create_dataset(name, data=values, chunks=chunks, compression=4)

        put(group, "data", rows.data.astype("i4"))
        put(group, "indices", rows.indices.astype("i8"))
        put(group, "indptr", rows.indptr.astype("i8"))
        put(group, "shape", numpy.array(rows.shape[::-1], "i4"))
        put(group, "barcodes", numpy.array([f"{i:012d}-1" for i in range(rows.shape[0])], "S"))
        features = group.create_group("features")
        put(features, "id", genes["gene_ids"].to_numpy().astype("S"))
        put(features, "name", genes.index.to_numpy().astype("S"))
        put(features, "feature_type", numpy.array(["Gene Expression"] * len(genes), "S"))
        put(features, "genome", numpy.array(["GRCh38"] * len(genes), "S"))


def write_loom(path, rows, genes):
    """As loompy does: genes × cells, chunks of 64 × 64, gzip 2; some columns of chunks at a time."""
    with h5py.File(path, "w") as file:
        file.attrs["LOOM_SPEC_VERSION"] = "3.0.0"
        shape = rows.shape[::-1]
        matrix = file.create_dataset("matrix", shape, "i4", chunks=(64, 64), compression=2)
        for start in range(0, rows.shape[0], 1_024):
            matrix[:, start : start + 1_024] = rows[start : start + 1_024].toarray().T
        for group in ["layers", "row_graphs", "col_graphs"]:
            file.create_group(group)
        names = [f"{i:012d}-1" for i in range(rows.shape[0])]
        file["col_attrs/CellID"] = numpy.array(names, "S")
        file["row_attrs/Accession"] = genes["gene_ids"].to_numpy().astype("S")
        file["row_attrs/Gene"] = genes.index.to_numpy().astype("S")


def write_mex(path, rows, genes):
    """As Cell Ranger does: entries cell by cell, gzip."""
    path.mkdir()
    with gzip.open(path / "barcodes.tsv.gz", "wt") as file:
        file.writelines(f"{i:012d}-1\n" for i in range(rows.shape[0]))
    with gzip.open(path / "features.tsv.gz", "wt") as file:
        pairs = zip(genes["gene_ids"], genes.index)
        file.writelines(f"{id}\t{name}\tGene Expression\n" for id, name in pairs)
    with gzip.open(path / "matrix.mtx.gz", "wt", compresslevel=1) as file:
        file.write("%%MatrixMarket matrix coordinate integer general\n%\n")
        file.write(f"{rows.shape[1]} {rows.shape[0]} {rows.nnz}\n")
        for start in range(0, rows.shape[0], 1_000):
            some = rows[start : start + 1_000].tocoo()
            columns = [some.col + 1, some.row + 1 + start, some.data]
            numpy.savetxt(file, numpy.column_stack(columns), fmt="%d")


def write_zarr(path, rows, genes, version):
    anndata.settings.zarr_write_format = version
    anndata.AnnData(rows, obs=cell_names(rows.shape[0]), var=genes).write_zarr(path)


def write(kind, path, rows, genes):
    if kind in ("tenx", "loom", "mex"):
        return {"tenx": write_tenx, "loom": write_loom, "mex": write_mex}[kind](path, rows, genes)
    if kind.startswith("zarr"):
        return write_zarr(path, rows, genes, 3 if kind == "zarr3" else 2)
    matrix = {"csc": rows.tocsc, "dense": rows.toarray}.get(kind, lambda: rows)()
    obs = cell_names(rows.shape[0])
    compression = "gzip" if kind == "gzip" else None
    anndata.AnnData(matrix, obs=obs, var=genes).write_h5ad(path, compression=compression)


def cell_names(n):
    return pandas.DataFrame(index=[f"{i:012d}-1" for i in range(n)])


def peak(program, path):
    """Peak memory in MiB, as the program reads it from the system."""
    out = subprocess.run([program, path], check=True, capture_output=True, text=True).stdout
    return int(out.split("peak ")[1].split()[0]) / 1024


def main(program, source, n=2_000, *formats):
    counts = scanpy.read_10x_h5(source)
    counts.var_names_make_unique()
    counts.X = counts.X.astype("f4")
    print("format\tcells\tMiB\tcells\tMiB\tratio")
    for kind in formats or FORMATS:
        peaks = []
        for cells in [int(n), 10 * int(n)]:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / NAMES.get(kind, "cells.h5ad")
                write(kind, path, cells_of(counts, cells), counts.var)
                peaks += [cells, peak(program, path)]
        few, small, many, large = peaks
        print(f"{kind}\t{few}\t{small:.0f}\t{many}\t{large:.0f}\t{large / small:.2f}", flush=True)


main(*sys.argv[1:])
