"""Results of llama.cpp's own reader: `gguf_init_from_file` of the installed library.

The functions are called in a process of their own, since llama.cpp may abort it. Run as a program,
this file is that process: it needs nothing but ctypes, and imports nothing of ggufsurgeon.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

HEADER, DATA = "header", "data"
"""How much is read: the header, as llama.cpp's loader of models begins, or the tensor data too."""


class _Parameters(ctypes.Structure):
    """`gguf_init_params` of ggml/include/gguf.h."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.POINTER(ctypes.c_void_p)))


def library() -> Path | None:
    """The library that has the reader; None where llama-cpp-python is not installed."""
    found = find_spec("llama_cpp")
    folders = found.submodule_search_locations if found else None
    paths = (Path(folder) / "lib/libggml-base.so" for folder in folders or ())
    return next((path for path in paths if path.exists()), None)


class Reader:
    """The process, in which one file after the other is read."""

    def __init__(self, path: Path) -> None:
        self._command = [sys.executable, "-I", __file__, str(path)]
        self._process: subprocess.Popen[str] | None = None

    def takes(self, path: Path, depth: str) -> bool:
        """Whether llama.cpp reads the file; False if the process crashes."""
        if self._process is None:
            pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{depth} {path}\n")
        self._process.stdin.flush()
        verdict = self._process.stdout.readline()
        if not verdict:
            self.close()
        return verdict == "taken\n"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def running(path: Path) -> Iterator[Reader]:
    """A process with the library at `path`."""
    reader = Reader(path)
    try:
        yield reader
    finally:
        reader.close()


def _serve(path: str) -> None:
    base = ctypes.CDLL(path)
    base.gguf_init_from_file.argtypes = (ctypes.c_char_p, _Parameters)
    base.gguf_init_from_file.restype = ctypes.c_void_p
    base.gguf_free.argtypes = base.ggml_free.argtypes = (ctypes.c_void_p,)
    for line in sys.stdin:
        depth, _, name = line.rstrip("\n").partition(" ")
        context = ctypes.c_void_p()
        wanted = ctypes.pointer(context) if depth == DATA else None
        found = base.gguf_init_from_file(name.encode(), _Parameters(False, wanted))
        print("taken" if found else "refused", flush=True)
        if found:
            base.gguf_free(found)
            base.ggml_free(context)


if __name__ == "__main__":
    _serve(sys.argv[1])
