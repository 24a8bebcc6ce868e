"""Parts of what spans write, and spans over a file that itself exists only as spans."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ggufsurgeon.container.codec import parse_header
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.write_plan import (
    CopySpan,
    GatherSpan,
    Piece,
    ScaleSpan,
    Span,
    ValueSpan,
    WritePlan,
    ZeroSpan,
    coalesce,
)


def cut(spans: Sequence[Span], start: int, end: int) -> Iterator[Span]:
    """The spans that write the bytes from `start` to `end` of what `spans` write.

    Raises RefusedError where a span that gathers pieces of rows would be cut in two.
    """
    at = 0
    for span in spans:
        first, last = max(start - at, 0), min(end - at, span.n_bytes)
        if first < last:
            yield _part(span, first, last - first)
        at += span.n_bytes


def _part(span: Span, start: int, n_bytes: int) -> Span:
    if n_bytes == span.n_bytes:
        return span
    if isinstance(span, ZeroSpan):
        return ZeroSpan(n_bytes)
    if isinstance(span, CopySpan):
        return CopySpan(span.source, span.offset_in_file + start, n_bytes)
    raise RefusedError("two patches have cut a tensor in ways that cannot be undone at once")


def compose(inner: WritePlan, outer: WritePlan) -> WritePlan:
    """What `outer` writes from the file that `inner` would write, without that file.

    `outer` has one source and copies nothing of its header. Raises RefusedError as `cut`.
    """
    spans = (part for span in outer.spans for part in _through(inner, span))
    return WritePlan(inner.sources, outer.header, coalesce(spans))


def file_of_plan(source: GgufFile, plan: WritePlan) -> GgufFile:
    """The file that a plan over `source` writes, as if it were there, under the name of `source`.

    Raises MalformedFileError where it would be none.
    """
    name = str(source.path)
    header, n_bytes = parse_header(plan.header, name)
    layout = lay_out(header, n_bytes, plan.n_bytes, name)
    digest = hashlib.sha256(plan.header).hexdigest()
    return GgufFile(source.path, header, n_bytes, digest, layout)


def _through(inner: WritePlan, span: Span) -> Iterator[Span]:
    if isinstance(span, (ValueSpan, ZeroSpan)):
        yield span
        return
    start = span.offset_in_file - len(inner.header)
    if isinstance(span, CopySpan):
        yield from cut(inner.spans, start, start + span.n_bytes)
        return
    if isinstance(span, ScaleSpan):
        (numbers,) = cut(inner.spans, start, start + span.n_bytes)
        yield _product_of(numbers, span)
        return
    (rows,) = cut(inner.spans, start, start + span.n_rows * span.row_n_bytes)
    yield _gather_of(rows, span)


def _product_of(numbers: Span, outer: ScaleSpan) -> Span:
    """The numbers that `outer` multiplies, which are copied or at hand, multiplied."""
    if isinstance(numbers, CopySpan):
        return replace(outer, source=numbers.source, offset_in_file=numbers.offset_in_file)
    if not isinstance(numbers, ValueSpan):
        raise RefusedError("numbers that were multiplied twice cannot be multiplied at once")
    form = f"{outer.dtype[0]}{outer.n_bytes // 4}f"
    products = (number * outer.factor for number in struct.unpack(form, numbers.data))
    return ValueSpan(struct.pack(form, *products))


def _gather_of(rows: Span, outer: GatherSpan) -> Span:
    """The pieces that `outer` takes of rows that are copied, or gathered themselves."""
    if isinstance(rows, CopySpan):
        return GatherSpan(
            rows.source, rows.offset_in_file, outer.n_rows, outer.row_n_bytes, outer.pieces
        )
    if not isinstance(rows, GatherSpan) or rows.n_rows != outer.n_rows:
        raise RefusedError("two patches have cut a tensor in ways that cannot be undone at once")
    pieces = tuple(part for piece in outer.pieces for part in _pieces_of(rows.pieces, piece))
    return GatherSpan(rows.source, rows.offset_in_file, rows.n_rows, rows.row_n_bytes, pieces)


def _pieces_of(pieces: Sequence[Piece], wanted: Piece) -> Iterator[Piece]:
    """Where the bytes of a piece are in the rows that `pieces` were taken from."""
    row = [CopySpan(0, piece.offset_in_row, piece.n_bytes) for piece in pieces]
    for span in cut(row, wanted.offset_in_row, wanted.offset_in_row + wanted.n_bytes):
        assert isinstance(span, CopySpan)
        yield Piece(span.offset_in_file, span.n_bytes)
