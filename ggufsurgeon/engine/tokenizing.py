"""Texts to tokens by llama.cpp's tokenizers, on a stack that is deep enough for them.

Most pre-tokenizers of llama.cpp split a text by `std::regex` (src/unicode.cpp,
`unicode_regex_split_stl`), which calls itself once more for each character of a match: with
libstdc++ it takes 320 bytes of stack for each, so that a run of 26,000 letters, or of newlines, is
more than the 8 MB of a main thread. The process then ends with SIGSEGV. A thread with a stack of
the right size reads such a text as any other; what it does not use of the stack costs no memory.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.installation.library import llama_cpp

T = TypeVar("T")

SHORT_N_BYTES = 1000
"""A text up to this length is read on the stack of the caller."""
LONG_RUN = 10_000
"""Characters: shorter runs need less than the stack that a process has anyway."""
STACK_N_BYTES_PER_CHARACTER = 512
LARGEST_STACK_N_BYTES = 4 << 30
"""Enough for runs of 8 million characters."""
LEAST_STACK_N_BYTES = 8 << 20
KINDS = ("letters", "digits", "white-space characters", "punctuation characters")

_starting = threading.Lock()
_readers: list[Callable[[str], None]] = []


def report_reading(to: Callable[[str], None]) -> None:
    """Call `to` with the longest run of a text before it is read, and with "" after that.

    Only runs that could end llama.cpp are reported.
    """
    _readers.append(to)


def read_tokens(
    vocabulary: Any, text: bytes, *, add_special: bool, parse_special: bool
) -> npt.NDArray[np.int32] | None:
    """Tokens of `text`, shape [n_tokens], by a native vocabulary; None if it cannot be read.

    `add_special` adds BOS and EOS where the model does; `parse_special` reads special tokens that
    are written out as what they stand for (`llama_tokenize`, include/llama.h).
    """

    def read() -> npt.NDArray[np.int32] | None:
        return _read(vocabulary, text, add_special, parse_special)

    if len(text) <= SHORT_N_BYTES:
        return read()
    if _readers and (run := longest_run(text)).length >= LONG_RUN:
        for report in _readers:
            report(str(run))
    tokens = _on_deep_stack(read, len(text) * STACK_N_BYTES_PER_CHARACTER)
    for report in _readers:
        report("")
    return tokens


def _read(
    vocabulary: Any, text: bytes, add_special: bool, parse_special: bool
) -> npt.NDArray[np.int32] | None:
    lib = llama_cpp()
    room = len(text) + 2  # BOS and EOS come on top
    while True:
        tokens: npt.NDArray[np.int32] = np.empty(room, dtype=np.int32)
        pointer = ctypes.cast(tokens.ctypes.data, ctypes.POINTER(lib.llama_token))
        ways = add_special, parse_special
        n = int(lib.llama_tokenize(vocabulary, text, len(text), pointer, room, *ways))
        if n >= 0:
            return np.array(tokens[:n])
        # A byte seldom becomes several tokens: a space is escaped as three bytes.
        if -n <= room:
            return None
        room = -n


def written_text(vocabulary: Any, tokens: npt.NDArray[np.int32]) -> bytes:
    """The text of tokens [n_tokens] without special ones (`llama_detokenize`, include/llama.h)."""
    lib = llama_cpp()
    pointer = ctypes.cast(tokens.ctypes.data, ctypes.POINTER(lib.llama_token))
    room = 16 + 8 * len(tokens)
    while True:
        text = ctypes.create_string_buffer(room)
        n = int(lib.llama_detokenize(vocabulary, pointer, len(tokens), text, room, False, False))
        if n >= 0:
            return text.raw[:n]
        room = -n


def _on_deep_stack(call: Callable[[], T], n_bytes: int) -> T:
    """What `call` returns or raises in a thread with a stack of `n_bytes`, within the bounds.

    Where the system starts no thread, the stack of the caller must do.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    if not _start(thread, min(max(n_bytes, LEAST_STACK_N_BYTES), LARGEST_STACK_N_BYTES)):
        return call()
    try:
        return future.result()
    finally:  # after Ctrl-C too: the thread reads what the caller is about to free
        thread.join()


def _start(thread: threading.Thread, n_bytes: int) -> bool:
    """Start a thread with a stack of `n_bytes`, or half of it as long as there is no room.

    Returns whether it runs. The size is one of the whole process, so it is put back at once.
    """
    with _starting:
        before = threading.stack_size()
        try:
            while n_bytes >= LEAST_STACK_N_BYTES:
                threading.stack_size(n_bytes)
                try:
                    thread.start()
                    return True
                except RuntimeError:  # by a limit of address space, for one
                    n_bytes //= 2
        finally:
            threading.stack_size(before)
    return False


class Run(NamedTuple):
    """Neighbouring characters of one kind in a text."""

    line: int
    """The line that it begins in, from 1 on."""
    length: int
    """Characters, of which those beyond ASCII count as letters."""
    kind: str

    def __str__(self) -> str:
        return f"{self.length:,} {self.kind} without a break, from line {self.line:,} on"


def longest_run(text: bytes) -> Run:
    """The longest run in a text of at least one byte."""
    kinds = _KIND_OF_BYTE[np.frombuffer(text, np.uint8)]
    starts = np.flatnonzero(np.diff(kinds, prepend=np.uint8(255)))
    lengths = np.diff(starts, append=len(text))
    longest = int(lengths.argmax())
    start, length = int(starts[longest]), int(lengths[longest])
    run = text[start : start + length].decode("utf-8", "replace")
    return Run(text.count(b"\n", 0, start) + 1, len(run), KINDS[kinds[start]])


def _kind(byte: int) -> int:
    character = chr(byte)
    if byte >= 128 or character.isalpha():
        return 0
    return 1 if character.isdigit() else 2 if character.isspace() else 3


_KIND_OF_BYTE = np.array([_kind(byte) for byte in range(256)], dtype=np.uint8)
