"""PyTorch on the same encoder: tokens per second, f32 and dynamic int8, 2 threads.

usage: encoder_torch.py LAYERS HIDDEN HEADS FFN TOKENS BATCH [THREADS]
needs: pip install torch transformers
`cargo xtask bench encoder --python PYTHON` runs it in turn with examples/encoder_speed.rs.
"""
import os
import sys
import time

import torch
from transformers import BertConfig, BertModel

layers, hidden, heads, ffn, tokens, batch, *rest = map(int, sys.argv[1:])
torch.manual_seed(0)
torch.set_num_threads(rest[0] if rest else 2)
config = BertConfig(vocab_size=20275, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                    intermediate_size=ffn, hidden_act="relu", max_position_embeddings=4096, layer_norm_eps=1e-12,
                    attn_implementation="sdpa")
model = BertModel(config, add_pooling_layer=False).eval()
ids = torch.randint(4, 20275, (batch, tokens))


def clock(name, run, n=3):
    run()
    cpu, wall = sum(os.times()[:2]), time.perf_counter()
    for _ in range(n):
        run()
    wall, cpu = (time.perf_counter() - wall) / n, (sum(os.times()[:2]) - cpu) / n
    print(f"torch {name}: {batch * tokens / wall:.0f} tokens/s wall, {batch * tokens / cpu:.0f} per CPU-second", flush=True)


with torch.no_grad():
    clock("f32", lambda: model(input_ids=ids))
    int8 = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    clock("int8", lambda: int8(input_ids=ids))
