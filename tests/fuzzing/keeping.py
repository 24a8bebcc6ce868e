"""The few small inputs that run the same lines of the program as many large ones."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import ggufsurgeon

PROGRAM = str(Path(ggufsurgeon.__file__).parent)
LARGEST_KEPT = 3000
"""Bytes of an input that is kept, so that the corpus stays small."""

Line = tuple[str, int]


def smallest_cover(
    target: Callable[[bytes], None], inputs: Iterable[bytes], reached: set[Line]
) -> Iterator[bytes]:
    """The inputs, smallest first, that run lines which none before them did.

    `reached` are lines that need no input any more; it is updated.
    """
    small = (data for data in set(inputs) if len(data) <= LARGEST_KEPT)
    for data in sorted(small, key=lambda data: (len(data), data)):
        new = lines_run(target, data) - reached
        if new:
            reached |= new
            yield data


def lines_run(target: Callable[[bytes], None], data: bytes) -> set[Line]:
    """The lines of the program that an input runs."""
    lines: set[Line] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PROGRAM):
            return None
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(before)
    return lines


def name_of(data: bytes) -> str:
    """The name of the file of an input, as libFuzzer names them."""
    return hashlib.sha1(data).hexdigest()
