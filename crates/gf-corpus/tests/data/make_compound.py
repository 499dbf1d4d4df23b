"""Writes compound_0_6.h5ad as anndata 0.6.22 lays a file out: obs and var are
compound data sets with variable-length strings, labels of categorical columns
lie in uns, X is a group with h5sparse_format. Needs h5py (3.16 was used).

The counts are those of `Ad::new` in tests/it/support.rs.
"""

import h5py
import numpy

SYMBOLS = ["ACTB", "GAPDH", "CD3D", "CD3E", "MS4A1", "NKG7", "LYZ", "CD14", "CD8A", "CD4"]
text = h5py.special_dtype(vlen=str)

with h5py.File("compound_0_6.h5ad", "w", libver="earliest") as file:
    kind = [("index", text), ("depth", "<f4"), ("good", "?"), ("kind", "i1"), ("n", "<i8"), ("note", text)]
    rows = [("CELL0", 0.5, True, 1, 3, "µ"), ("CELL1", float("nan"), False, -1, -12, "")]
    file.create_dataset("obs", data=numpy.array(rows, dtype=kind))
    file.create_dataset("var", data=numpy.array([(s,) for s in SYMBOLS], dtype=[("index", text)]))
    file.create_dataset("uns/kind_categories", data=numpy.array(["B", "T"], dtype=object), dtype=text)
    group = file.create_group("X")
    group.attrs["h5sparse_format"] = "csr"
    group.attrs["h5sparse_shape"] = numpy.array([2, 10])
    group.create_dataset("data", data=numpy.arange(1, 6, dtype="<f4"))
    group.create_dataset("indices", data=numpy.array([0, 4, 1, 2, 9], dtype="<i4"))
    group.create_dataset("indptr", data=numpy.array([0, 2, 5], dtype="<i4"))
