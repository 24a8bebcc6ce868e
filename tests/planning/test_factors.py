"""Factors of single weights in the new file: scales, multiplied biases, the way back, refusals."""

from __future__ import annotations

import filecmp
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.errors import LostError, RefusedError, UsageError
from ggufsurgeon.layer_path.factors import FACTOR_NAMES, factors_of
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.planner import plan_patch
from tests.calls import patch
from tests.conftest import ROOT
from tests.models.builders import STRING, Tensor, gguf, llama_pairs, pair
from tests.models.in_memory import opened, run

STORIES = ROOT / "fixtures/stories260K.gguf"
N_BLOCKS = 3
F16_TENSOR = 1
BIASED = ("attn_q", "attn_k")
numbers = st.just(1.0) | st.floats(0.0078125, 4, width=32)
steps = st.builds(
    BlockRef,
    st.just(0),
    st.integers(0, N_BLOCKS - 1),
    numbers,
    st.dictionaries(st.sampled_from(FACTOR_NAMES), numbers).map(factors_of),
)


def bias(block: int, name: str) -> list[float]:
    return [block + 0.1 * len(name) + n for n in range(4)]


def model(*more: Tensor, architecture: str = "llama", biases: bool = False) -> bytes:
    """Blocks with the weights that can have factors."""
    tensors = [Tensor("token_embd.weight")]
    for block in range(N_BLOCKS):
        for name in FACTOR_NAMES:
            tensors.append(Tensor(f"blk.{block}.{name}.weight", (8,), bytes([block] * 32)))
        for name in BIASED * biases:
            data = np.array(bias(block, name), "<f4").tobytes()
            tensors.append(Tensor(f"blk.{block}.{name}.bias", (4,), data))
    pairs = llama_pairs(N_BLOCKS)
    if architecture != "llama":
        count = pair(f"{architecture}.block_count", 4, N_BLOCKS)
        pairs = [pair("general.architecture", STRING, architecture), count]
    return gguf(pairs, [*tensors, *more])


def values(data: bytes, suffix: str) -> dict[str, list[float]]:
    """The numbers of each tensor with a suffix, by name."""
    file, found = opened(data), {}
    for index, tensor in enumerate(file.header.tensors):
        if tensor.name.endswith(suffix):
            raw = data[file.offset_in_file(index) :][: file.layout.tensor_n_bytes[index]]
            found[tensor.name] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return found


def patched(data: bytes, path: LayerPath) -> bytes:
    return run(plan_patch(opened(data), path).write_plan, data)


def multiplied(step: BlockRef, name: str) -> float:
    """What multiplies a weight: its factor, and the strength where it comes last."""
    factor = dict(step.factors).get(name, 1.0)
    return float(np.float32(factor if name in BIASED else factor * step.strength))


@settings(deadline=None)
@given(st.lists(steps, min_size=1, max_size=6), st.booleans())
def test_each_position_has_the_scales_and_biases_of_its_factors(
    found: list[BlockRef], biases: bool
) -> None:
    data, path = model(biases=biases), LayerPath(found)
    assume(path != LayerPath.identity(N_BLOCKS))
    new = patched(data, path)
    expected = {
        f"blk.{n}.{name}.scale": [multiplied(step, name)]
        for n, step in enumerate(path.steps)
        for name in FACTOR_NAMES
        if multiplied(step, name) != 1
    }
    assert values(new, ".scale") == expected
    assert values(new, ".bias") == {
        f"blk.{n}.{name}.bias": [
            float(np.float32(np.float64(np.float32(number)) * multiplied(step, name)))
            for number in bias(step.block, name)
        ]
        for n, step in enumerate(path.steps)
        for name in BIASED * biases
    }
    first = {step.block: step for step in reversed(path.steps)}
    is_lost = len(first) < N_BLOCKS or (
        biases and any(multiplied(step, name) != 1 for step in first.values() for name in BIASED)
    )
    if is_lost:
        with pytest.raises(LostError):
            plan_restore(opened(new))
    else:
        assert run(plan_restore(opened(new)).write_plan, new) == data


