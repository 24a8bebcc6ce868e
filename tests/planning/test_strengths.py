"""Strengths as scales of the new file: their values, the way back, and what is refused."""

from __future__ import annotations

import filecmp
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import LostError, RefusedError
from ggufsurgeon.in_place.edit import find_edit
from ggufsurgeon.layer_path.edits import repeat
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.planner import plan_patch
from tests.calls import patch
from tests.conftest import ROOT, Run
from tests.models.builders import STRING, Tensor, gguf, llama_pairs, pair
from tests.models.in_memory import opened, run, with_odd_padding

STORIES = ROOT / "fixtures/stories260K.gguf"
N_BLOCKS = 4
F16_TENSOR = 1
strengths = st.just(1.0) | st.floats(0.0078125, 4, width=32)
steps = st.builds(BlockRef, st.just(0), st.integers(0, N_BLOCKS - 1), strengths)


def model(*more: Tensor, architecture: str = "llama") -> bytes:
    """Blocks with the weights that come last in them, and others."""
    tensors = [Tensor("token_embd.weight")]
    for block in range(N_BLOCKS):
        for name in ("attn_norm", "attn_output", "ffn_down"):
            tensors.append(Tensor(f"blk.{block}.{name}.weight", (8,), bytes([block] * 32)))
    pairs = llama_pairs(N_BLOCKS)
    if architecture != "llama":
        count = pair(f"{architecture}.block_count", 4, N_BLOCKS)
        pairs = [pair("general.architecture", STRING, architecture), count]
    return gguf(pairs, [*tensors, *more])


def values(file: GgufFile, data: bytes) -> dict[str, list[float]]:
    """The numbers of each scale."""
    found = {}
    for index, tensor in enumerate(file.header.tensors):
        if tensor.name.endswith(".scale"):
            raw = data[file.offset_in_file(index) :][: file.layout.tensor_n_bytes[index]]
            found[tensor.name] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return found


def patched(data: bytes, path: LayerPath) -> bytes:
    return run(plan_patch(opened(data), path).write_plan, data)


@settings(deadline=None)
@given(st.lists(steps, min_size=1, max_size=8), st.booleans())
def test_each_position_has_the_scales_of_its_strength(found: list[BlockRef], odd: bool) -> None:
    data, path = with_odd_padding(model()) if odd else model(), LayerPath(found)
    assume(path != LayerPath.identity(N_BLOCKS))
    new = patched(data, path)
    expected = {
        f"blk.{position}.{name}.scale": [strength]
        for position, strength in enumerate(path.strengths)
        if strength != 1
        for name in ("attn_output", "ffn_down")
    }
    assert values(opened(new), new) == expected
    lost = set(range(N_BLOCKS)) - set(path.blocks)
    if lost:
        with pytest.raises(LostError):
            plan_restore(opened(new))
    else:
        assert run(plan_restore(opened(new)).write_plan, new) == data


@settings(deadline=None)
@given(st.permutations(range(N_BLOCKS)), st.lists(strengths, min_size=N_BLOCKS, max_size=N_BLOCKS))
def test_the_original_comes_back(order: list[int], found: list[float]) -> None:
    whole = [BlockRef(0, n, s) for n, s in zip(order, found, strict=True)]
    new = patched(model(), LayerPath([*whole, whole[0]]))
    again = patched(new, LayerPath.of([0, *range(N_BLOCKS + 1)]))
    for one in (new, again):
        assert run(plan_restore(opened(one)).write_plan, one) == model()


def test_scales_of_experts_and_of_the_source_are_multiplied() -> None:
    experts = np.array([0.1, 3, -7], "<f4")
    more = [
        Tensor("blk.1.ffn_down_exps.weight", (8, 1, 3), bytes(96)),
        Tensor("blk.2.ffn_down_exps.weight", (8, 1, 3), bytes(96)),
        Tensor("blk.2.ffn_down_exps.scale", (3,), experts.tobytes()),
    ]
    data = model(*more)
    new = patched(data, LayerPath("0..3,1..2*0.3"))
    found = values(opened(new), new)
    strength = float(np.float32(0.3))
    assert found["blk.2.ffn_down_exps.scale"] == experts.tolist()
    assert found["blk.4.ffn_down_exps.scale"] == [strength] * 3
    products = (experts.astype(np.float64) * strength).astype(np.float32)
    assert found["blk.5.ffn_down_exps.scale"] == products.tolist()
    assert run(plan_restore(opened(new)).write_plan, new) == data
    with pytest.raises(LostError, match=r"blk.2.ffn_down_exps.scale was multiplied"):
        plan_restore(opened(patched(data, LayerPath("0..1,2*0.3,3"))))


def test_notes_say_what_a_strength_needs_and_costs() -> None:
    notes = plan_patch(opened(model()), repeat("1:2", strength=0)).notes
    assert "blk.N.attn_output.scale, ffn_down.scale" in notes[0]
    assert "before March 2026" in notes[0]
    assert "multiplied by 0 (2)" in notes[1]
    scale = Tensor("blk.1.ffn_down.scale", (1,), struct.pack("<f", 2))
    assert not any("cannot be restored" in note for note in _notes(scale, "0..3,1*0.5"))
    assert any("cannot be restored" in note for note in _notes(scale, "0,1*0.5,2..3"))
    assert plan_patch(opened(model()), repeat("1:2")).notes == ()


