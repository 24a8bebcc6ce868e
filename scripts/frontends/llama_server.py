"""Greedy text from a llama-server that is a program of its own: PROGRAM MODEL PROMPT N_TOKENS."""

import json
import re
import subprocess
import sys

from served_answers import answer_of

program, model, prompt, n_tokens = sys.argv[1:]
told = subprocess.run([program, "--version"], capture_output=True, check=True)
version = re.search(rb"version: (.+)", told.stdout + told.stderr)
command = [program, "--model", model, "--ctx-size", "256", "--threads", "1", "--n-gpu-layers", "0"]
asked = {"prompt": prompt, "n_predict": int(n_tokens), "temperature": 0}
text = answer_of(command, "/completion", asked)["content"]
print("RESULT", json.dumps({"version": version[1].decode() if version else "", "text": text}))
