"""What an edit in place inserts, leaves alone and appends. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.write_plan import (
    CopySpan,
    SourceFile,
    Span,
    ValueSpan,
    WritePlan,
    ZeroSpan,
)

LARGEST_N_BYTES = 64 << 20
"""Largest size of the parts before and after the unmoved data, which are kept in the journal and in
memory."""


class CannotInsertError(Exception):
    """The reason why bytes cannot be inserted into a file. Another method may be possible."""


@dataclass(frozen=True)
class InsertingEdit:
    """An edit that inserts bytes at the start of a file, writes a new prefix over them and the old
    prefix, and appends a tail. The data in between do not move."""

    source: SourceFile
    prefix: bytes
    """The new header with its padding."""
    unmoved: CopySpan
    tail: tuple[Span, ...]
    """Copies of the source, values of added tensors, and zeros."""

    @property
    def n_bytes_inserted(self) -> int:
        """Number of bytes that are inserted before the unmoved data."""
        return len(self.prefix) - self.unmoved.offset_in_file

    @property
    def unmoved_end(self) -> int:
        """Offset in the source at which the unmoved data end."""
        return self.unmoved.offset_in_file + self.unmoved.n_bytes

    @property
    def n_bytes_behind(self) -> int:
        """Size of the source after the unmoved data. The tail, which has these bytes too, replaces
        them."""
        return self.source.n_bytes - self.unmoved_end

    @property
    def n_bytes_tail(self) -> int:
        """Size of the tail."""
        return sum(span.n_bytes for span in self.tail)

    @property
    def n_bytes_written(self) -> int:
        """Size of all that is written."""
        return len(self.prefix) + self.n_bytes_tail


def find_edit(plan: WritePlan) -> InsertingEdit:
    """The edit that turns the source of `plan` into the planned file.

    Raises CannotInsertError when most of the source would not stay as it is.
    """
    n_padding, spans = _without_padding(plan.spans)
    copies = [span for span in spans if isinstance(span, CopySpan)]
    if len(plan.sources) != 1 or not copies or spans[0] is not copies[0]:
        raise CannotInsertError("the data do not start with data of the source")
    if not all(isinstance(span, (CopySpan, ValueSpan, ZeroSpan)) for span in spans):
        raise CannotInsertError("slices of tensors move within the data")
    if len(plan.header) + n_padding > LARGEST_N_BYTES:
        raise CannotInsertError("the header with its padding is too large")
    prefix = plan.header + bytes(n_padding)
    edit = InsertingEdit(plan.sources[0], prefix, copies[0], tuple(spans[1:]))
    if edit.n_bytes_inserted < 0:
        raise CannotInsertError("the data would move towards the start of the file")
    if not edit.n_bytes_behind <= min(edit.n_bytes_tail, LARGEST_N_BYTES):
        raise CannotInsertError("data of tensors move")
    return edit


def _without_padding(spans: tuple[Span, ...]) -> tuple[int, tuple[Span, ...]]:
    """The zeros at the start, and the other spans."""
    if spans and isinstance(spans[0], ZeroSpan):
        return spans[0].n_bytes, spans[1:]
    return 0, spans
