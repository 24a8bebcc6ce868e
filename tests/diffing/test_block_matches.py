"""Blocks by their content: the path that made a file is found in its data."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufsurgeon.diffing.block_matches import explaining_path, match_blocks
from ggufsurgeon.diffing.contents import Contents
from ggufsurgeon.diffing.model_diff import diff_contents
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from tests.hashing.test_hashing import expected
from tests.models.builders import Tensor, gguf, llama_model, llama_pairs
from tests.models.in_memory import opened, run
from tests.planning.drawing import N_BLOCKS, models

unhurried = settings(deadline=None)


def contents(data: bytes) -> Contents:
    return Contents(opened(data), expected(opened(data), data))


def of_blocks(marks: list[int]) -> Contents:
    """A model whose blocks are equal where their marks are."""
    tensors = [
        Tensor(f"blk.{block}.ffn.weight", (8,), bytes([mark] * 32))
        for block, mark in enumerate(marks)
    ]
    return contents(gguf(llama_pairs(len(marks)), tensors))


@unhurried
@given(models(), st.lists(st.integers(0, N_BLOCKS - 1), min_size=1, max_size=12))
def test_the_path_of_a_patched_file_is_found(data: bytes, path: list[int]) -> None:
    """The blocks of the models are all different, so that no other path gives the same."""
    path = [0, *path]
    patched = run(plan_patch(opened(data), LayerPath.of(path)).write_plan, data)
    found = diff_contents(contents(data), contents(patched))
    assert found.layer_path == LayerPath.of(path)
    assert set(found.unused) == set(range(N_BLOCKS)).difference(path)
    assert not found.tensors
    assert found.same == (path == list(range(N_BLOCKS)))
    assert "llama.block_count" in {each.key for each in found.keys} or len(path) == N_BLOCKS


@pytest.mark.parametrize("blocks", [(0, 1, 4), (0, 2, 3, 6)])
def test_a_file_that_lacks_a_block_is_the_same_as_itself(blocks: tuple[int, ...]) -> None:
    """Also where all blocks are equal, so that each of them could be another one."""
    tensors = [Tensor(f"blk.{block}.ffn.weight", (8,), bytes(32)) for block in blocks]
    broken = contents(gguf(llama_pairs(7), tensors))
    assert diff_contents(broken, broken).same
    lacking = contents(gguf(llama_pairs(7), tensors[1:]))
    assert not diff_contents(broken, lacking).same
    assert not diff_contents(lacking, broken).same


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_equal_blocks_make_as_few_runs_as_there_can_be(
    marks: list[int], rng: random.Random
) -> None:
    wanted = [rng.choice(marks) for _ in range(rng.randrange(1, 7))]
    path = explaining_path(match_blocks(of_blocks(marks), of_blocks(wanted)))
    assert path is not None
    assert [marks[block] for block in path.blocks] == wanted
    assert len(list(path.runs())) == fewest_runs(marks, wanted)


def fewest_runs(marks: list[int], wanted: list[int]) -> int:
    """By trying all."""
    if not wanted:
        return 0
    ends = [
        n
        for start in range(len(marks))
        for n in range(1, len(wanted) + 1)
        if marks[start : start + n] == wanted[:n]
    ]
    return 1 + min(fewest_runs(marks, wanted[n:]) for n in set(ends))


def test_a_block_without_an_equal_has_a_nearest_one() -> None:
    a, b = llama_model(4), bytearray(llama_model(4))
    file = opened(a)
    names = [tensor.name for tensor in file.header.tensors]
    for name in ("blk.1.ffn.weight", "blk.3.ffn.weight", "blk.3.attn_norm.weight"):
        b[file.offset_in_file(names.index(name))] ^= 255
    found = diff_contents(contents(a), contents(bytes(b)))
    assert found.layer_path is None and not found.same
    same, changed, _, foreign = found.blocks
    assert (same.origin, same.differing) == (0, ())
    assert (changed.origin, changed.nearest, changed.differing) == (None, 1, ("blk.0.ffn.weight",))
    assert (foreign.origin, foreign.nearest, len(foreign.differing)) == (None, None, 2)
    assert found.unused == (1, 3)


def test_a_block_of_very_many_tensors_is_near_to_no_small_one() -> None:
    """Each of these would list all tensors of that block: the square of the file's size."""
    n = 1000
    large = [Tensor(f"blk.0.a{i}", (8,), bytes([1] * 32)) for i in range(n)]
    small = [Tensor(f"blk.{i}.a0", (8,), bytes([1] * 32)) for i in range(n)]
    a, b = (contents(gguf(llama_pairs(n), tensors)) for tensors in (large, small))
    found = match_blocks(a, b)
    assert {match.nearest for match in found} == {None}
    assert sum(len(match.differing) for match in found) < 3 * n


def test_many_equal_blocks_take_no_time() -> None:
    """A file of zeros has as many matches as pairs of blocks."""
    zeros = of_blocks([0] * 10_000)
    assert len(zeros.blocks) == 10_000
    start = time.process_time()
    path = explaining_path(match_blocks(zeros, zeros))
    assert time.process_time() - start < 3  # of seconds; 10 with all pairs
    assert path == LayerPath.identity(10_000)
    mixed = of_blocks([n % 2 for n in range(5000)])
    start = time.process_time()
    matches = match_blocks(zeros, mixed)
    assert time.process_time() - start < 3
    assert [match.origin for match in matches[:4]] == [0, None, 2, None]
