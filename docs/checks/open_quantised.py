"""Opens a folder of `gf quantize` with transformers and bitsandbytes, and the dense one it came from.

usage: open_quantised.py DENSE QUANTISED
needs: torch, transformers, bitsandbytes, accelerate
Prints which layers are quantised and how the last hidden states of random tokens agree.
"""
import sys
import torch
from transformers import AutoModelForMaskedLM

dense_dir, quantised_dir = sys.argv[1:3]
dense = AutoModelForMaskedLM.from_pretrained(dense_dir).eval()
quantised, info = AutoModelForMaskedLM.from_pretrained(quantised_dir, device_map="cpu", output_loading_info=True)
quantised.eval()
print({key: sorted(names) for key, names in info.items() if names})
kinds = [type(module).__name__ for module in quantised.modules()]
print({kind: kinds.count(kind) for kind in ("Linear", "Linear4bit", "Linear8bitLt")})
torch.manual_seed(0)
ids = torch.randint(4, dense.config.vocab_size, (2, 64))
with torch.no_grad():
    full, found = (m(input_ids=ids, output_hidden_states=True).hidden_states[-1].float() for m in (dense, quantised))
cosines = torch.nn.functional.cosine_similarity(full, found, dim=-1)
print(f"cosine of hidden states: {cosines.mean():.6f} on average, {cosines.min():.6f} at least")
