"""The SHA-256 of what a plan would write, without writing it, and of what was written."""

from __future__ import annotations

import hashlib

from ggufsurgeon.errors import UsageError, VerificationError
from ggufsurgeon.progress import Progress
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.failures import hint_of
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import SourceReadError
from ggufsurgeon.writing.span_writers.sources import opened_sources
from ggufsurgeon.writing.span_writers.spans import write_span

COMPARE_SOURCE = "Compare the SHA-256 of the source with that of the original it should be."
COMPARE_SOURCES = (
    "Compare the SHA-256 of each source with that of the file it should be: files with the same "
    "header, such as fine-tunes of one model, may be swapped, or one of them be another."
)


class HashingSink:
    """A sink that hashes what it takes."""

    def __init__(self, progress: Progress) -> None:
        self.digest = hashlib.sha256()
        self._progress = progress

    def write(self, data: bytes | memoryview) -> None:
        """Hash all of `data`."""
        self.digest.update(data)
        self._progress.advance(len(data))

    def write_zeros(self, n_bytes: int) -> None:
        """Hash zeros."""
        zeros = memoryview(bytes(min(n_bytes, copying.BUFFER_N_BYTES)))
        for start in range(0, n_bytes, copying.BUFFER_N_BYTES):
            self.write(zeros[: n_bytes - start])

    def copy(self, source: int, offset_in_file: int, n_bytes: int) -> None:
        """Hash a part of a file. Raises OSError when it ends before."""
        for start in range(0, n_bytes, copying.BUFFER_N_BYTES):
            n = min(copying.BUFFER_N_BYTES, n_bytes - start)
            self.write(memoryview(copying.read_all(source, offset_in_file + start, n)))


def sha256_of_plan(plan: WritePlan, step: str, progress: Progress) -> str:
    """SHA-256 of the bytes that a plan would write; `step` names the work in its progress.

    Raises UsageError when a source cannot be read, WriteFailedError when it has changed.
    """
    progress.begin(step, plan.n_bytes, "bytes")
    sink = HashingSink(progress)
    try:
        with opened_sources(plan.sources) as sources:
            sink.write(plan.header)
            for span in plan.spans:
                write_span(sink, sources, span)
    except SourceReadError as error:
        raise UsageError(str(error), hint=hint_of(error)) from None
    return sink.digest.hexdigest()


def check_sha256(descriptor: int, plan: WritePlan, expected: str, progress: Progress) -> None:
    """Raise VerificationError unless an open file, the plan of which was carried out, has it."""
    progress.begin("checking SHA-256", plan.n_bytes, "bytes")
    sink = HashingSink(progress)
    sink.copy(descriptor, 0, plan.n_bytes)
    found = sink.digest.hexdigest()
    if found != expected:
        raise VerificationError(
            f"the new file has the SHA-256 {found}, expected {expected}: it was not kept",
            hint=COMPARE_SOURCES if len(plan.sources) > 1 else COMPARE_SOURCE,
        )
