"""A write plan: a new header and the spans of data behind it, as a value.

Planning makes one, writing runs it; they share nothing else. Plans compare equal when they
give the same bytes from the same sources.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import Layout, lay_out


@dataclass(frozen=True)
class SourceFile:
    """A file that spans are copied from, and how to tell that it is still the same."""

    path: str
    n_bytes: int
    header_n_bytes: int
    header_sha256: str


@dataclass(frozen=True)
class CopySpan:
    """Bytes copied from `sources[source]`."""

    source: int
    offset_in_file: int
    n_bytes: int


@dataclass(frozen=True)
class ZeroSpan:
    """Padding."""

    n_bytes: int


@dataclass(frozen=True)
class Written:
    """A file that was written, or several that are one model together."""

    n_bytes: int
    n_bytes_shared: int
    """Bytes in blocks that the new file shares with its sources, which take no disk space."""

    @property
    def n_bytes_written(self) -> int:
        """The bytes that are not shared."""
        return self.n_bytes - self.n_bytes_shared


class Piece(NamedTuple):
    """A part of a row."""

    offset_in_row: int
    n_bytes: int


@dataclass(frozen=True)
class GatherSpan:
    """Of each of `n_rows` consecutive rows of `sources[source]`, the same pieces in order."""

    source: int
    offset_in_file: int
    n_rows: int
    row_n_bytes: int
    """Of a row as it is in the source."""
    pieces: tuple[Piece, ...]

    @property
    def n_bytes(self) -> int:
        """Size of what this span writes."""
        return self.n_rows * sum(piece.n_bytes for piece in self.pieces)


@dataclass(frozen=True)
class ScaleSpan:
    """Numbers of `sources[source]`, each multiplied by `factor` and rounded once."""

    source: int
    offset_in_file: int
    n_bytes: int
    dtype: str
    """Their type and byte order, as numpy spells it."""
    factor: float


@dataclass(frozen=True)
class ValueSpan:
    """Bytes that no source has: the data of a small tensor."""

    data: bytes

    @property
    def n_bytes(self) -> int:
        """Size of what this span writes."""
        return len(self.data)


Span: TypeAlias = "CopySpan | GatherSpan | ScaleSpan | ValueSpan | ZeroSpan"


@dataclass(frozen=True)
class WritePlan:
    """The new file: `header`, then `spans` one behind the other."""

    sources: tuple[SourceFile, ...]
    header: bytes
    spans: tuple[Span, ...]

    @property
    def n_bytes(self) -> int:
        """Size of the file that this plan writes."""
        return len(self.header) + sum(span.n_bytes for span in self.spans)

    @cached_property
    def parsed(self) -> tuple[Header, Layout]:
        """The header and the layout of the planned file, as a reader would find them.

        Raises MalformedFileError where it would be no GGUF file.
        """
        header, n_bytes = parse_header(self.header, "the planned file")
        return header, lay_out(header, n_bytes, self.n_bytes, "the planned file")

    @cached_property
    def _starts(self) -> list[int]:
        """Where each span starts in the new file, and where the last one ends."""
        return list(accumulate((span.n_bytes for span in self.spans), initial=len(self.header)))

    def between(self, start: int, end: int) -> Iterator[Span]:
        """The spans that lie from `start` to `end` in the new file; copies and zeros are cut.

        Others are each the data of one tensor, which must not be cut.
        """
        for index in range(max(bisect_right(self._starts, start) - 1, 0), len(self.spans)):
            if self._starts[index] >= end:
                return
            span, skipped = self.spans[index], max(start - self._starts[index], 0)
            n_bytes = min(end - self._starts[index], span.n_bytes) - skipped
            if isinstance(span, CopySpan):
                yield CopySpan(span.source, span.offset_in_file + skipped, n_bytes)
            elif isinstance(span, ZeroSpan):
                yield ZeroSpan(n_bytes)
            else:
                yield span

    def as_json(self) -> dict[str, Any]:
        """The plan in plain types, with the header as its size and SHA-256."""
        return {
            "sources": [vars(source) for source in self.sources],
            "header": {
                "n_bytes": len(self.header),
                "sha256": hashlib.sha256(self.header).hexdigest(),
            },
            "spans": [_span_as_json(span) for span in self.spans],
            "n_bytes": self.n_bytes,
        }


_KINDS = {
    CopySpan: "copy",
    GatherSpan: "gather",
    ScaleSpan: "scale",
    ValueSpan: "value",
    ZeroSpan: "zeros",
}


def _span_as_json(span: Span) -> dict[str, Any]:
    parts = {"data": span.data.hex()} if isinstance(span, ValueSpan) else vars(span)
    return {"kind": _KINDS[type(span)], **parts, "n_bytes": span.n_bytes}


def coalesce(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same bytes in as few spans as possible; empty spans vanish."""
    return tuple(_merge(span for span in spans if span.n_bytes))


def _merge(spans: Iterator[Span]) -> Iterator[Span]:
    last = next(spans, None)
    if last is None:
        return
    for span in spans:
        joined = _join(last, span)
        if joined is None:
            yield last
        last = joined or span
    yield last


def _join(first: Span, second: Span) -> Span | None:
    if isinstance(first, ZeroSpan) and isinstance(second, ZeroSpan):
        return ZeroSpan(first.n_bytes + second.n_bytes)
    if not (isinstance(first, CopySpan) and isinstance(second, CopySpan)):
        return None
    follows = first.offset_in_file + first.n_bytes == second.offset_in_file
    if first.source == second.source and follows:
        return CopySpan(first.source, first.offset_in_file, first.n_bytes + second.n_bytes)
    return None
