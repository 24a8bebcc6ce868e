"""The sources of a plan, opened for reading. They must not have changed since planning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.write_plan import SourceFile
from ggufsurgeon.writing.span_writers.copying import SourceReadError, read_some


@contextmanager
def opened_sources(sources: Sequence[SourceFile]) -> Iterator[list[int]]:
    """Read-only file descriptors, one per source.

    Raises SourceReadError when one cannot be opened, WriteFailedError when it has changed since the
    plan was made, or, at the end of the block, in the meantime. A SourceReadError of the block gets
    the path of its source.
    """
    with ExitStack() as stack:
        descriptors = [_open(source, stack) for source in sources]
        opened = list(zip(sources, descriptors, strict=True))
        before = [os.fstat(descriptor) for descriptor in descriptors]
        try:
            for source, descriptor in opened:
                check_header(source, descriptor, "has changed since it was read")
            yield descriptors
            for (source, descriptor), status in zip(opened, before, strict=True):
                _check_unchanged(source, descriptor, status)
        except SourceReadError as error:
            if isinstance(error.source, int):
                error.source = sources[descriptors.index(error.source)].path
            raise


def _open(source: SourceFile, stack: ExitStack) -> int:
    try:
        descriptor = os.open(source.path, os.O_RDONLY)
    except OSError as error:
        raise SourceReadError(source.path, None, error) from None
    stack.callback(_close, descriptor)
    return descriptor


def check_header(source: SourceFile, descriptor: int, problem: str) -> None:
    """Raise WriteFailedError unless an open file has the size and the header of a source."""
    same_size = os.fstat(descriptor).st_size == source.n_bytes
    header = read_some(descriptor, 0, source.header_n_bytes) if same_size else b""
    if not same_size or hashlib.sha256(header).hexdigest() != source.header_sha256:
        raise WriteFailedError(f"{source.path} {problem}")


def _check_unchanged(source: SourceFile, descriptor: int, before: os.stat_result) -> None:
    """Raise WriteFailedError when a source was written to, even if its content is the same.

    The change time is compared too, which programs cannot set; a new name or mode also changes it.
    """
    problem = "was changed while it was read"
    after = os.fstat(descriptor)
    if (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
        raise WriteFailedError(
            f"{source.path} {problem}", hint="Wait until nothing writes to it, then try again."
        )
    check_header(source, descriptor, problem)


def _close(descriptor: int) -> None:
    """Close a file that was only read: a failure has no consequence."""
    with suppress(OSError):
        os.close(descriptor)
