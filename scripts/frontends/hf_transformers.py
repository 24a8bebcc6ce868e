"""Greedy text from transformers, which undoes the quantization: MODEL PROMPT N_TOKENS."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
path, prompt, n_tokens = Path(sys.argv[1]), *sys.argv[2:]
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
# Padding changes no logit, and transformers fails on the -1 of a file that has no such token.
model = AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype=torch.float32, pad_token_id=None
)
tokens = tokenizer(prompt, return_tensors="pt").input_ids
made = model.generate(tokens, max_new_tokens=int(n_tokens), do_sample=False)[0]
text = tokenizer.decode(made.tolist())
text = text[text.index(prompt) + len(prompt) :]
print("RESULT", json.dumps({"version": version("transformers"), "text": text}))
