"""A context: the memory of a run, and decoding in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.batch import Batch as Batch
from ggufsurgeon.engine.batch import Flags as Flags
from ggufsurgeon.engine.batch import Integers as Integers
from ggufsurgeon.engine.batch import as_flags as as_flags
from ggufsurgeon.engine.batch import as_tokens as as_tokens
from ggufsurgeon.engine.batch import native_batch as native_batch
from ggufsurgeon.engine.devices.heartbeat import beat
from ggufsurgeon.engine.graph.taps import Taps
from ggufsurgeon.engine.installation.library import last_errors, llama_cpp, log_read_by
from ggufsurgeon.engine.limits.threads import n_threads_of
from ggufsurgeon.engine.model import Model, failure
from ggufsurgeon.engine.native_objects.native import NativeObject
from ggufsurgeon.engine.stopping import ABORTED, check_stop, set_abort_callback
from ggufsurgeon.errors import MalformedFileError, UsageError

Results: TypeAlias = npt.NDArray[np.float32]
"""Logits, shape [n, n_vocab], or embeddings of an encoder, [n, n_embd]."""


MAX_SEQUENCES = 256
"""`LLAMA_MAX_SEQ`, src/llama-cparams.h."""
WITHOUT_FLASH_ATTENTION = ("plm",)
"""Architectures on which llama.cpp ends the process with it (src/models/plm.cpp:131)."""


class Context:
    """Runs tokens of several sequences. Made by `opened_context`, which frees it."""

    def __init__(self, model: Model, handle: Any) -> None:
        self._model = model
        self._native = NativeObject(
            handle,
            llama_cpp().llama_free,
            f"the context of {model.path} is closed: use it within `with`",
            model.native,
        )
        self._has_run = False

    @property
    def handle(self) -> Any:
        """The native context. Raises UsageError once it was freed."""
        return self._native.handle

    def free(self) -> None:
        """Free the native context; every later use raises UsageError."""
        self._native.free()

    def clear(self) -> None:
        """Forget all sequences."""
        memory = llama_cpp().llama_get_memory(self.handle)
        if memory:
            llama_cpp().llama_memory_clear(memory, True)

    def keep(self, sequence: int) -> None:
        """Forget all sequences but one."""
        lib = llama_cpp()
        lib.llama_memory_seq_keep(lib.llama_get_memory(self.handle), sequence)

    def forget(self, sequence: int, n_kept: int = 0) -> None:
        """Forget the tokens of a sequence behind its first `n_kept`.

        Raises UsageError for a part of a sequence that has a recurrent state.
        """
        lib = llama_cpp()
        memory = lib.llama_get_memory(self.handle)
        if not lib.llama_memory_seq_rm(memory, sequence, n_kept, -1):
            raise UsageError(f"{self._model.path}: a recurrent state cannot go back in a sequence")

    def copy(self, source: int, target: int, n_tokens: int) -> None:
        """Put the first `n_tokens` of a sequence into another, an empty one, too.

        The context must be one with `sharing`: both then have the same cells, and nothing is
        copied. A recurrent state is copied whole, whatever `n_tokens`.
        """
        lib = llama_cpp()
        lib.llama_memory_seq_cp(lib.llama_get_memory(self.handle), source, target, 0, n_tokens)

    def decode(self, batch: Batch) -> Results:
        """Run a batch, when no other context over the same weights runs one.

        Returns the logits of the tokens with `wanted`, in order, shape [n_wanted, n_vocab], or
        of an encoder their embeddings, [n_wanted, n_embd]: a view valid until the next call.
        Raises MalformedFileError when llama.cpp fails, UsageError when the context is closed.
        """
        lib, model = llama_cpp(), self._model
        run = lib.llama_encode if model.is_encoder else lib.llama_decode
        native, _kept = native_batch(batch)
        if not self._has_run:
            model.on_trial()
        with self._native.lock:
            status = run(self.handle, native)
        beat()
        if status == ABORTED:
            check_stop()
        if status != 0:
            problem = f"llama.cpp failed to run it (status {status}): {last_errors()}"
            raise MalformedFileError(str(model.path), problem)
        if not self._has_run:
            self._has_run = True
            model.has_run()
        shape = (int(batch.wanted.sum()), model.n_results)
        if shape[0] == 0:
            return np.empty(shape, dtype=np.float32)
        results = lib.llama_get_embeddings if model.is_encoder else lib.llama_get_logits
        return np.ctypeslib.as_array(results(self.handle), shape)

    def sample(self, sampler: Any) -> int:
        """The token that a chain of samplers draws by the last logits of the last decode."""
        return int(llama_cpp().llama_sampler_sample(sampler, self.handle, -1))


@contextmanager
def opened_context(
    model: Model,
    n_ctx: int,
    n_batch: int,
    n_seq_max: int = 1,
    taps: Taps | None = None,
    *,
    sharing: bool = False,
    keeps_all_windows: bool = True,
) -> Iterator[Context]:
    """A context of `n_ctx` tokens over all its sequences, which decodes up to `n_batch` at once.

    With `taps`, each decode is one micro-batch. Without `keeps_all_windows`, the cache of blocks
    with a sliding window holds no more tokens than the window. With `sharing`, tokens may be in
    several sequences. Raises MalformedFileError when llama.cpp cannot make the context, and
    UsageError when memory does not suffice or the model is closed.
    """
    lib = llama_cpp()
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = n_ctx, n_batch, n_seq_max
    params.kv_unified = sharing
    if taps is not None:
        params.n_ubatch, params.cb_eval = n_batch, taps.callback
    if model.is_encoder:  # its tokens see each other, so they run at once, and none are pooled
        params.n_ubatch, params.embeddings = n_batch, True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_NONE
    params.flash_attn_type = _flash_attention_type(model)
    params.swa_full = keeps_all_windows
    params.n_threads = params.n_threads_batch = n_threads_of(model.options)
    set_abort_callback(params, lib.ggml_abort_callback)
    model.on_trial()
    with log_read_by(model.use.read):
        handle = lib.llama_init_from_model(model.handle, params)
    beat()
    if not handle:
        raise failure(model.path, f"llama.cpp cannot make a context of {n_ctx} tokens")
    context = Context(model, handle)
    try:
        yield context
    finally:
        context.free()


def _flash_attention_type(model: Model) -> int:
    lib = llama_cpp()
    if model.architecture in WITHOUT_FLASH_ATTENTION or model.flash_attention is False:
        return int(lib.LLAMA_FLASH_ATTN_TYPE_DISABLED)
    if model.flash_attention:
        return int(lib.LLAMA_FLASH_ATTN_TYPE_ENABLED)
    return int(lib.LLAMA_FLASH_ATTN_TYPE_AUTO)


def uses_flash_attention(model: Model) -> bool:
    """Whether llama.cpp chooses flash attention for a model, by the log of a small context.

    It does so where each cache is on a device that can compute it (src/llama-context.cpp:507-560).
    """
    lines: list[str] = []
    with log_read_by(lines.append), opened_context(model, 1, 1):
        return any(line.endswith("Flash Attention enabled") for line in lines)
