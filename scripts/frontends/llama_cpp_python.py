"""Greedy text from llama-cpp-python's own server: MODEL PROMPT N_TOKENS."""

import json
import sys
from importlib.metadata import version

import llama_cpp.server.app  # noqa: F401 - a frontend that is absent is skipped
from served_answers import answer_of

model, prompt, n_tokens = sys.argv[1:]
command = [sys.executable, "-m", "llama_cpp.server", "--model", model, "--verbose", "false"]
options = ["--n_ctx", "256", "--n_threads", "1", "--n_threads_batch", "1"]
# The server penalizes repetition unless it is told not to.
greedy = {"temperature": 0, "repeat_penalty": 1.0}
asked = {"prompt": prompt, "max_tokens": int(n_tokens), **greedy}
text = answer_of([*command, *options], "/v1/completions", asked)["choices"][0]["text"]
print("RESULT", json.dumps({"version": version("llama-cpp-python"), "text": text}))
