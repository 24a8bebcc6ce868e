"""Ranges of what spans write: the right bytes, and no work for spans outside the range."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.planning.new_tensors.span_ranges import PlacedSpans
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan, ZeroSpan
from tests.models.in_memory import run

DATA = bytes(range(1, 200))


def written(spans: Sequence[Span]) -> bytes:
    return run(WritePlan((), b"", tuple(spans)), DATA)


def spans() -> st.SearchStrategy[list[Span]]:
    sizes = st.integers(0, 9)
    copies = st.builds(CopySpan, st.just(0), st.integers(0, 100), sizes)
    return st.lists(st.one_of(copies, st.builds(ZeroSpan, sizes)), max_size=9)


@given(spans(), st.integers(0, 90), st.integers(0, 90))
def test_a_range_has_the_bytes_that_are_written_there(
    cut: list[Span], start: int, end: int
) -> None:
    placed = PlacedSpans(cut)
    assert placed.n_bytes == len(written(cut))
    assert written(list(placed.cut(start, end))) == written(cut)[start:end]


class Counted(Sequence[Span]):
    """Copies of 8 bytes each, which are counted when they are looked at."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.n_looked_at = 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Span:  # type: ignore[override]
        if index >= self.n:
            raise IndexError
        self.n_looked_at += 1
        return CopySpan(0, 16 * index, 8)


def test_many_ranges_of_many_spans() -> None:
    many = Counted(5000)
    placed = PlacedSpans(many)
    for n in range(5000):
        assert list(placed.cut(8 * n, 8 * n + 8)) == [CopySpan(0, 16 * n, 8)]
    assert many.n_looked_at < 4 * 5000
