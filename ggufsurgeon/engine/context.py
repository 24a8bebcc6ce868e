"""A context: the memory of a run, and decoding in it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.devices.heartbeat import beat
from ggufsurgeon.engine.library import last_errors, llama_cpp, log_read_by
from ggufsurgeon.engine.model import Model, failure
from ggufsurgeon.engine.native import NativeObject
from ggufsurgeon.engine.stopping import ABORTED, check_stop, set_abort_callback
from ggufsurgeon.engine.taps import Taps
from ggufsurgeon.engine.threads import default_threads
from ggufsurgeon.errors import MalformedFileError, UsageError

Integers: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Results: TypeAlias = npt.NDArray[np.float32]
"""Logits, shape [n, n_vocab], or embeddings of an encoder, [n, n_embd]."""


MAX_SEQUENCES = 256
"""`LLAMA_MAX_SEQ`, src/llama-cparams.h."""
WITHOUT_FLASH_ATTENTION = ("plm",)
"""Architectures on which llama.cpp ends the process with it (src/models/plm.cpp:131)."""


class Batch(NamedTuple):
    """Tokens to run, their positions and sequences, and flags for results; each [n_tokens]."""

    tokens: Integers
    positions: Integers
    sequences: Integers
    wanted: Flags
    n_sharing: Integers | None = None
    """Number of sequences that hold each token, counted from its own; None means one."""

    @classmethod
    def of(cls, tokens: Integers, wanted: Flags | None = None) -> Batch:
        """A batch of one sequence from its beginning; without `wanted`, all tokens give results."""
        n = len(tokens)
        wanted = np.ones(n, dtype=np.bool_) if wanted is None else wanted
        return cls(tokens, np.arange(n, dtype=np.int32), np.zeros(n, dtype=np.int32), wanted)

    @classmethod
    def side_by_side(cls, tokens: Integers, first: int, wanted: Flags) -> Batch:
        """Tokens [n_seq, n] of as many sequences, all at positions from `first` on.

        `wanted`, [n], holds for each of the sequences.
        """
        n_seq, n = tokens.shape
        return cls(
            tokens=tokens.reshape(-1),
            positions=np.tile(np.arange(first, first + n, dtype=np.int32), n_seq),
            sequences=np.repeat(np.arange(n_seq, dtype=np.int32), n),
            wanted=np.tile(wanted, n_seq),
        )

    @property
    def n_sequences(self) -> int:
        """Number of sequences, from 0 to the highest that is used."""
        return int((self.sequences + self.sharing).max())

    @property
    def sharing(self) -> Integers:
        """`n_sharing`, with a one for each token where it is None."""
        if self.n_sharing is None:
            return np.ones(len(self.tokens), dtype=np.int32)
        return self.n_sharing

    def has_tokens_of(self, other: Batch) -> bool:
        """Whether both run the same tokens at the same places, whichever are wanted."""
        return all(
            map(
                np.array_equal,
                (self.tokens, self.positions, self.sequences, self.sharing),
                (other.tokens, other.positions, other.sequences, other.sharing),
            )
        )

    def repeated(self, n: int) -> Batch:
        """This batch `n` times, each time in sequences of its own."""
        if n == 1:
            return self
        shift = np.repeat(np.arange(n, dtype=np.int32) * self.n_sequences, len(self.tokens))
        return Batch(
            np.tile(self.tokens, n),
            np.tile(self.positions, n),
            np.tile(self.sequences, n) + shift,
            np.tile(self.wanted, n),
            None if self.n_sharing is None else np.tile(self.n_sharing, n),
        )

    def part(self, piece: slice) -> Batch:
        """The batch of the tokens in a slice."""
        n_sharing = None if self.n_sharing is None else self.n_sharing[piece]
        return Batch(
            self.tokens[piece],
            self.positions[piece],
            self.sequences[piece],
            self.wanted[piece],
            n_sharing,
        )

    def parts(self, n_tokens: int) -> list[Batch]:
        """The tokens in order, `n_tokens` at most in each batch."""
        starts = range(0, len(self.tokens), n_tokens)
        return [self.part(slice(start, start + n_tokens)) for start in starts]


def as_tokens(tokens: npt.ArrayLike) -> Integers:
    """Token ids as int32 [n_tokens]. Raises UsageError for anything but a list of integers."""
    ids = np.asarray(tokens)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise UsageError(f"expected token ids, integers [n_tokens], got {ids.dtype} {ids.shape}")
    return ids.astype(np.int32)


def as_flags(wanted: npt.ArrayLike | None, n_tokens: int) -> Flags:
    """Flags as bool [n_tokens], all set for None. Raises UsageError for another shape."""
    flags = np.ones(n_tokens, dtype=np.bool_) if wanted is None else np.asarray(wanted).astype(bool)
    if flags.shape != (n_tokens,):
        raise UsageError(f"expected a flag for each of {n_tokens} tokens, got shape {flags.shape}")
    return flags


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


def native_batch(batch: Batch) -> tuple[Any, tuple[npt.NDArray[Any], ...]]:
    """A `llama_batch`, and the arrays that it points to, which must outlive it."""
    n_sharing = batch.sharing
    # The sequences of a token follow one another, so each begins somewhere in this row.
    sequences = np.arange(batch.n_sequences, dtype=np.int32)
    pointers = sequences.ctypes.data + 4 * batch.sequences.astype(np.uintp)
    arrays: tuple[npt.NDArray[Any], ...] = (
        np.ascontiguousarray(batch.tokens, dtype=np.int32),
        np.ascontiguousarray(batch.positions, dtype=np.int32),
        np.ascontiguousarray(n_sharing, dtype=np.int32),
        pointers,
        np.ascontiguousarray(batch.wanted, dtype=np.bool_),
    )
    native = llama_cpp().llama_batch()
    native.n_tokens = len(batch.tokens)
    for field, array in zip(("token", "pos", "n_seq_id", "seq_id", "logits"), arrays, strict=True):
        kind = type(getattr(native, field))
        setattr(native, field, ctypes.cast(array.ctypes.data, kind))
    return native, (*arrays, sequences)


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
    params.n_threads = params.n_threads_batch = model.options.n_threads or default_threads()
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
