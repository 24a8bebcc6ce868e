"""Pieces of every row of a tensor: many rows at a time, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.write_plan import GatherSpan
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.sink import Sink


def gather(sink: Sink, source: int, span: GatherSpan) -> None:
    """Write a span. Raises OSError when the source ends before it."""
    if span.row_n_bytes > copying.BUFFER_N_BYTES:
        for row in range(span.n_rows):
            for offset, n_bytes in span.pieces:
                start = span.offset_in_file + row * span.row_n_bytes
                sink.copy(source, start + offset, n_bytes)
    else:
        for rows in _gathered(source, span):
            sink.write(rows)


def _gathered(source: int, span: GatherSpan) -> Iterator[memoryview]:
    """The bytes of a span, some rows at a time."""
    widest = max(span.row_n_bytes, span.n_bytes // max(span.n_rows, 1), 1)
    n_at_once = max(1, copying.BUFFER_N_BYTES // widest)
    for row in range(0, span.n_rows, n_at_once):
        n_rows = min(n_at_once, span.n_rows - row)
        offset = span.offset_in_file + row * span.row_n_bytes
        yield _take(copying.read_all(source, offset, n_rows * span.row_n_bytes), n_rows, span)


def _take(data: bytearray, n_rows: int, span: GatherSpan) -> memoryview:
    import numpy as np  # takes 0.1 s to import: only when it is needed

    rows = np.frombuffer(data, np.uint8).reshape(n_rows, span.row_n_bytes)
    taken = np.empty((n_rows, span.n_bytes // span.n_rows), np.uint8)
    at = 0
    for offset, n_bytes in span.pieces:
        taken[:, at : at + n_bytes] = rows[:, offset : offset + n_bytes]
        at += n_bytes
    return taken.reshape(-1).data
