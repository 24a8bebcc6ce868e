"""What to write, as a value: a header and spans to copy behind it. Says nothing about how.

Planning makes one, writing runs it; they share nothing else. Plans compare equal when they
give the same bytes from the same sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


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


Span: TypeAlias = "CopySpan | ZeroSpan"


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


def _span_as_json(span: Span) -> dict[str, Any]:
    kind = "copy" if isinstance(span, CopySpan) else "zeros"
    return {"kind": kind, **vars(span)}


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
