"""Opens a model folder with transformers and compares CLS embeddings with ours.

usage: open_model.py MODEL DATASET EMBEDDINGS.csv
needs: torch, transformers, datasets
The embeddings are those of `gf embed --layer -1` (second-to-last hidden state).
"""
import csv, sys
import torch
from transformers import BertForMaskedLM

from datasets import load_from_disk

model_dir, data_dir, csv_path = sys.argv[1:4]
model, info = BertForMaskedLM.from_pretrained(model_dir, output_loading_info=True)
print({key: sorted(names) for key, names in info.items() if names})
model.eval()
ours = {row["cell_id"]: row for row in csv.DictReader(open(csv_path))}
cells = load_from_disk(data_dir).select(range(20))
worst = 0.0
for cell in cells:
    ids = torch.tensor([cell["input_ids"]])
    with torch.no_grad():
        state = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True).hidden_states[-2][0, 0]
    row = ours[cell["cell_id"]]
    found = torch.tensor([float(row[str(k)]) for k in range(len(state))])
    worst = max(worst, (found - state).abs().max().item())
print(f"{len(cells)} cells, largest difference {worst:.2e}")
