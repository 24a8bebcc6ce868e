"""A file in memory that looks like the planned one, and holds only what must be read from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.aliasing.shared_tensors import PlannedTensor
from ggufsurgeon.errors import (
    AliasingUnavailableError,
    GgufSurgeonError,
    UsageError,
    WriteFailedError,
)
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.span_writers.copying import Copier, write_all
from ggufsurgeon.writing.span_writers.sources import opened_sources
from ggufsurgeon.writing.span_writers.spans import write_span


@contextmanager
def opened_virtual_file(plan: WritePlan, filled: Iterable[PlannedTensor]) -> Iterator[Path]:
    """The path of a file with the plan's header and size, and with the data of some tensors.

    All else in it is a hole, which takes no memory and reads as zeros. Raises
    AliasingUnavailableError where the system has no such files, UsageError when a source is gone
    or has changed, or memory does not suffice.
    """
    if not hasattr(os, "memfd_create"):
        raise AliasingUnavailableError("this system cannot make a file in memory (memfd_create)")
    descriptor = os.memfd_create("ggufsurgeon")
    try:
        try:
            _fill(descriptor, plan, filled)
        except WriteFailedError as error:
            raise _changed(error) from None
        except OSError as error:
            raise UsageError(f"a file in memory cannot be written: {error.strerror}") from None
        path = Path(f"/proc/self/fd/{descriptor}")
        if not path.exists():
            raise AliasingUnavailableError("this system does not show open files (/proc/self/fd)")
        yield path
    finally:
        os.close(descriptor)


def _fill(descriptor: int, plan: WritePlan, filled: Iterable[PlannedTensor]) -> None:
    write_all(descriptor, plan.header)
    os.ftruncate(descriptor, plan.n_bytes)
    copier = Copier(descriptor, NO_PROGRESS)
    with opened_sources(plan.sources) as sources:
        for tensor in filled:
            os.lseek(descriptor, tensor.offset_in_file, os.SEEK_SET)
            for span in tensor.spans:
                write_span(copier, sources, span)


def _changed(error: WriteFailedError) -> GgufSurgeonError:
    return UsageError(f"{error}", hint="Load the model again.")
