"""Reads a file of counts with scanpy and sums it by gene: what `examples/sum_by_gene`
is timed against.

    python sum_by_gene.py PATH     # .h5ad, 10x .h5, a MEX folder, .loom

Prints cells, genes, the sum of all counts, and the seconds without imports.
"""

import sys
import time

import numpy
import scanpy


def read(path):
    if path.endswith(".h5ad"):
        return scanpy.read_h5ad(path)
    if path.endswith(".h5"):
        return scanpy.read_10x_h5(path)
    if path.endswith(".loom"):
        return scanpy.read_loom(path)
    return scanpy.read_10x_mtx(path)


start = time.perf_counter()
cells = read(sys.argv[1])
sums = numpy.asarray(cells.X.sum(axis=0)).ravel()
seconds = time.perf_counter() - start
print(f"{cells.n_obs} cells, {cells.n_vars} genes, {sums.sum():.0f} counts, {seconds:.2f} s")
