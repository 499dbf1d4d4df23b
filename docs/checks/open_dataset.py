"""Does Python's `datasets` open a folder that `gf tokenize` wrote, and read the same rows?

    pip install datasets==4.8.5
    cargo run --release -p gf-tokenize --example show_dataset FOLDER > rows.tsv
    python open_dataset.py FOLDER rows.tsv
"""

import sys

from datasets import Value, __version__, load_from_disk

folder, rows = sys.argv[1:]
data = load_from_disk(folder)
assert data.features["input_ids"].feature == Value("int32"), data.features
assert data.features["length"] == Value("int64"), data.features
metadata = [name for name in data.column_names if name not in ("input_ids", "cell_id", "length")]


def line(row):
    tokens = " ".join(map(str, row["input_ids"]))
    values = [f"{name}={'<missing>' if row[name] is None else row[name]}" for name in metadata]
    return "\t".join([row["cell_id"], tokens, *values])


with open(rows, encoding="utf-8", newline="\n") as file:
    expected = file.read().split("\n")[:-1]
assert len(expected) == len(data), (len(expected), len(data))
for number, (row, want) in enumerate(zip(data, expected)):
    assert line(row) == want, f"row {number}: {line(row)!r}, expected {want!r}"
    assert row["length"] == len(row["input_ids"]), f"row {number}"
print(f"datasets {__version__}: {len(data)} rows with columns {data.column_names} are equal")
