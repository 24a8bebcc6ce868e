"""The unmodified model, run along a layer path: what a written file must equal bit for bit.

The residual stream is kept when a run of consecutive blocks ends (the node `l_out-b`) and put
in place of what feeds the first block of the next run. Runs after the first must not begin at
block 0, whose input has another name.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.library import llama_cpp

Logits = npt.NDArray[np.float32]


def ggml_base() -> ctypes.CDLL:
    """The very library that libllama has loaded: its folder holds copies under other names."""
    if sys.platform == "linux":
        lines = Path("/proc/self/maps").read_text().splitlines()
        path = next(line.split()[-1] for line in lines if "libggml-base" in line)
    else:
        path = str(next(Path(llama_cpp()._base_path).glob("libggml-base*.dylib")))
    lib = ctypes.CDLL(path)
    lib.ggml_get_name.restype = ctypes.c_char_p
    lib.ggml_nbytes.restype = ctypes.c_size_t
    lib.ggml_get_name.argtypes = lib.ggml_nbytes.argtypes = [ctypes.c_void_p]
    for access in (lib.ggml_backend_tensor_get, lib.ggml_backend_tensor_set):
        access.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    return lib


class Taps:
    """Nodes to read and to overwrite while a graph is computed."""

    def __init__(self) -> None:
        self.lib = ggml_base()
        self.read: dict[str, Any] = {}
        self.wanted = ""
        self.overwrite: dict[str, Any] = {}

    def __call__(self, tensor: int, ask: bool, _user_data: object) -> bool:
        name = self.lib.ggml_get_name(tensor).decode()
        if ask:
            return name == self.wanted or name in self.overwrite
        n_bytes = self.lib.ggml_nbytes(tensor)
        if name in self.overwrite:
            assert len(self.overwrite[name]) == n_bytes, name
            self.lib.ggml_backend_tensor_set(tensor, self.overwrite[name], 0, n_bytes)
        if name == self.wanted:
            data = ctypes.create_string_buffer(n_bytes)
            self.lib.ggml_backend_tensor_get(tensor, data, 0, n_bytes)
            self.read[name] = data.raw
        return True


class Runner:
    """A loaded model, its logits along any layer path, for every token of one prompt."""

    def __init__(self, path: Path, n_tokens: int) -> None:
        lib = llama_cpp()
        self.taps = Taps()
        params = lib.llama_model_default_params()
        self.model = lib.llama_model_load_from_file(str(path).encode(), params)
        assert self.model, f"llama.cpp does not load {path}"
        self.n_blocks = lib.llama_model_n_layer(self.model)
        self.n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.n_tokens = n_tokens
        self._callback = lib.ggml_backend_sched_eval_callback(self.taps)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        llama_cpp().llama_model_free(self.model)

    def logits(self, tokens: list[int], path: LayerPath | None = None) -> Logits:
        """Shape [n_tokens, n_vocab]."""
        runs = [(first.block, last.block) for first, last in path.runs()] if path else []
        state: bytes | None = None
        result = np.empty(0, dtype=np.float32)
        for first, last in runs or [(0, self.n_blocks - 1)]:
            assert state is None or first > 0
            self.taps.overwrite = {f"l_out-{first - 1}": state} if state is not None else {}
            self.taps.wanted = f"l_out-{last}"
            result = self._decode(tokens)
            state = self.taps.read.get(f"l_out-{last}")
        if runs and runs[-1][1] != self.n_blocks - 1:
            self.taps.overwrite = {f"l_out-{self.n_blocks - 1}": state}
            self.taps.wanted = ""
            result = self._decode(tokens)
        return result

    def _decode(self, tokens: list[int]) -> Logits:
        lib = llama_cpp()
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(self.n_tokens, 32)
        params.cb_eval = self._callback
        context = lib.llama_init_from_model(self.model, params)
        assert context, "no context"
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for n, token in enumerate(tokens):
            batch.token[n], batch.pos[n], batch.logits[n] = token, n, True
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, 0
        try:
            assert lib.llama_decode(context, batch) == 0
            pointer = lib.llama_get_logits(context)
            return np.array(np.ctypeslib.as_array(pointer, (len(tokens), self.n_vocab)))
        finally:
            lib.llama_batch_free(batch)
            lib.llama_free(context)
