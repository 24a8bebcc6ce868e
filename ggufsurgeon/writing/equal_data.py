"""Data of two files that a plan takes once, because they are the same in both."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.write_plan import CopySpan, SourceFile
from ggufsurgeon.writing.failures import hint_of
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import SourceReadError
from ggufsurgeon.writing.span_writers.sources import opened_sources


def check_equal_data(
    sources: Sequence[SourceFile], pairs: Sequence[tuple[CopySpan, CopySpan, str]]
) -> None:
    """Raise RefusedError unless the spans of each pair have the same data; the last is its name.

    Raises UsageError when a source cannot be read, WriteFailedError when it has changed.
    """
    if not pairs:
        return
    try:
        with opened_sources(sources) as descriptors:
            for first, second, name in pairs:
                if not _are_equal(descriptors, first, second):
                    paths = [sources[span.source].path for span in (first, second)]
                    raise RefusedError(
                        f"{name}, which the blocks of all models read, is another tensor in "
                        f"{paths[0]} than in {paths[1]}: their blocks cannot be mixed"
                    )
    except SourceReadError as error:
        raise UsageError(str(error), hint=hint_of(error)) from None


def _are_equal(descriptors: Sequence[int], first: CopySpan, second: CopySpan) -> bool:
    for done in range(0, first.n_bytes, copying.BUFFER_N_BYTES):
        n_bytes = min(copying.BUFFER_N_BYTES, first.n_bytes - done)
        ours, theirs = (
            copying.read_all(descriptors[span.source], span.offset_in_file + done, n_bytes)
            for span in (first, second)
        )
        if bytes(ours) != bytes(theirs):
            return False
    return True
