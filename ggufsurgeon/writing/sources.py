"""The sources of a plan, opened for reading and checked to be what was planned with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.write_plan import SourceFile


@contextmanager
def opened_sources(sources: tuple[SourceFile, ...]) -> Iterator[list[int]]:
    """Read-only file descriptors, one a source.

    Raises WriteFailedError when a source is gone or has changed since the plan was made.
    """
    with ExitStack() as stack:
        yield [_open(source, stack) for source in sources]


def _open(source: SourceFile, stack: ExitStack) -> int:
    descriptor = os.open(source.path, os.O_RDONLY)
    stack.callback(_close, descriptor)
    header = os.pread(descriptor, source.header_n_bytes, 0)
    same_size = os.fstat(descriptor).st_size == source.n_bytes
    if not same_size or hashlib.sha256(header).hexdigest() != source.header_sha256:
        raise WriteFailedError(f"{source.path} has changed since it was read")
    return descriptor


def _close(descriptor: int) -> None:
    """Close a file that was only read: a failure has no consequence."""
    with suppress(OSError):
        os.close(descriptor)
