"""A loaded model: where it runs, what it is, its tokenizer."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.architectures.vocabulary.positions import has_learned_positions
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.container.shards import siblings
from ggufsurgeon.engine.devices.device_use import DeviceUse, UseLog
from ggufsurgeon.engine.devices.heartbeat import awaiting
from ggufsurgeon.engine.devices.offload import Offload, find_offload
from ggufsurgeon.engine.devices.options import Devices as Devices
from ggufsurgeon.engine.installation.library import last_errors, llama_cpp, log_read_by
from ggufsurgeon.engine.load_params import load_params
from ggufsurgeon.engine.native_objects.native import NativeObject
from ggufsurgeon.engine.stopping import check_stop
from ggufsurgeon.engine.tokenizing import read_tokens, written_text
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, OutOfMemoryError, UsageError


class Model:
    """A model in memory. Made by `loaded_model`, which also frees it."""

    def __init__(
        self,
        handle: Any,
        path: Path,
        options: Devices,
        use: UseLog,
        parents: Sequence[NativeObject] = (),
    ) -> None:
        lib = llama_cpp()
        when_freed = f"{path} is no longer loaded: use it within its `with` block"
        self.native = NativeObject(handle, lib.llama_model_free, when_freed, *parents)
        """The native model, which frees its contexts first. `parents` have its weights, if any."""
        self.path = path
        self._status = _status(path)
        self.options = options
        self.n_vocab = int(lib.llama_vocab_n_tokens(self._vocab))
        self.n_embd = int(lib.llama_model_n_embd(handle))
        self.n_blocks = int(lib.llama_model_n_layer(handle))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self._vocab))
        self.adds_eos = bool(lib.llama_vocab_get_add_eos(self._vocab))
        self.bos = int(lib.llama_vocab_bos(self._vocab))
        self.eos = int(lib.llama_vocab_eos(self._vocab))
        self.architecture = _metadata(handle, "general.architecture")
        self.n_swa = int(lib.llama_model_n_swa(handle))
        """Tokens of the sliding window; 0 for none."""
        self.n_ctx_train = int(lib.llama_model_n_ctx_train(handle))
        self.has_tokenizer = bool(lib.llama_vocab_type(self._vocab) != lib.LLAMA_VOCAB_TYPE_NONE)
        self.use = use
        """Reader of llama.cpp's log for the memory of the model and its last context."""
        self.flash_attention: bool | None = None
        """Whether contexts use flash attention; None for llama.cpp's own choice."""
        self.on_suspect: Callable[[Path | None], None] | None = None
        """Called with the path before llama.cpp may crash on the file, and with None after."""

    @property
    def handle(self) -> Any:
        """The native model. Raises UsageError once it was freed."""
        return self.native.handle

    @cached_property
    def file(self) -> GgufFile:
        """The header of the file that the model was loaded from, or of an aliased model's plan."""
        return open_gguf(self.path)

    def free(self) -> None:
        """Free the native model and its contexts; every later use raises UsageError."""
        self.native.free()

    def check_unchanged(self) -> None:
        """Raise UsageError when the file is another one than when it was loaded."""
        if _status(self.path) != self._status:
            raise UsageError(
                f"{self.path} has changed since it was loaded", hint="Load the model again."
            )

    def on_trial(self) -> None:
        """Note that llama.cpp is about to do something with this model for the first time."""
        if self.on_suspect is not None:
            self.on_suspect(self.path)

    def has_run(self) -> None:
        """Note that a context of this model has decoded a batch: no later crash is blamed on it."""
        if self.on_suspect is not None:
            self.on_suspect(None)
            self.on_suspect = None

    def devices(self) -> tuple[DeviceUse, ...]:
        """What each device holds of the model and its most recent context, by llama.cpp's log."""
        return self.use.devices()

    @property
    def _vocab(self) -> Any:
        return llama_cpp().llama_model_get_vocab(self.handle)

    @property
    def is_encoder(self) -> bool:
        """Whether it makes embeddings and has no logits, by its architecture."""
        row = ARCHITECTURES.get(self.architecture)
        return row is not None and row.is_encoder

    @property
    def n_results(self) -> int:
        """Number of results of a token: logits, or dimensions of an encoder's embedding."""
        if self.is_encoder:
            return int(llama_cpp().llama_model_n_embd_out(self.handle))
        return self.n_vocab

    @property
    def has_state(self) -> bool:
        """Whether blocks keep a recurrent state, which sequences cannot share tokens in.

        llama.cpp cannot split such batches (src/llama-memory-recurrent.cpp:445).
        """
        lib = llama_cpp()
        return bool(
            lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle)
        )

    @property
    def no_text(self) -> str:
        """Why this model cannot predict the next token of a text; empty when it can."""
        if not self.has_tokenizer:
            return "it has no tokenizer"
        if self.is_encoder:
            return "it is an encoder, which makes embeddings and does not predict the next token"
        if llama_cpp().llama_model_is_diffusion(self.handle):
            return "it is a diffusion model, which does not predict the next token"
        return ""

    def check_context(self, n_tokens: int) -> None:
        """Raise UsageError for more tokens than the model has learned positions for."""
        if n_tokens > self.n_ctx_train and has_learned_positions(self.file.header):
            raise UsageError(
                f"{self.path} has positions for {self.n_ctx_train} tokens, and {n_tokens} are asked"
            )

    def tokenize(self, text: bytes, *, is_rendered: bool = False) -> npt.NDArray[np.int32]:
        """Tokens of `text`, shape [n_tokens], with BOS where the model adds one.

        Special tokens in the text are plain text, as in llama-perplexity; in a text that a chat
        template has rendered they are what they stand for, and none is added. Raises UsageError
        when the model has no tokenizer.
        """
        return self._read(text, add_special=not is_rendered, parse_special=is_rendered)

    def tokenize_prompt(self, text: str, *, adds_bos: bool | None = None) -> npt.NDArray[np.int32]:
        """Tokens of `text` as transformers' tokenizers read it, shape [n_tokens].

        Special tokens in the text are what they stand for. BOS comes in front where the model adds
        one (or as `adds_bos` says), unless the text begins with it. Raises UsageError when the
        model has no tokenizer, and for a text that is not Unicode.
        """
        bos = self.name_of(self.bos)
        adds = self.adds_bos if adds_bos is None else adds_bos
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{self.path} cannot read a text that is not Unicode") from None
        has_bos = bool(bos) and text.startswith(bos)
        return self._read(content, add_special=adds and not has_bos, parse_special=True)

    def _read(
        self, text: bytes, *, add_special: bool, parse_special: bool
    ) -> npt.NDArray[np.int32]:
        if not self.has_tokenizer:
            raise UsageError(f"{self.path} cannot read text: it has no tokenizer")
        tokens = read_tokens(
            self._vocab, text, add_special=add_special, parse_special=parse_special
        )
        if tokens is None:
            raise UsageError(f"the tokenizer of {self.path} cannot read the text: is it UTF-8?")
        return tokens

    def text_of(self, token: int) -> bytes:
        """The bytes that a token id stands for, special tokens included."""
        buffer = ctypes.create_string_buffer(256)
        n_bytes = llama_cpp().llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
        return buffer.raw[: max(n_bytes, 0)]

    def visible_text(self, tokens: Sequence[int]) -> str:
        """The text that tokens generated one after the other make, special tokens hidden.

        As transformers' `decode(skip_special_tokens=True)`: a space that the tokenizer puts in
        front of every text is left out, and bytes that are not UTF-8 are replaced.
        """
        ids = np.array(tokens, dtype=np.int32)
        return written_text(self._vocab, ids).decode("utf-8", "replace")

    def n_bytes_of(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """The bytes of text that each token stands for, in an array of the same shape."""
        to_piece = llama_cpp().llama_token_to_piece
        distinct, places = np.unique(tokens, return_inverse=True)
        # Without room it returns how many bytes it needs, as a negative number.
        lengths = [abs(int(to_piece(self._vocab, token, None, 0, 0, True))) for token in distinct]
        return np.array(lengths, dtype=np.int64)[places].reshape(tokens.shape)

    def name_of(self, token: int) -> str:
        """The text of a token in the vocabulary, such as `<s>`; empty for none (-1)."""
        if token < 0:
            return ""
        name = llama_cpp().llama_vocab_get_text(self._vocab, token)
        return bytes(name).decode("utf-8", "replace")

    def ends_generation(self, token: int) -> bool:
        """Whether `token` is an end of text or of turn."""
        return bool(llama_cpp().llama_vocab_is_eog(self._vocab, token))


def _status(path: Path) -> tuple[tuple[int, ...], ...]:
    """What changes when a file, or a shard, is written or replaced; nothing when it is gone."""
    return tuple(map(_status_of_file, siblings(path)))


def _status_of_file(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _metadata(handle: Any, key: str) -> str:
    """The value of a metadata key as text, up to 255 bytes; empty when there is none."""
    buffer = ctypes.create_string_buffer(256)
    llama_cpp().llama_model_meta_val_str(handle, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


@contextmanager
def loaded_model(
    path: Path, options: Devices, *, vocabulary_alone: bool = False
) -> Iterator[Model]:
    """The model at `path`, or its tokenizer alone; it is freed behind the `with` block.

    Raises MalformedFileError with llama.cpp's reason, OutOfMemoryError when a device has no room,
    and UsageError when one cannot be used, or is missing.
    """
    offload = find_offload(options)
    with awaiting(options.rpc, options.rpc_timeout_s):
        model = _load(path, options, offload, vocabulary_alone)
        try:
            yield model
        finally:
            model.free()


def _load(path: Path, options: Devices, offload: Offload, vocabulary_alone: bool) -> Model:
    lib = llama_cpp()
    params, _kept = load_params(options, offload)
    params.vocab_only = vocabulary_alone
    use = UseLog()
    with log_read_by(use.read):
        handle = lib.llama_model_load_from_file(os.fsencode(path), params)
    if not handle:
        check_stop()
        if not path.exists():
            raise UsageError(f"{path} is no longer there")
        if options.overrides and "expression" in last_errors():  # of a C++ library's own grammar
            raise UsageError(f"llama.cpp cannot read a tensor override: {last_errors()}")
        raise failure(path, "llama.cpp cannot load it")
    return Model(handle, path, options, use)


def failure(path: Path, problem: str) -> GgufSurgeonError:
    """The error to raise after llama.cpp has failed with the model at `path`, with its reason.

    Lack of memory is no fault of the file (src/llama-model.cpp:1881, src/llama-kv-cache.cpp:288).
    """
    reason = last_errors()
    if "alloc" in reason:
        return OutOfMemoryError(
            f"{path}: {problem}, out of memory: {reason}",
            hint="Put less on the device: fewer GPU layers, another split, a smaller context.",
        )
    return MalformedFileError(str(path), f"{problem}: {reason}")
