"""Opens an adapter folder written here with PEFT over its base model, dense or of `gf quantize`.

    cargo run --release -p gf-examples --example adapter_folder -- MODEL OUTPUT
    python docs/checks/open_adapter.py OUTPUT

Compares the last hidden states with those of OUTPUT/states.csv, with the adapter beside the base
and merged into it (dense only), and those of the base alone, which must differ.
Needs torch, transformers, peft, and for a quantised base bitsandbytes and accelerate.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForMaskedLM

output = Path(sys.argv[1])
TOKENS = [2, 11, 25, 7, 100, 40, 9, 3]

expected = torch.tensor(np.loadtxt(output / "states.csv", delimiter=","), dtype=torch.float32)
model = json.loads((output / "adapter/adapter_config.json").read_text())["base_model_name_or_path"]
base = AutoModelForMaskedLM.from_pretrained(model, device_map="cpu").eval()


def compare(what, network):
    with torch.no_grad():
        states = network(torch.tensor([TOKENS]), output_hidden_states=True).hidden_states[-1][0]
    difference = (states.float() - expected).abs().max()
    cosine = torch.nn.functional.cosine_similarity(states.float(), expected, dim=-1).min()
    print(f"{what}: largest difference {difference:.2e}, least cosine {cosine:.7f}")


compare("base alone", base)
adapted = PeftModel.from_pretrained(base, output / "adapter").eval()
names = {type(module).__name__ for module in adapted.modules() if hasattr(module, "lora_A")}
print(f"{sum(hasattr(module, 'lora_A') for module in adapted.modules())} adapted projections: {names}")
compare("adapter beside", adapted)
if names == {"Linear"}:
    compare("merged", adapted.merge_and_unload())
