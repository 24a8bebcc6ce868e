"""A context: the memory of a run, and decoding in it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama.activations import Taps
from ggufsurgeon.llama.library import last_errors, llama_cpp
from ggufsurgeon.llama.model import Model

Integers: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Logits: TypeAlias = npt.NDArray[np.float32]


class Context:
    """Runs tokens of several sequences. Made by `opened_context`, which frees it."""

    def __init__(self, model: Model, handle: Any) -> None:
        self._model = model
        self._handle = handle
        self._memory = llama_cpp().llama_get_memory(handle)

    def clear(self) -> None:
        """Forget all sequences."""
        if self._memory:
            llama_cpp().llama_memory_clear(self._memory, True)

    def decode(
        self, tokens: Integers, positions: Integers, sequences: Integers, wanted: Flags
    ) -> Logits:
        """Run a batch; all arrays have shape [n_tokens].

        Returns the logits of the tokens with `wanted`, in order, shape [n_wanted, n_vocab]: a
        view that holds until the next call. Raises MalformedFileError when llama.cpp fails.
        """
        lib = llama_cpp()
        ones = np.ones_like(tokens)
        pointers = sequences.ctypes.data + 4 * np.arange(len(tokens), dtype=np.uintp)
        batch = lib.llama_batch()
        batch.n_tokens = len(tokens)
        batch.token = _pointer(tokens, ctypes.c_int32)
        batch.pos = _pointer(positions, ctypes.c_int32)
        batch.n_seq_id = _pointer(ones, ctypes.c_int32)
        batch.seq_id = _pointer(pointers, ctypes.POINTER(ctypes.c_int32))
        batch.logits = _pointer(wanted, ctypes.c_int8)
        status = lib.llama_decode(self._handle, batch)
        if status != 0:
            problem = f"llama.cpp failed to run it (status {status}): {last_errors()}"
            raise MalformedFileError(str(self._model.path), problem)
        n_wanted = int(wanted.sum())
        if n_wanted == 0:
            return np.empty((0, self._model.n_vocab), dtype=np.float32)
        logits = lib.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(logits, shape=(n_wanted, self._model.n_vocab))

    def sample(self, sampler: Any) -> int:
        """The token that a chain of samplers draws by the last logits of the last decode."""
        return int(llama_cpp().llama_sampler_sample(sampler, self._handle, -1))


def _pointer(values: npt.NDArray[Any], kind: Any) -> Any:
    """To values that outlive the call."""
    assert values.flags.c_contiguous
    return ctypes.cast(values.ctypes.data, ctypes.POINTER(kind))


@contextmanager
def opened_context(
    model: Model, n_ctx: int, n_batch: int, n_seq_max: int = 1, taps: Taps | None = None
) -> Iterator[Context]:
    """A context of `n_ctx` tokens over all its sequences, decoding `n_batch` at once.

    With taps, each decode is one micro-batch.
    """
    lib = llama_cpp()
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = n_ctx, n_batch, n_seq_max
    if taps is not None:
        params.n_ubatch, params.cb_eval = n_batch, taps.callback
    if model.options.n_threads is not None:
        params.n_threads = params.n_threads_batch = model.options.n_threads
    handle = lib.llama_init_from_model(model.handle, params)
    if not handle:
        problem = f"llama.cpp cannot make a context of {n_ctx} tokens: {last_errors()}"
        raise MalformedFileError(str(model.path), problem)
    try:
        yield Context(model, handle)
    finally:
        lib.llama_free(handle)
