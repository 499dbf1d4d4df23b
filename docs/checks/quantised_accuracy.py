"""Accuracy of quantised encoders against the full one: the tables of docs/QUANTISATION.md.

    cargo build --release -p gf-cli -p gf-examples --examples --bins
    python docs/checks/quantised_accuracy.py BIN MODEL VOCABULARY MEDIANS SHARED FOLDER

BIN is the folder of `gf` and `examples/quantised_accuracy`, MODEL a dense model folder, VOCABULARY
and MEDIANS what its training cells were tokenised with, SHARED the folder with data/, FOLDER one
for what is written; formats that are complete there are not computed again. Three sets of labelled
cells are tokenised and embedded in each number format, every gene is deleted in two cells of
each; everything else is counted here. f64 shows what f32 itself rounds away; it is slow, so
only one set has it. Needs numpy, pyarrow, scipy and scikit-learn.
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
FORMATS = ["f32", "int8-weights", "int8", "llm-int8", "nf4", "nf4-double"]
READOUTS = ["cls", "cell"]
MAX_LENGTH = 512
DELETED_CELLS = 2
TOP_GENES = 100
FOLDS = 5
SEED = 0
# File, column of labels, formats beside f32.
SETS = {
    "FACS PBMC": (
        "07_facs_pbmc_cellxgene_layout/facs_pbmc_rawX.h5ad",
        "cell_type",
        ["f64", *FORMATS[1:]],
    ),
    "PBMC 4k": ("03_pbmc4k_loom_h5/pbmc4k_sub120_v3.loom", "cell_type", FORMATS[1:]),
    "PBMC 3k": ("02_pbmc3k_hg19/pbmc3k_first500_raw.h5ad", "seurat_annotations", FORMATS[1:]),
}


def tokenise(dataset, counts, label):
    files = [shared / "data" / counts, "--vocab", vocabulary, "--medians", medians, "-o", dataset]
    options = ["--max-len", str(MAX_LENGTH), "--keep-columns", label, "--quiet"]
    subprocess.run([binaries / "gf", "tokenize", *files, *options], check=True)


def labels_of(dataset, label):
    """Label of each cell by its id; cells without one and labels of fewer cells than folds are left out."""
    labels = {}
    for shard in sorted(dataset.glob("*.arrow")):
        table = pa.ipc.open_stream(shard).read_all()
        labels |= zip(table["cell_id"].to_pylist(), table[label].to_pylist())
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


def agreement(output, number_format):
    """1 - cosine with the embeddings of f32, on average and at most."""
    row = []
    for readout in READOUTS:
        _, full = embeddings(output / f"f32-{readout}.csv")
        _, found = embeddings(output / f"{number_format}-{readout}.csv")
        distances = 1 - cosines(full, found)
        row += [f"{distances.mean():.1e}", f"{distances.max():.1e}"]
    return row


def rankings(output, number_format, readout):
    """Agreement of shifts with those of f32, and the median of what is added to a shift."""
    full, full_means = deletions(output / f"f32-deletions-{readout}.csv")
    found, found_means = deletions(output / f"{number_format}-deletions-{readout}.csv")
    x, y = (np.array([shifts[key] for key in full]) for shifts in [full, found])
    genes = sorted(full_means)
    mean = spearmanr([full_means[g] for g in genes], [found_means[g] for g in genes]).statistic
    shared = len(top(full_means) & top(found_means))
    each, beyond = spearmanr(x, y).statistic, beyond_position(full, found)
    added = np.median(y - x)
    return [f"{each:.4f}", f"{mean:.4f}", f"{shared}", f"{beyond:.3f}", f"{added:+.1e}"]


def beyond_position(full, found):
    """Partial rank correlation given the deleted gene's position, the mean over cells."""
    cells = collections.defaultdict(list)
    for cell, token in full:  # In the order of the cell's genes.
        cells[cell].append((cell, token))
    partial = []
    for keys in cells.values():
        x, y, z = [full[key] for key in keys], [found[key] for key in keys], range(len(keys))
        xy, xz, yz = (spearmanr(a, b).statistic for a, b in [(x, y), (x, z), (y, z)])
        partial.append((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    return np.mean(partial)


def table(title, header, rows):
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def compute(name, counts, label, formats):
    """Folder of the program's files, and the labels."""
    output, dataset = folder / name, folder / f"{name}.dataset"
    if not dataset.exists():
        tokenise(dataset, counts, label)
    left = [f for f in formats if not (output / f"{f}-deletions-{READOUTS[-1]}.csv").exists()]
    program = binaries / "examples/quantised_accuracy"
    subprocess.run([program, model, dataset, output, str(DELETED_CELLS), *left], check=True)
    return output, labels_of(dataset, label)


CLASSIFIER = ["format", "accuracy, CLS", "macro F1, CLS", "accuracy, mean", "macro F1, mean"]
AGREEMENT = ["1 − cosine, CLS", "at most", "1 − cosine, mean of genes", "at most"]
RANKINGS = ["format", "Spearman, deletions", "genes", f"of the first {TOP_GENES} genes"]
RANKINGS += ["deletions, given position", "added to a shift"]
for name, (counts, label, formats) in SETS.items():
    output, labels = compute(name, counts, label, ["f32", *formats])
    rows = []
    for number_format in ["f32", *formats]:
        row = [number_format]
        for readout in READOUTS:
            scores = classify(*embeddings(output / f"{number_format}-{readout}.csv"), labels)
            row += [f"{score:.3f}" for score in scores]
        rows.append(row + agreement(output, number_format))
    cells = collections.Counter(labels.values())
    majority = max(cells.values()) / cells.total()
    title = f"{name}: {cells.total()} cells of {len(cells)} types, the most frequent {majority:.3f}"
    table(title, CLASSIFIER + AGREEMENT, rows)
    for readout in READOUTS:
        shifts, means = deletions(output / f"f32-deletions-{readout}.csv")
        size = np.median(list(shifts.values()))
        title = f"{name}, {readout}: {len(shifts)} deletions of {len(means)} genes in {DELETED_CELLS} cells, median shift {size:.1e}"
        table(title, RANKINGS, [[f, *rankings(output, f, readout)] for f in formats])
