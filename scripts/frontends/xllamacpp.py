"""Greedy text from llama-server as xllamacpp contains it: MODEL PROMPT N_TOKENS."""

import json
import sys
from importlib.metadata import version

sys.path.pop(0)  # this folder has a module of the package's name
import xllamacpp

model, prompt, n_tokens = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.warmup = model, 256, False
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
asked = {"prompt": prompt, "max_tokens": int(n_tokens), "temperature": 0}
found = server.handle_completions(asked)
text = found["choices"][0]["text"]
print("RESULT", json.dumps({"version": version("xllamacpp"), "text": text}))