def _notes(scale: Tensor, path: str) -> tuple[str, ...]:
    return plan_patch(opened(model(scale)), LayerPath(path)).notes


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (model(architecture="gemma3"), "'gemma3': llama.cpp is not known to multiply"),
        (model(Tensor("blk.1.ffn_down.bias")), "'ffn_down.bias', which llama.cpp adds"),
        (model(Tensor("blk.1.ffn_down.0.weight")), "an expert by itself"),
        (model(Tensor("blk.1.ffn_down.scale", (1,), bytes(2), F16_TENSOR)), "is not F32"),
    ],
    ids=["architecture", "bias", "expert", "type"],
)
def test_what_scales_do_not_reach_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        plan_patch(opened(data), LayerPath("0..3,1*0.5"))
    assert says in str(caught.value)
    if "gemma3" not in says:  # other blocks may have strengths
        plan_patch(opened(data), LayerPath("0..3,2*0.5"))


def test_a_block_without_such_a_weight_is_refused() -> None:
    tensors = [Tensor(f"blk.{n}.attn_norm.weight") for n in range(2)]
    with pytest.raises(RefusedError, match="block 1 has no weight"):
        plan_patch(opened(gguf(llama_pairs(2), tensors)), LayerPath("0,1*0.5"))


def test_recipes_compose_strengths(tmp_path: Path) -> None:
    source = STORIES
    patch(source, tmp_path / "once.gguf", repeat("1:3", strength=0.3))
    patch(tmp_path / "once.gguf", tmp_path / "twice.gguf", LayerPath("0..3*0.7,4..6"))
    recipe = gs.open(tmp_path / "twice.gguf").recipe()
    planned = gs.open(source).plan_recipe(recipe)
    planned.write(tmp_path / "again.gguf")
    assert filecmp.cmp(tmp_path / "twice.gguf", tmp_path / "again.gguf", shallow=False)
    assert str(planned.layer_path).startswith("0..2*0.7,1*0.21")
    with pytest.raises(LostError):
        gs.open(tmp_path / "twice.gguf").restore(tmp_path / "back.gguf")


def test_in_place_and_in_shards_it_is_the_same_file(tmp_path: Path) -> None:
    path = repeat("1:3", damped=True, times=3)
    new = gs.open(STORIES).plan(path).write(tmp_path / "new.gguf")
    here = tmp_path / "here.gguf"
    here.write_bytes(STORIES.read_bytes())
    find_edit(gs.open(here).plan(path).planned.write_plan)  # the data need not move
    gs.open(here).plan(path).write_in_place()
    assert filecmp.cmp(new, here, shallow=False)
    gs.open(here).restore(tmp_path / "back.gguf")
    assert filecmp.cmp(STORIES, tmp_path / "back.gguf", shallow=False)
    shards = gs.open(STORIES).plan(path).write_shards(tmp_path / "in.gguf", 800_000)
    assert len(shards) > 1
    assert open_gguf(shards[0]).header == open_gguf(new).header
    gs.open(shards[0]).restore(tmp_path / "joined.gguf")
    assert filecmp.cmp(STORIES, tmp_path / "joined.gguf", shallow=False)


def test_the_program_takes_them(tmp_path: Path, surgeon: Run) -> None:
    told = surgeon("plan", STORIES, "--window", "1:3", "--strength", "0.5")
    assert told.returncode == 0
    assert "0..2,1..2*0.5,3..4" in told.stdout
    told = surgeon("plan", STORIES, "--window", "1:3", "--damped")
    assert "0,1..2*0.5,1..2*0.5,3..4" in told.stdout
    for arguments, says in (
        (("--strength", "0.5"), "none is given"),
        (("--drop", "1:2", "--strength", "0.5"), "--strength requires --window"),
        (("--layers", "0..4", "--damped"), "--damped requires --window"),
        (("--window", "1:3", "--damped", "--strength", "0.5"), "exclude each other"),
        (("--window", "1:3", "--strength", "nan"), "a strength of nan"),
        (("--window", "1:3", "--strength", "-1"), "a strength of -1.0"),
        (("--layers", "0..4*0"), "nothing would run"),
        (("--layers", "0..4*-2"), "is no strength"),
    ):
        refused = surgeon("plan", STORIES, *arguments)
        assert (refused.returncode, says in refused.stderr) == (2, True), refused.stderr
    model_file = tmp_path / "gemma3.gguf"
    model_file.write_bytes(model(architecture="gemma3"))
    refused = surgeon("patch", model_file, tmp_path / "new.gguf", "--layers", "0..3*0.5")
    assert refused.returncode == 4 and "gemma3" in refused.stderr
    assert not (tmp_path / "new.gguf").exists()
