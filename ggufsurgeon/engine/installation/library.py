"""The llama_cpp module, imported on first use, with its log captured."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.engine.installation.library_errors import import_error

_LOG_LINES = 40
_ERROR = 4
"""`GGML_LOG_LEVEL_ERROR`, ggml/include/ggml.h."""
_log: deque[str] = deque(maxlen=_LOG_LINES)
_readers: list[tuple[int, Callable[[str], None]]] = []
"""Functions, and the thread that each reads the log of."""
_prints_errors = threading.Event()
_is_imported_alone = threading.Event()


@cache
def llama_cpp() -> Any:
    """The low-level bindings.

    Raises MissingExtraError when they are not installed, or their library does not load.
    """
    try:
        bindings = _import_bindings()
    except Exception as error:  # OSError, RuntimeError or AttributeError, by what is wrong with it
        raise import_error(error) from None
    bindings.llama_log_set(_make_log_callback(bindings), ctypes.c_void_p(0))
    if _is_imported_alone.is_set():  # the package would take the log when it is imported later
        bindings.llama_log_set = lambda _callback, _user_data: None
    bindings.llama_backend_init()
    return bindings


def _import_bindings() -> Any:
    spec = None
    if _is_imported_alone.is_set() and "llama_cpp" not in sys.modules:
        spec = find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        return import_module("llama_cpp.llama_cpp")
    sys.modules["llama_cpp"] = module_from_spec(spec)  # which `__init__` has not run in
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]


def import_bindings_alone() -> None:
    """Let `llama_cpp` import the bindings without the high-level classes from now on.

    These classes take as long to import as NumPy and the bindings. They can still be imported
    later. For workers only, where no other thread imports the package at the same time.
    """
    _is_imported_alone.set()


@cache
def ggml() -> ctypes.CDLL:
    """ggml as libllama has loaded it.

    The wheel holds each library several times under different names, and opening one by its name
    loads a second copy, whose devices and settings libllama does not see. A symbol that is looked
    up through libllama's own handle comes from the libraries that it is linked with.
    """
    library = llama_cpp()._lib
    return ctypes.CDLL(library._name, handle=library._handle)


@cache  # the library calls it for as long as the process lives
def _make_log_callback(bindings: Any) -> Any:
    def keep(level: int, text: bytes, _user_data: object) -> None:
        if level == _ERROR and _prints_errors.is_set():
            os.write(2, text)
        line = text.decode("utf-8", "replace").rstrip("\n")
        _log.append(line)
        for thread, read in tuple(_readers):
            if thread == threading.get_ident():
                read(line)

    return bindings.llama_log_callback(keep)


def print_logged_errors() -> None:
    """From now on print the errors of the log on standard error, which a worker's parent reads.

    Before it aborts, a backend such as CUDA's says why in the log alone, which ends with the
    process (`ggml_cuda_error`, ggml/src/ggml-cuda/ggml-cuda.cu).
    """
    _prints_errors.set()


@contextmanager
def log_read_by(read: Callable[[str], None]) -> Iterator[None]:
    """Call `read` with each line, of every level, that llama.cpp logs in this thread's calls."""
    reader = threading.get_ident(), read
    _readers.append(reader)
    try:
        yield
    finally:
        _readers.remove(reader)


def last_errors() -> str:
    """Up to three of the last lines of llama.cpp's log that contain "error", else the last line."""
    lines = [line for line in _log if line.strip(" .")]
    told = [line for line in lines if "error" in line.lower()][-3:] or lines[-1:]
    return "\n".join(map(printable, told))  # a name in a line may have line breaks
