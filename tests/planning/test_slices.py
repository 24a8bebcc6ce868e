"""Tensors with a slice for each block: what a plan takes of them, against numpy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.write_plan import GatherSpan
from tests.models.builders import ARRAY, BOOL, STRING, U32, Tensor, block_tensors, gguf, pair
from tests.models.in_memory import opened, run
from tests.planning.restoring import restored

N_BLOCKS = 5
TOKENS, PROJECTION = "per_layer_token_embd.weight", "per_layer_model_proj.weight"


class Type(NamedTuple):
    """A ggml type: `n_bytes` for each `n_elements`."""

    id: int
    n_elements: int
    n_bytes: int


F32, F16, Q4_0, Q8_0, Q4_K = (
    Type(0, 1, 4),
    Type(1, 1, 2),
    Type(2, 32, 18),
    Type(8, 32, 34),
    Type(12, 256, 144),
)
types = st.sampled_from([F32, F16, Q4_0, Q8_0, Q4_K])
# Block 1 is global and comes first in every path: a gemma4 needs one block of either kind.
paths = st.lists(st.integers(0, N_BLOCKS - 1), max_size=9).map(lambda more: [1, 0, *more])


class Tables(NamedTuple):
    """Random data as [token, block, bytes] and [block, bytes], and the model that has it."""

    tokens: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
    projection: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    model: bytes


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """A slice is up to 3 quantization blocks wide; the projection has any rows at all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind, other = draw(types), draw(types)
    n_tokens, n_wide, n_rows = (draw(st.integers(1, most)) for most in (6, 3, 3))
    tokens = rng.integers(0, 256, (n_tokens, N_BLOCKS, n_wide * kind.n_bytes), np.uint8)
    projection = rng.integers(0, 256, (N_BLOCKS, n_rows * other.n_bytes), np.uint8)
    sliced = [
        Tensor(TOKENS, (n_wide * kind.n_elements * N_BLOCKS, n_tokens), tokens.tobytes(), kind.id),
        Tensor(PROJECTION, (other.n_elements, n_rows * N_BLOCKS), projection.tobytes(), other.id),
    ]
    tensors = draw(st.permutations([*block_tensors(N_BLOCKS), *sliced]))
    alignment = draw(st.sampled_from([8, 32, 64]))
    return Tables(tokens, projection, gemma4(tensors, alignment))


def gemma4(tensors: list[Tensor], alignment: int = 32, n_blocks: int = N_BLOCKS) -> bytes:
    pairs = [
        pair("general.architecture", STRING, "gemma4"),
        pair("general.alignment", U32, alignment),
        pair("gemma4.block_count", U32, n_blocks),
        pair("gemma4.attention.sliding_window_pattern", ARRAY, (BOOL, [1, 0, 1, 1, 0][:n_blocks])),
    ]
    return gguf(pairs, tensors, alignment=alignment)


@given(tables(), paths)
def test_slices_follow_the_path(drawn: Tables, path: list[int]) -> None:
    plan = plan_patch(opened(drawn.model), LayerPath.of(path)).write_plan
    data = run(plan, drawn.model)
    assert len(data) == plan.n_bytes
    file = opened(data)
    index_of = {tensor.name: index for index, tensor in enumerate(file.header.tensors)}
    before = {tensor.name: tensor.dims for tensor in opened(drawn.model).header.tensors}
    for name, expected, dim in (
        (TOKENS, drawn.tokens.take(path, axis=1), 0),
        (PROJECTION, drawn.projection.take(path, axis=0), 1),
    ):
        index = index_of[name]
        found = data[file.offset_in_file(index) :][: file.layout.tensor_n_bytes[index]]
        assert found == expected.tobytes()
        dims = list(before[name])
        dims[dim] = dims[dim] // N_BLOCKS * len(path)
        assert file.header.tensors[index].dims == tuple(dims)


@given(tables(), paths)
def test_the_original_can_be_had_back(drawn: Tables, path: list[int]) -> None:
    whole = LayerPath.of([*path, *set(range(N_BLOCKS)).difference(path)])
    plan = plan_patch(opened(drawn.model), whole).write_plan
    assert restored(run(plan, drawn.model)) == drawn.model


@given(tables())
def test_the_identity_path_gives_the_identical_file(drawn: Tables) -> None:
    plan = plan_patch(opened(drawn.model), LayerPath.identity(N_BLOCKS)).write_plan
    assert run(plan, drawn.model) == drawn.model


def table(name: str, dims: tuple[int, ...], kind: Type) -> bytes:
    """A model of 4 blocks with one such tensor."""
    n_bytes = math.prod(dims) // kind.n_elements * kind.n_bytes
    tensor = Tensor(name, dims, bytes(n_bytes), kind.id)
    return gemma4([*block_tensors(4), tensor], n_blocks=4)


def test_a_run_of_blocks_is_one_piece() -> None:
    data = table(TOKENS, (32 * 4, 3), Q8_0)
    plan = plan_patch(opened(data), LayerPath.of([0, 1, 2, 1, 2, 3])).write_plan
    (span,) = (span for span in plan.spans if isinstance(span, GatherSpan))
    assert span.pieces == ((0, 3 * 34), (34, 3 * 34))
    assert (span.n_rows, span.row_n_bytes, span.n_bytes) == (3, 4 * 34, 3 * 6 * 34)
    (told,) = (span for span in plan.as_json()["spans"] if span["kind"] == "gather")
    assert told["n_bytes"] == span.n_bytes and told["pieces"] == span.pieces


@pytest.mark.parametrize(
    ("name", "dims", "kind", "says"),
    [
        (TOKENS, (16 * 4, 3), Q8_0, "16 elements for each block, which are not whole Q8_0 blocks"),
        (TOKENS, (128 * 4, 3), Q4_K, "128 elements for each block, which are not whole Q4_K"),
        (TOKENS, (10, 3), F32, "10 elements in dimension 0, which is not the same number"),
        (PROJECTION, (32, 7), Q8_0, "7 elements in dimension 1, which is not the same number"),
        (PROJECTION, (32,), Q8_0, "0 elements in dimension 1, which is not the same number"),
        (TOKENS, (4, 3), Type(99, 1, 4), "type 99"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(
    name: str, dims: tuple[int, ...], kind: Type, says: str
) -> None:
    file = opened(table(name, dims, kind))
    with pytest.raises(RefusedError) as caught:
        plan_patch(file, LayerPath.of([0, 1, 1, 2, 3]))
    assert says in str(caught.value) and repr(name) in str(caught.value)
