"""Greedy text from GPT4All: MODEL PROMPT N_TOKENS."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from gpt4all import GPT4All

path, prompt, n_tokens = Path(sys.argv[1]), *sys.argv[2:]
model = GPT4All(
    path.name,
    model_path=str(path.parent),
    allow_download=False,
    device="cpu",
    n_threads=1,
    n_ctx=256,
)
text = model.generate(prompt, max_tokens=int(n_tokens), temp=0, repeat_penalty=1.0)
print("RESULT", json.dumps({"version": version("gpt4all"), "text": text}))
