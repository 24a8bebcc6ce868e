"""The unmodified model, run along a layer path: what a written file must equal bit for bit.

The residual stream is kept when a run of consecutive blocks ends (the node `l_out-b`) and put
in place of what feeds the first block of the next run: the output of the block before it, or for
block 0 whatever it reads.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.container.codec import parse_header
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


RESIDUALS = {
    "deepseek4": "l_last",
    "qwen4exp": "l_last",
    "plamo2": "ffn_residual",
    "nemotron_h": "nemotron_h_block_out",
    "nemotron_h_moe": "nemotron_h_block_out",
}
"""Names of the nodes that hold a block's output, where it is not `l_out`."""


INPUTS = {
    "bloom": "inp_norm-0",
    "deepseek4": "hc_init",
    "exaone4": "embd",
    "hy_v4": "hc_init",
    "olmo2": "embd",
    "qwen4exp": "hc_init",
}
"""Nodes that feed block 0, where it is not the first source of the first node named `...-0`."""

FIRST_INPUT_FEEDS_MORE = ("talkie",)
"""Architectures in which later blocks read the embedding again."""

SRC_OFFSET = 152
"""Of `src` in `struct ggml_tensor` (ggml/include/ggml.h)."""


class Taps:
    """Nodes to read and to overwrite while a graph is computed."""

    def __init__(self) -> None:
        self.lib = ggml_base()
        self.read: dict[str, Any] = {}
        self.wanted = ""
        self.overwrite: dict[str, Any] = {}
        self.input_of_block_0 = ""

    def __call__(self, tensor: int, ask: bool, _user_data: object) -> bool:
        name = self.lib.ggml_get_name(tensor).decode()
        if ask:
            if not self.input_of_block_0 and name.endswith("-0"):
                self.input_of_block_0 = self._first_activation(tensor)
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

    def _first_activation(self, tensor: int) -> str:
        """The first source of a node that is no weight."""
        for at in range(tensor + SRC_OFFSET, tensor + SRC_OFFSET + 16, 8):
            source = ctypes.c_void_p.from_address(at).value
            name = self.lib.ggml_get_name(source).decode() if source else ""
            if name and not name.endswith(".weight"):
                return str(name)
        return ""


class CannotRoute(Exception):
    """The tests do not know the nodes of this architecture well enough."""


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
        header, _ = parse_header(path.read_bytes(), str(path))
        self.architecture = str(header.architecture)
        self.residual = RESIDUALS.get(self.architecture, "l_out")
        self.taps.input_of_block_0 = INPUTS.get(self.architecture, "")
        self._callback = lib.ggml_backend_sched_eval_callback(self.taps)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        llama_cpp().llama_model_free(self.model)

    def logits(self, tokens: list[int], path: LayerPath | None = None) -> Logits:
        """Shape [n_tokens, n_vocab]."""
        last_block = self.n_blocks - 1
        runs = [(first.block, last.block) for first, last in path.runs()] if path else []
        runs = runs or [(0, last_block)]
        jumps_to_0 = any(first == 0 for first, _ in runs[1:])
        if (jumps_to_0 or runs[0][0]) and self.architecture in FIRST_INPUT_FEEDS_MORE:
            raise CannotRoute("what feeds block 0 feeds other blocks too")
        state = self._input_of_block_0(tokens) if runs[0][0] else None
        result = np.empty(0, dtype=np.float32)
        for first, last in runs:
            before = self._output(first - 1) if first else self.taps.input_of_block_0
            result = self._pass(tokens, {before: state} if state else {}, self._output(last))
            state = self._read(self._output(last))
        if runs[-1][1] != last_block:
            result = self._pass(tokens, {self._output(last_block): state}, "-")
        return result

    def _output(self, block: int) -> str:
        return f"{self.residual}-{block}"

    def _input_of_block_0(self, tokens: list[int]) -> bytes:
        self._pass(tokens, {}, "-")  # finds its name
        name = self.taps.input_of_block_0
        self._pass(tokens, {}, name)
        return self._read(name)

    def _read(self, name: str) -> bytes:
        if name not in self.taps.read:
            raise CannotRoute(f"no node {name!r} was computed")
        data: bytes = self.taps.read[name]
        return data

    def _pass(self, tokens: list[int], overwrite: dict[str, Any], wanted: str) -> Logits:
        self.taps.overwrite, self.taps.wanted = overwrite, wanted
        return self._decode(tokens)

    def _decode(self, tokens: list[int]) -> Logits:
        lib = llama_cpp()
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(self.n_tokens, 32)
        params.cb_eval = self._callback
        context = lib.llama_init_from_model(self.model, params)
        assert context, "no context"
        batch = self._batch(tokens)
        try:
            assert lib.llama_decode(context, batch) == 0
            pointer = lib.llama_get_logits(context)
            return np.array(np.ctypeslib.as_array(pointer, (len(tokens), self.n_vocab)))
        finally:
            lib.llama_batch_free(batch)
            lib.llama_free(context)

    def _batch(self, tokens: list[int]) -> Any:
        batch = llama_cpp().llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for n, token in enumerate(tokens):
            batch.token[n], batch.pos[n], batch.logits[n] = token, n, True
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, 0
        return batch
