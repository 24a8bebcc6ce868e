"""What `plan` predicts, and what llama.cpp says it allocated. Run as a program.

    python -m tests.verification.allocation KIND MODEL ...

A MODEL is the stem of a header in fixtures/arch_headers, or a file; KIND is the type of the
cache. Prints one JSON line for each, with bytes of weights, cache and recurrent state.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.context import WITHOUT_FLASH_ATTENTION
from ggufsurgeon.engine.devices.device_use import UseLog
from ggufsurgeon.engine.installation.library import llama_cpp, log_read_by
from ggufsurgeon.sizing.footprint import CACHE_TYPES
from ggufsurgeon.sizing.prediction import DeviceSettings, footprint_of, predict
from tests.conftest import ROOT
from tests.models.expanding import expand

N_CTX = 2048
"""More than the sliding windows of the headers and llama.cpp's batch together."""
READ, DO_NOT_REPACK = 0, False
"""Weights as they are in the file (`LLAMA_LOAD_MODE_NONE`), so that their buffer can be told."""


def allocate(path: Path, kind: str) -> list[int] | None:
    """Bytes in llama.cpp's log; None when it makes no context with such a cache."""
    lib = llama_cpp()
    model_params = lib.llama_model_default_params()
    model_params.load_mode, model_params.use_extra_bufts = READ, DO_NOT_REPACK
    params = lib.llama_context_default_params()
    params.n_ctx, params.swa_full = N_CTX, False
    params.type_k = params.type_v = CACHE_TYPES[kind]
    if any(path.name.startswith(f"{name}-") for name in WITHOUT_FLASH_ATTENTION):
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    log = UseLog()
    with log_read_by(log.read):
        model = lib.llama_model_load_from_file(os.fsencode(path), model_params)
        context = lib.llama_init_from_model(model, params)
    (use,) = log.devices()
    lib.llama_free(context)
    lib.llama_model_free(model)
    return [use.n_bytes_weights, use.n_bytes_kv, use.n_bytes_state] if context else None


def predicted(path: Path, kind: str) -> list[int | None]:
    (load,) = predict(footprint_of(open_gguf(path)), DeviceSettings((), n_ctx=N_CTX))
    return [load.n_bytes_weights, load.n_bytes_kv[kind], load.n_bytes_state]


def main() -> None:
    """Compare each model named on the command line."""
    kind, *models = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            path = Path(name)
            if not path.suffix:
                header = ROOT / f"fixtures/arch_headers/{name}.gguf"
                path = expand(header, Path(folder, f"{name}.gguf"), seed=1)
            line = {"allocated": allocate(path, kind), "predicted": predicted(path, kind)}
            print(json.dumps({"model": name, **line}), flush=True)


if __name__ == "__main__":
    main()
