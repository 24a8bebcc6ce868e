"""A context: the memory of a run, and decoding in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama.library import last_errors, llama_cpp
from ggufsurgeon.llama.model import Model


class Context:
    """Runs tokens of up to `n_seq_max` sequences. Made by `opened_context`, which frees it."""

    def __init__(self, model: Model, handle: Any, n_batch: int) -> None:
        lib = llama_cpp()
        self._model = model
        self._handle = handle
        self._memory = lib.llama_get_memory(handle)
        self._batch = lib.llama_batch_init(n_batch, 0, 1)

    def clear(self) -> None:
        """Forget all sequences."""
        if self._memory:
            llama_cpp().llama_memory_clear(self._memory, True)

    def decode(
        self,
        tokens: npt.NDArray[np.int32],
        positions: npt.NDArray[np.int32],
        sequences: npt.NDArray[np.int32],
        wanted: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32]:
        """Run a batch; all arrays have shape [n_tokens].

        Returns the logits of the tokens with `wanted`, in order, shape [n_wanted, n_vocab]: a
        view that holds until the next call. Raises MalformedFileError when llama.cpp fails.
        """
        lib = llama_cpp()
        self._fill(tokens, positions, sequences, wanted)
        self._check(lib.llama_decode(self._handle, self._batch))
        n_wanted = int(wanted.sum())
        if n_wanted == 0:
            return np.empty((0, self._model.n_vocab), dtype=np.float32)
        logits = lib.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(logits, shape=(n_wanted, self._model.n_vocab))

    def embed(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Run an encoder on one whole text; tokens have shape [n_tokens].

        Returns their embeddings, shape [n_tokens, n_embd]: a view that holds until the next call.
        Raises MalformedFileError when llama.cpp fails.
        """
        lib = llama_cpp()
        positions = np.arange(len(tokens), dtype=np.int32)
        self._fill(tokens, positions, np.zeros_like(tokens), np.ones(len(tokens), dtype=np.bool_))
        self._check(lib.llama_encode(self._handle, self._batch))
        embeddings = lib.llama_get_embeddings(self._handle)
        return np.ctypeslib.as_array(embeddings, shape=(len(tokens), self._model.n_embd))

    def _fill(
        self,
        tokens: npt.NDArray[np.int32],
        positions: npt.NDArray[np.int32],
        sequences: npt.NDArray[np.int32],
        wanted: npt.NDArray[np.bool_],
    ) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for n in range(len(tokens)):
            batch.token[n] = tokens[n]
            batch.pos[n] = positions[n]
            batch.n_seq_id[n] = 1
            batch.seq_id[n][0] = sequences[n]
            batch.logits[n] = bool(wanted[n])

    def _check(self, status: int) -> None:
        if status != 0:
            problem = f"llama.cpp failed to run it (status {status}): {last_errors()}"
            raise MalformedFileError(str(self._model.path), problem)

    def free(self) -> None:
        """Release the native memory."""
        lib = llama_cpp()
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._handle)


@contextmanager
def opened_context(model: Model, n_ctx: int, n_batch: int, n_seq_max: int = 1) -> Iterator[Context]:
    """A context of `n_ctx` tokens over all its sequences, decoding `n_batch` at once."""
    lib = llama_cpp()
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = n_ctx, n_batch, n_seq_max
    if model.is_encoder:  # its tokens see each other, so they run at once, and none are pooled
        params.n_ubatch, params.embeddings = n_batch, True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_NONE
    if model.options.n_threads is not None:
        params.n_threads = params.n_threads_batch = model.options.n_threads
    handle = lib.llama_init_from_model(model.handle, params)
    if not handle:
        problem = f"llama.cpp cannot make a context of {n_ctx} tokens: {last_errors()}"
        raise MalformedFileError(str(model.path), problem)
    context = Context(model, handle, n_batch)
    try:
        yield context
    finally:
        context.free()
