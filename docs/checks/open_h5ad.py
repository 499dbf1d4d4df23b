"""Does scanpy open a file that `gf export` wrote, and find the counts of the source?

    pip install scanpy==1.11
    python open_h5ad.py EXPORT.h5ad [SOURCE]    # .h5ad, 10x .h5, a MEX folder

Sums are compared by cell id and by Ensembl id: for the cells and genes that both
have, and every count of the source in a gene that the export lacks is told.
"""

import sys

import anndata
import numpy
import pandas
import scanpy

path = sys.argv[1]
cells = scanpy.read_h5ad(path)
print(f"scanpy {scanpy.__version__}, anndata {anndata.__version__}: {cells.shape}, X {cells.X.dtype}")
print(f"obs {dict(cells.obs.dtypes.astype(str))}, obsm {list(cells.obsm)}")
assert cells.obs_names.is_unique and cells.var_names.is_unique
assert cells.X.has_canonical_format and (cells.X.data > 0).all()


def sums(data, axis):
    return numpy.asarray(data.X.sum(axis=axis)).ravel().astype(numpy.int64)


assert (numpy.diff(cells.X.indptr) == cells.obs["n_genes"]).all()
assert (sums(cells, 1) <= cells.obs["n_counts"]).all(), "mapped counts are at most all counts"


def read(source):
    if source.endswith(".h5ad"):
        return scanpy.read_h5ad(source)
    if source.endswith(".h5"):
        return scanpy.read_10x_h5(source, gex_only=False)
    return scanpy.read_10x_mtx(source, gex_only=False)


def gene_ids(var):
    columns = [name for name in ("gene_ids", "ensembl_id", "feature_id") if name in var]
    return var[columns[0]].astype(str) if columns else pandas.Series(var.index, var.index)


if len(sys.argv) > 2:
    source = read(sys.argv[2])
    genes = gene_ids(source.var).str.replace(r"\..*", "", regex=True).to_numpy()
    known = numpy.isin(genes, cells.var_names)
    by_gene = pandas.Series(sums(source[cells.obs_names], 0), genes).groupby(level=0).sum()
    ours = pandas.Series(sums(cells, 0), cells.var_names)
    both = by_gene.index.intersection(ours.index)
    differ = (by_gene[both] != ours[both]).sum()
    by_cell = pandas.Series(sums(source[:, known], 1), source.obs_names)[cells.obs_names]
    cells_differ = (by_cell.to_numpy() != sums(cells[:, both], 1)).sum()
    lost = by_gene.drop(both)
    print(f"source {source.shape}, of which {cells.n_obs} cells are in the export")
    print(f"sums of {len(both)} genes: {differ} differ; {len(lost)} genes of the source with {lost.sum()} counts are not in the export")
    print(f"sums of {cells.n_obs} cells over these genes: {cells_differ} differ; all counts {ours.sum()}")
    totals = pandas.Series(sums(source, 1), source.obs_names)[cells.obs_names]
    print(f"n_counts: {(totals.to_numpy() != cells.obs['n_counts']).sum()} differ from the source's totals")
    shared = [name for name in cells.obs if name in source.obs and name not in ("n_counts", "n_genes")]
    for name in shared:
        ours, theirs = cells.obs[name], source.obs[name].loc[cells.obs_names]
        missing = ours.isna() & theirs.isna()
        differ = (~missing & ~(ours.astype(object) == theirs.astype(object)).fillna(False)).sum()
        assert differ == 0, f"obs {name}: {differ} of {cells.n_obs} values differ"
        assert ours.isna().equals(theirs.isna()), name
    print(f"obs: {len(shared)} columns hold the source's values")

scanpy.pp.normalize_total(cells, target_sum=1e4)
scanpy.pp.log1p(cells)
scanpy.pp.pca(cells, n_comps=min(20, min(cells.shape) - 1))
assert numpy.isfinite(cells.obsm["X_pca"]).all()
print(f"normalize_total, log1p, pca: X_pca {cells.obsm['X_pca'].shape}")
