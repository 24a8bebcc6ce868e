"""Write plans, what they must give, and what a folder holds."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ggufsurgeon.write_plan import (
    CopySpan,
    GatherSpan,
    Piece,
    ScaleSpan,
    SourceFile,
    Span,
    ValueSpan,
    WritePlan,
    ZeroSpan,
)
from tests.models.builders import Tensor, gguf, llama_pairs

MARK_N_BYTES = 32
"""What `builders.gguf` gives a tensor without data of its own; no padding behind it."""


def described(path: Path, header_n_bytes: int = 24) -> SourceFile:
    """A source, as planning would describe it."""
    data = path.read_bytes()
    digest = hashlib.sha256(data[:header_n_bytes]).hexdigest()
    return SourceFile(str(path), len(data), header_n_bytes, digest)


def plan_over(sources: Iterable[Path], header: bytes, spans: Sequence[Span]) -> WritePlan:
    return WritePlan(tuple(described(path) for path in sources), header, tuple(spans))


def result_of(plan: WritePlan) -> bytes:
    """What writing must make of a plan."""
    pieces = [plan.header]
    for span in plan.spans:
        if isinstance(span, ZeroSpan):
            pieces.append(bytes(span.n_bytes))
            continue
        if isinstance(span, ValueSpan):
            pieces.append(span.data)
            continue
        data = Path(plan.sources[span.source].path).read_bytes()[span.offset_in_file :]
        if isinstance(span, GatherSpan):
            pieces.append(gathered(data, span))
        elif isinstance(span, ScaleSpan):
            pieces.append(scaled(data[: span.n_bytes], span))
        else:
            pieces.append(data[: span.n_bytes])
    return b"".join(pieces)


def gathered(data: bytes, span: GatherSpan) -> bytes:
    """What a span takes of `data`, in which its first row comes first."""
    return b"".join(
        data[row * span.row_n_bytes + offset :][:n_bytes]
        for row in range(span.n_rows)
        for offset, n_bytes in span.pieces
    )


def scaled(data: bytes, span: ScaleSpan) -> bytes:
    """Each number times the factor."""
    numbers = struct.unpack(f"{span.dtype[0]}{len(data) // 4}f", data)
    with np.errstate(all="ignore"):
        products = [np.float64(number) * span.factor for number in numbers]
        return np.array(products, span.dtype).tobytes()


def spans(n_bytes: Sequence[int]) -> st.SearchStrategy[list[Span]]:
    """Spans over sources of these sizes, empty ones and overlaps among them."""

    def copy(source: int) -> st.SearchStrategy[Span]:
        ends = st.tuples(*[st.integers(0, n_bytes[source])] * 2).map(sorted)
        return ends.map(lambda at: CopySpan(source, at[0], at[1] - at[0]))

    which = st.integers(0, len(n_bytes) - 1)
    others = st.integers(0, 200).map(ZeroSpan) | st.binary(max_size=64).map(ValueSpan)
    gathers = which.flatmap(lambda source: gather_spans(source, n_bytes[source]))
    scales = which.flatmap(lambda source: scale_spans(source, n_bytes[source]))
    return st.lists(which.flatmap(copy) | gathers | scales | others, max_size=8)


@st.composite
def scale_spans(draw: st.DrawFn, source: int, n_bytes: int) -> ScaleSpan:
    """Single precision, in either byte order."""
    dtype = draw(st.sampled_from(["<f4", ">f4"]))
    n_numbers = draw(st.integers(0, n_bytes // 4))
    offset = draw(st.integers(0, n_bytes - n_numbers * 4))
    return ScaleSpan(source, offset, n_numbers * 4, dtype, draw(st.floats(0.1, 10)))


@st.composite
def gather_spans(draw: st.DrawFn, source: int, n_bytes: int) -> GatherSpan:
    """Any pieces, in any order, of rows that lie within so many bytes."""
    row_n_bytes = draw(st.integers(1, n_bytes))
    n_rows = draw(st.integers(0, n_bytes // row_n_bytes))
    offset = draw(st.integers(0, n_bytes - n_rows * row_n_bytes))
    ends = st.tuples(*[st.integers(0, row_n_bytes)] * 2).map(sorted)
    pieces = draw(st.lists(ends.map(lambda at: Piece(at[0], at[1] - at[0])), max_size=4))
    return GatherSpan(source, offset, n_rows, row_n_bytes, tuple(pieces))


def sparse_model(path: Path, n_blocks: int, block_n_bytes: int) -> Path:
    """A model whose blocks are holes with marks of their own at both ends: large, soon made."""
    tensors = [
        Tensor(f"blk.{block}.ffn.weight", (block_n_bytes // 4,), offset=block * block_n_bytes)
        for block in range(n_blocks)
    ]
    whole = gguf(llama_pairs(n_blocks), tensors)
    start = len(whole) - MARK_N_BYTES * n_blocks
    with path.open("wb") as file:
        file.write(whole[:start])
        file.truncate(start + n_blocks * block_n_bytes)
        for block in range(n_blocks):
            for at in (0, block_n_bytes - MARK_N_BYTES):
                file.seek(start + block * block_n_bytes + at)
                file.write(bytes([block + 1]) * MARK_N_BYTES)
    return path


def listing(folder: Path) -> dict[str, object]:
    """All that a folder holds: the bytes of files, where links lead, what else things are."""
    return {os.fsencode(path.name).decode("latin-1"): _told(path) for path in folder.iterdir()}


def _told(path: Path) -> object:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if stat.S_ISDIR(mode):
        return listing(path)
    return path.read_bytes() if stat.S_ISREG(mode) else stat.filemode(mode)


def temporaries(folder: Path) -> list[Path]:
    return sorted(folder.glob(".ggufsurgeon-*.tmp"))


class Watcher:
    """A progress that notes what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, str]] = []
        self.advances: list[int] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.steps.append((step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.advances.append(n)