def test_experts_have_the_factor_of_the_ffn() -> None:
    names = ("ffn_down_exps", "ffn_down_shexp")
    more = [Tensor(f"blk.1.{name}.weight", (8, 1, 3), bytes(96)) for name in names[:1]]
    more.append(Tensor("blk.1.ffn_down_shexp.weight", (8,), bytes(32)))
    new = patched(model(*more), LayerPath("0,1*ffn_down=0.5,2"))
    assert values(new, ".scale") == {
        "blk.1.ffn_down.scale": [0.5],
        "blk.1.ffn_down_exps.scale": [0.5] * 3,
        "blk.1.ffn_down_shexp.scale": [0.5],
    }


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        (model(architecture="qwen2"), "0,1*ffn_down=2,2", "'qwen2': llama.cpp is not known to mul"),
        (model(architecture="gpt2"), "0,1*attn_k=2,2", "what attn_k gives by its scale"),
        (model(Tensor("blk.1.attn_output.bias")), "0,1*attn_output=2,2", "'attn_output.bias', whi"),
        (
            model(Tensor("blk.1.attn_q.bias", (8,), bytes(16), F16_TENSOR)),
            "0,1*attn_q=2,2",
            "'blk.1.attn_q.bias' is not F32",
        ),
        (
            gguf(llama_pairs(2), [Tensor(f"blk.{n}.attn_qkv.weight") for n in range(2)]),
            "0,1*attn_q=2",
            "block 1 has no weight attn_q that could have a factor: its queries, keys and",
        ),
        (
            gguf(llama_pairs(2), [Tensor(f"blk.{n}.attn_q.weight") for n in range(2)]),
            "0,1*attn_k=2",
            "block 1 has no weight attn_k that could have a factor",
        ),
    ],
    ids=["architecture", "no table", "bias", "type of a bias", "fused", "absent"],
)
def test_what_no_scale_does_is_refused(data: bytes, path: str, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        plan_patch(opened(data), LayerPath(path))
    assert says in str(caught.value)
    if says.startswith(("block 1", "'attn_output")):
        assert caught.value.hint


def test_a_bias_does_not_hinder_factors_of_other_weights() -> None:
    data = model(Tensor("blk.1.attn_output.bias"))
    new = patched(data, LayerPath("0,1*attn_q=2*ffn_down=0.5,2"))
    assert values(new, ".scale") == {"blk.1.attn_q.scale": [2.0], "blk.1.ffn_down.scale": [0.5]}


def test_spaces_around_factors_are_allowed() -> None:
    assert LayerPath("0, 1 * 0.5 * attn_q = 0.84 ,2") == LayerPath("0,1*0.5*attn_q=0.84,2")


def test_a_product_that_32_bits_cannot_hold_is_told() -> None:
    with pytest.raises(UsageError, match="32-bit"):
        plan_patch(opened(model()), LayerPath("0,1*1e-30*ffn_down=1e-30,2"))


def test_notes_say_what_factors_need_and_cost() -> None:
    def notes(path: str, *more: Tensor, biases: bool = False) -> str:
        return "\n".join(plan_patch(opened(model(*more, biases=biases)), LayerPath(path)).notes)

    assert notes("0..2,1*attn_q=2").startswith(
        "has factors of weights, in the tensors blk.N.attn_q.scale: llama.cpp from before March"
    )
    assert notes("0..2,1*0.5*attn_q=2").startswith("has strengths and factors of weights, in")
    assert "restored" not in notes("0..2,1*attn_q=2", biases=True)
    assert "multiplies biases that the source has" in notes("0,1*attn_q=2,2", biases=True)
    scale = Tensor("blk.1.attn_q.scale", (1,), bytes(4))
    both = notes("0,1*attn_q=2,2", scale, biases=True)
    assert "multiplies scales and biases that the source has" in both
    norm = Tensor("blk.1.attn_q_norm.weight")
    assert "a norm" not in notes("0,1,2*attn_q=2", norm)
    assert "multiplies attn_q by factors before a norm" in notes("0,1*attn_q=2,2", norm)


def test_recipes_compose_factors(tmp_path: Path) -> None:
    patch(STORIES, tmp_path / "once.gguf", LayerPath("0..2,1..2*attn_q=0.25*ffn_down=0.5,3..4"))
    second = LayerPath("0..3*attn_q=0.7,4..6*0.5")
    patch(tmp_path / "once.gguf", tmp_path / "twice.gguf", second)
    recipe = gs.open(tmp_path / "twice.gguf").recipe()
    planned = gs.open(STORIES).plan_recipe(recipe)
    planned.write(tmp_path / "again.gguf")
    assert filecmp.cmp(tmp_path / "twice.gguf", tmp_path / "again.gguf", shallow=False)
    assert str(planned.layer_path) == (
        "0..2*attn_q=0.7,1*attn_q=0.175*ffn_down=0.5,2*0.5*attn_q=0.25*ffn_down=0.5,3..4*0.5"
    )


def test_in_place_it_is_the_same_and_comes_back(tmp_path: Path) -> None:
    path = LayerPath("0..2,1..2*attn_q=0.84*attn_k=0.84,3..4")
    new = gs.open(STORIES).plan(path).write(tmp_path / "new.gguf")
    here = tmp_path / "here.gguf"
    here.write_bytes(STORIES.read_bytes())
    gs.open(here).plan(path).write_in_place()
    assert filecmp.cmp(new, here, shallow=False)
    gs.open(here).restore(tmp_path / "back.gguf")
    assert filecmp.cmp(STORIES, tmp_path / "back.gguf", shallow=False)


def test_in_place_biases_of_repeats_are_multiplied_and_those_of_first_blocks_are_not(
    tmp_path: Path,
) -> None:
    data, here = model(biases=True), tmp_path / "here.gguf"
    here.write_bytes(data)
    with pytest.raises(RefusedError, match="scales or biases are multiplied"):
        gs.open(here).plan(LayerPath("0,1*attn_q=0.84,2,1")).write_in_place()
    assert here.read_bytes() == data
    path = LayerPath("0..2,1..2*attn_q=0.84")
    gs.open(here).plan(path).write_in_place()
    assert here.read_bytes() == patched(data, path)
    gs.open(here).restore(tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == data


@pytest.mark.parametrize("zeros", ["0", "attn_output=0*ffn_down=0", "2*attn_output=0*ffn_down=0"])
def test_a_path_on_which_no_block_adds_anything_is_none(zeros: str) -> None:
    with pytest.raises(UsageError, match="every block is multiplied by 0"):
        plan_patch(opened(model()), LayerPath(f"0..1*{zeros},2*0"))
    (note,) = [
        n for n in plan_patch(opened(model()), LayerPath(f"0..1,2*{zeros}")).notes if "0 (" in n
    ]
    assert note.startswith("has blocks that are multiplied by 0 (2)")
    plan_patch(opened(model()), LayerPath("0..2*attn_output=0"))
