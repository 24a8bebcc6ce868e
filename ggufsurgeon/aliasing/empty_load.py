"""Loading of a model whose weights are elsewhere: into empty buffers, but for those it needs read.

A weight goes to the buffer type that its name asks for (`tensor_buft_overrides`, include/llama.h;
src/llama-model-loader.cpp:1234-1262). A matrix that is both embedding and output is asked for twice
under one name; two tensors come of it only in two buffer types (src/llama-model-loader.cpp:1371).
So the second request of a name, which llama.cpp's log announces, is given another type.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.aliasing.empty_buffer import EmptyBufferType
from ggufsurgeon.aliasing.layout_check import check_layout
from ggufsurgeon.engine.devices.device_use import UseLog
from ggufsurgeon.engine.installation.library import llama_cpp, log_read_by
from ggufsurgeon.engine.load_params import LayerSplit, split_params
from ggufsurgeon.engine.model import failure
from ggufsurgeon.engine.native_objects.native_overrides import NativeOverride
from ggufsurgeon.engine.stopping import check_stop
from ggufsurgeon.errors import AliasingUnavailableError

NAMES = "Aliased", "Aliased_2"
"""How llama.cpp's log calls empty buffers. It knows types apart by their names
(src/llama-model-loader.h:144)."""
REQUEST = re.compile(r"create_tensor: loading tensor (\S+)")
"""The line of the log before a weight is given its type (src/llama-model-loader.cpp:1336)."""
_one_at_a_time = threading.Lock()
"""The buffer types note one load at a time."""


class EmptyWeight(NamedTuple):
    """A weight in an empty buffer."""

    name: str
    address: int
    is_second: bool
    """Whether it is the tensor of the later requests of its name."""


class EmptyLoad(NamedTuple):
    """A loaded model without its weights."""

    handle: Any
    weights: tuple[EmptyWeight, ...]
    buffers: frozenset[int]
    """Addresses of its empty buffers."""
    use: UseLog


def load_empty(path: Path, shown: Path, read: Collection[str], split: LayerSplit) -> EmptyLoad:
    """Load the file at `path`, called `shown` in errors; of its weights only those named in `read`.

    Raises AliasingUnavailableError when this llama.cpp is not known, MalformedFileError when it
    cannot load the file, UsageError when a device has no room for what is read.
    """
    check_layout()
    first, second = _empty_types()
    with _one_at_a_time:
        overrides, use = _Overrides(read, first, second), UseLog()
        with log_read_by(overrides.follow), log_read_by(_without_empty(use)):
            handle = _load(path, split, overrides.address)
        if not handle:
            check_stop()
            raise failure(shown, "llama.cpp cannot load it")
        weights = tuple(_taken_from(first, False)) + tuple(_taken_from(second, True))
        if not overrides.explain(weights):
            llama_cpp().llama_model_free(handle)
            raise AliasingUnavailableError(
                "llama.cpp's log does not announce the tensors of a model as expected"
            )
        return EmptyLoad(handle, weights, frozenset(first.buffers | second.buffers), use)


def _load(path: Path, split: LayerSplit, overrides: int) -> Any:
    for empty in _empty_types():
        empty.forget()
    lib = llama_cpp()
    params, _kept = split_params(split)
    params.tensor_buft_overrides = overrides
    # A mapped file would be read ahead in full, and a lazy weight's name is asked for no type.
    params.load_mode, params.lazy_mode = lib.LLAMA_LOAD_MODE_NONE, lib.LLAMA_LAZY_MODE_OFF
    return lib.llama_model_load_from_file(os.fsencode(path), params)


def _taken_from(empty: EmptyBufferType, is_second: bool) -> Iterator[EmptyWeight]:
    """The weights in buffers of a type, which have their names again."""
    empty.give_names_back()
    for address, name in empty.names.items():
        yield EmptyWeight(name.decode("utf-8", "surrogateescape"), address, is_second)


@cache
def _empty_types() -> tuple[EmptyBufferType, EmptyBufferType]:
    """The types of a name's first and of its later requests."""
    first, second = map(EmptyBufferType, NAMES)
    return first, second


def _without_empty(use: UseLog) -> Any:
    """A reader of the log that leaves out what empty buffers seem to hold."""
    return lambda line: None if any(f" {name} " in line for name in NAMES) else use.read(line)


class _Overrides:
    """The list of overrides that the loader reads anew for each weight."""

    def __init__(
        self, read: Collection[str], first: EmptyBufferType, second: EmptyBufferType
    ) -> None:
        names = "|".join(re.escape(name) for name in read)
        pattern = f"^(?!({names})$)" if read else ".*"
        self._list = (NativeOverride * 2)(
            NativeOverride(pattern.encode(), first.address), NativeOverride()
        )
        self._types = first.address, second.address
        self._seen: set[str] = set()
        self._seen_again: set[str] = set()

    @property
    def address(self) -> int:
        """The native list."""
        return ctypes.addressof(self._list)

    def follow(self, line: str) -> None:
        """Set the type of the next weight by the line of the log that announces it."""
        match = REQUEST.match(line)
        if match:
            is_again = match[1] in self._seen
            self._list[0].type = self._types[is_again]
            (self._seen_again if is_again else self._seen).add(match[1])

    def explain(self, weights: Collection[EmptyWeight]) -> bool:
        """Whether there is a weight for each request of the log, and no other."""
        first = {weight.name for weight in weights if not weight.is_second}
        second = {weight.name for weight in weights if weight.is_second}
        return first <= self._seen and second == first & self._seen_again
