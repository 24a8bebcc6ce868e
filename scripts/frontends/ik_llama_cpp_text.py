"""Greedy text from the fork ik_llama.cpp: MODEL PROMPT N_TOKENS."""

import json
import sys
from importlib.metadata import version

from ik_llama_cpp import IkLlama

model, prompt, n_tokens = sys.argv[1:]
llama = IkLlama(model, n_ctx=256, n_threads=1, verbose=False)
made = llama.generate(llama.tokenize(prompt), max_tokens=int(n_tokens), temperature=0.0)
text = llama.detokenize(made)
print("RESULT", json.dumps({"version": version("ik-llama-cpp-python"), "text": text}))
