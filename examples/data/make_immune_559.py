"""Writes immune_559/ (10x MEX, v3 layout, gzip) from the wheel of celltypist 1.7.1.

    python make_immune_559.py celltypist-1.7.1-py3-none-any.whl immune_559

Standard library only. The same wheel gives the same bytes.
"""

import csv
import gzip
import io
import os
import sys
import zipfile

TABLE = "celltypist/data/samples/sample_cell_by_gene.csv"
# The table's counts went through floating point: 0.999999999999999 is a 1.
NOISE = 1e-6


def cells(wheel):
    """The header's gene symbols, then (cell name, [(gene index, count)])."""
    with zipfile.ZipFile(wheel) as archive, archive.open(TABLE) as raw:
        rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8"))
        yield next(rows)[1:]
        for name, *values in rows:
            yield name, [(i, count(v, name)) for i, v in enumerate(values) if count(v, name)]


def count(text, cell):
    if text in ("0", "0.0"):
        return 0
    value = float(text)
    rounded = round(value)
    if rounded < 0 or abs(value - rounded) >= NOISE:
        sys.exit(f"cell {cell}: {text} is not a count")
    return rounded


def write(folder, name, lines):
    with open(os.path.join(folder, name), "wb") as file:
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as stream:
            stream.write("".join(line + "\n" for line in lines).encode())


def main(wheel, folder):
    rows = cells(wheel)
    genes = next(rows)
    table = list(rows)
    n_entries = sum(len(entries) for _, entries in table)
    triplets = [
        f"{gene + 1} {column} {n}"
        for column, (_, entries) in enumerate(table, start=1)
        for gene, n in entries
    ]
    head = ["%%MatrixMarket matrix coordinate integer general", "%"]
    size = f"{len(genes)} {len(table)} {n_entries}"
    os.makedirs(folder, exist_ok=True)
    write(folder, "barcodes.tsv.gz", [name for name, _ in table])
    write(folder, "features.tsv.gz", [f"{g}\t{g}\tGene Expression" for g in genes])
    write(folder, "matrix.mtx.gz", head + [size] + triplets)


if __name__ == "__main__":
    main(*sys.argv[1:])
