"""Greedy text from mistral.rs, which reads GGUF with code of its own: MODEL PROMPT N_TOKENS."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mistralrs

path, prompt, n_tokens = Path(sys.argv[1]), *sys.argv[2:]
file = mistralrs.Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
request = mistralrs.CompletionRequest(
    model="default", prompt=prompt, max_tokens=int(n_tokens), temperature=0.0
)
text = mistralrs.Runner(which=file).send_completion_request(request).choices[0].text
print("RESULT", json.dumps({"version": version("mistralrs"), "text": text}))
