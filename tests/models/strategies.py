"""Hypothesis strategies: any header that there is."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.models.builders import ARRAY, FORMATS, STRING, Tensor, gguf, pair

INTEGER_RANGES = {
    0: (0, 2**8 - 1),
    1: (-(2**7), 2**7 - 1),
    2: (0, 2**16 - 1),
    3: (-(2**15), 2**15 - 1),
    4: (0, 2**32 - 1),
    5: (-(2**31), 2**31 - 1),
    10: (0, 2**64 - 1),
    11: (-(2**63), 2**63 - 1),
}
UNKNOWN_TYPES = (13, 255, 2**32 - 1)


def content(kind: int) -> st.SearchStrategy[Any]:
    """Content of a value, odd booleans, NaNs and bytes that are not UTF-8 among them."""
    if kind in INTEGER_RANGES:
        return st.integers(*INTEGER_RANGES[kind])
    if kind == 7:
        return st.integers(0, 255)
    if kind == STRING:
        return st.binary(max_size=12)
    return st.floats(width=32 if kind == 6 else 64)


def arrays(depth: int = 3) -> st.SearchStrategy[tuple[int, list[Any]]]:
    """Arrays of anything, arrays among it; empty ones of types that nobody knows too."""
    flat = st.sampled_from([*FORMATS, STRING]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(content(kind), max_size=4))
    )
    empty = st.sampled_from(UNKNOWN_TYPES).map(lambda kind: (kind, list[Any]()))
    if depth == 1:
        return flat | empty
    nested = st.lists(arrays(depth - 1), max_size=3).map(lambda items: (ARRAY, items))
    return flat | empty | nested


def as_c_string(name: str) -> str:
    """What ggml keeps of a tensor's name."""
    return name.partition("\0")[0]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of either version, either byte order and any alignment, with a little data."""
    order = draw(st.sampled_from("<>"))
    alignment = draw(st.sampled_from([1, 2, 8, 16, 32, 64, 4096]))
    pairs = [pair("general.alignment", 4, alignment, order)] if alignment != 32 else []
    keys = draw(st.lists(st.binary(min_size=1, max_size=8), unique=True, max_size=6))
    for key in keys:
        kind = draw(st.sampled_from([*FORMATS, STRING, ARRAY]))
        pairs.append(pair(key, kind, draw(arrays() if kind == ARRAY else content(kind)), order))
    names = draw(st.lists(st.text(max_size=12), unique_by=as_c_string, max_size=5))
    tensors = [draw(tensor(name)) for name in names]
    version = draw(st.sampled_from([2, 3]))
    return gguf(pairs, tensors, version=version, order=order, alignment=alignment)


@st.composite
def tensor(draw: st.DrawFn, name: str) -> Tensor:
    """A float32 tensor of up to four dimensions."""
    dims = draw(st.lists(st.integers(1, 3), max_size=4))
    n_elements = 1
    for dim in dims:
        n_elements *= dim
    return Tensor(name, dims, draw(st.binary(min_size=4 * n_elements, max_size=4 * n_elements)))
