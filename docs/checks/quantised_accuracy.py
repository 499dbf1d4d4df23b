"""Accuracy of quantised encoders against the full one: the tables of docs/QUANTISATION.md.

    cargo build --release -p gf-cli -p gf-examples --examples --bins
    python docs/checks/quantised_accuracy.py BIN MODEL VOCABULARY MEDIANS SHARED FOLDER

BIN is the folder of `gf` and `examples/quantised_accuracy`, MODEL a dense model folder, VOCABULARY
and MEDIANS the files its training cells were tokenised with, SHARED the folder with data/, FOLDER
one for what is written. Three sets of labelled cells are tokenised and embedded in each number
format, genes are deleted in ten cells of each; everything else is counted here. Needs
numpy, pyarrow, scipy and scikit-learn.
"""

import collections
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

binaries, model, vocabulary, medians, shared, folder = map(Path, sys.argv[1:])
FORMATS = ["f32", "int8", "llm-int8", "nf4", "nf4-double"]
MAX_LENGTH = 1024
DELETED_CELLS = 10
TOP_GENES = 100
FOLDS = 5
SEED = 0
PBMC3K = shared / "data/02_pbmc3k_hg19"
SETS = {
    "FACS PBMC": shared / "data/07_facs_pbmc_cellxgene_layout/facs_pbmc_rawX.h5ad",
    "PBMC 4k": shared / "data/03_pbmc4k_loom_h5/pbmc4k_sub120_v3.loom",
    "PBMC 3k": PBMC3K / "pbmc3k_filtered_gene_bc_matrices_h5.h5",
}


def tokenise(name, counts):
    dataset = folder / f"{name}.dataset"
    labels = [] if name == "PBMC 3k" else ["--keep-columns", "cell_type"]
    files = ["--vocab", vocabulary, "--medians", medians, "-o", dataset]
    lengths = ["--max-len", str(MAX_LENGTH), "--quiet"]
    subprocess.run([binaries / "gf", "tokenize", counts, *files, *lengths, *labels], check=True)
    return dataset


def labels_of(name, dataset):
    """Label of each cell by its id; cells without one and labels of fewer cells than folds are left out."""
    if name == "PBMC 3k":
        with open(PBMC3K / "pbmc3k_seurat_annotations.csv") as file:
            labels = {row["barcode"]: row["seurat_annotations"] for row in csv.DictReader(file)}
    else:
        labels = {}
        for shard in sorted(dataset.glob("*.arrow")):
            table = pa.ipc.open_stream(shard).read_all()
            labels |= zip(table["cell_id"].to_pylist(), table["cell_type"].to_pylist())
    counts = collections.Counter(labels.values())
    return {cell: label for cell, label in labels.items() if label and counts[label] >= FOLDS}


def embeddings(path):
    with open(path) as file:
        rows = list(csv.reader(file))[1:]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], dtype=float)


def deletions(path):
    """Shift of each deletion, and mean shift of each gene."""
    genes = collections.defaultdict(list)
    shifts = {}
    with open(path) as file:
        for row in csv.DictReader(file):
            shift = float(row["shift"])
            shifts[row["cell_id"], row["token"]] = shift
            genes[row["token"]].append(shift)
    return shifts, {gene: np.mean(values) for gene, values in genes.items()}


def cosines(a, b):
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def classify(ids, values, labels):
    """Out-of-fold accuracy and macro F1 of a logistic regression."""
    kept = [i for i, cell in enumerate(ids) if cell in labels]
    x, y = values[kept], np.array([labels[ids[i]] for i in kept])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    found = cross_val_predict(classifier, x, y, cv=folds)
    return accuracy_score(y, found), f1_score(y, found, average="macro")


def top(means):
    """Genes in the order of `gf perturb`: the largest mean shift first."""
    return set(sorted(means, key=lambda gene: (-means[gene], int(gene)))[:TOP_GENES])


def fidelity(output, number_format):
    row = []
    for readout in ["cls", "cell"]:
        _, full = embeddings(output / f"f32-{readout}.csv")
        _, found = embeddings(output / f"{number_format}-{readout}.csv")
        similar = cosines(full, found)
        row += [f"{similar.mean():.6f}", f"{similar.min():.6f}"]
    full, full_means = deletions(output / "f32-deletions.csv")
    found, found_means = deletions(output / f"{number_format}-deletions.csv")
    each = spearmanr([full[key] for key in full], [found[key] for key in full]).statistic
    genes = sorted(full_means)
    mean = spearmanr([full_means[g] for g in genes], [found_means[g] for g in genes]).statistic
    return row + [f"{each:.4f}", f"{mean:.4f}", f"{len(top(full_means) & top(found_means))}"]


def table(title, header, rows):
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


outputs, labels, scores = {}, {}, collections.defaultdict(list)
for name, counts in SETS.items():
    dataset = tokenise(name, counts)
    outputs[name] = folder / name
    program = binaries / "examples/quantised_accuracy"
    subprocess.run([program, model, dataset, outputs[name], str(DELETED_CELLS)], check=True)
    labels[name] = labels_of(name, dataset)
    for number_format in FORMATS:
        for readout in ["cls", "cell"]:
            ids, values = embeddings(outputs[name] / f"{number_format}-{readout}.csv")
            scores[name, number_format] += classify(ids, values, labels[name])

CLASSIFIER = ["format", "accuracy, CLS", "macro F1, CLS", "accuracy, mean", "macro F1, mean"]
FIDELITY = ["format", "CLS: mean cosine", "least", "mean of genes: mean cosine", "least"]
FIDELITY += ["Spearman, each deletion", "Spearman, each gene", f"of the top {TOP_GENES}"]
for name in SETS:
    cells = collections.Counter(labels[name].values())
    majority = max(cells.values()) / cells.total()
    ids, _ = embeddings(outputs[name] / "f32-cls.csv")
    labelled = sum(cell in labels[name] for cell in ids)
    print(f"\n### {name}: {len(ids)} cells, {labelled} of {len(cells)} types, most frequent {majority:.3f}")
    rows = [[f, *(f"{score:.3f}" for score in scores[name, f])] for f in FORMATS]
    table("Classifier on the embeddings:", CLASSIFIER, rows)
    rows = [[f, *fidelity(outputs[name], f)] for f in FORMATS[1:]]
    shifts, means = deletions(outputs[name] / "f32-deletions.csv")
    title = f"Against f32 ({len(shifts)} deletions of {len(means)} genes, median shift {np.median(list(shifts.values())):.1e}):"
    table(title, FIDELITY, rows)
