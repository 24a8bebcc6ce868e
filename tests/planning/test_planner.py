"""Plans: laws 2, 3 and 10, over whole tiny models."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.layout import pad
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import PatchPlan, plan_patch
from ggufsurgeon.write_plan import CopySpan, WritePlan, ZeroSpan, coalesce
from tests.models.builders import (
    STRING,
    U32,
    block_tensors,
    gguf,
    llama_model,
    pair,
)
from tests.models.in_memory import opened, run
from tests.planning.drawing import N_BLOCKS, models, paths
from tests.planning.restoring import restored


def planned(data: bytes, path: LayerPath) -> PatchPlan | None:
    try:
        return plan_patch(opened(data), path)
    except RefusedError as error:
        assert "block 0" in str(error)
        return None


def tensor_bytes(data: bytes) -> dict[str, bytes]:
    file = opened(data)
    return {
        tensor.name: data[file.offset_in_file(i) :][: file.layout.tensor_n_bytes[i]]
        for i, tensor in enumerate(file.header.tensors)
    }


@given(models(), paths)
def test_every_block_has_the_data_of_its_source(data: bytes, path: LayerPath) -> None:
    plan = planned(data, path)
    if plan is None:
        return
    before, after = tensor_bytes(data), tensor_bytes(run(plan.write_plan, data))
    expected = {name: raw for name, raw in before.items() if not name.startswith("blk.")}
    for position, block in enumerate(path.blocks):
        for suffix in ("attn_norm.weight", "ffn.weight"):
            expected[f"blk.{position}.{suffix}"] = before[f"blk.{block}.{suffix}"]
    assert after == expected


@given(models(), paths)
def test_metadata_follows(data: bytes, path: LayerPath) -> None:
    plan = planned(data, path)
    if plan is None:
        return
    before, after = opened(data).header, opened(run(plan.write_plan, data)).header
    assert after.get("llama.block_count") == len(path)
    for key in ("llama.attention.head_count_kv", "llama.swiglu_clamp_exp"):
        old = before.get(key)
        expected = [old[block] for block in path.blocks] if isinstance(old, list) else None
        assert after.get(key) == expected


@given(models())
def test_the_identity_path_gives_the_identical_file(data: bytes) -> None:
    plan = plan_patch(opened(data), LayerPath.identity(N_BLOCKS))
    assert run(plan.write_plan, data) == data
    assert plan.changes == ()


@given(models(), paths)
def test_a_plan_is_deterministic_and_tiles_the_file(data: bytes, path: LayerPath) -> None:
    plan = planned(data, path)
    if plan is None:
        return
    assert plan_patch(opened(data), path).write_plan == plan.write_plan
    result = run(plan.write_plan, data)
    assert len(result) == plan.write_plan.n_bytes
    assert coalesce(plan.write_plan.spans) == plan.write_plan.spans
    file = opened(result)
    ends = [offset.offset_in_data for offset in file.header.tensors[1:]]
    sizes = file.layout.tensor_n_bytes
    offsets = [tensor.offset_in_data for tensor in file.header.tensors]
    assert (
        ends
        == [pad(o + n, file.header.alignment) for o, n in zip(offsets, sizes, strict=True)][:-1]
    )


@given(models(), paths)
def test_the_original_can_be_had_back(data: bytes, path: LayerPath) -> None:
    plan = planned(data, path)
    if plan is None or set(path.blocks) != set(range(N_BLOCKS)):
        return  # what was dropped is gone
    assert restored(run(plan.write_plan, data)) == data


@given(models(), paths, paths)
def test_also_through_two_patches(data: bytes, first: LayerPath, second: LayerPath) -> None:
    plan = planned(data, first)
    if plan is None or set(first.blocks) != set(range(N_BLOCKS)):
        return
    once = run(plan.write_plan, data)
    again = planned(
        once, LayerPath.of([*range(len(first)), *(b % len(first) for b in second.blocks)])
    )
    assert again is not None
    assert restored(run(again.write_plan, once)) == once


def test_keys_that_were_added_are_told_from_the_originals() -> None:
    pairs = [pair("general.architecture", STRING, "gemma2"), pair("gemma2.block_count", U32, 6)]
    data = gguf(pairs, block_tensors(6))
    shifting, keeping = LayerPath.of([0, 0, 1, 2, 3, 4, 5]), LayerPath.of([0, 1, 0, 1, 2, 3, 4, 5])
    once = run(plan_patch(opened(data), shifting).write_plan, data)
    added = opened(once).header.get("layer_path.added_keys")
    assert added == ["gemma2.attention.sliding_window_pattern"]
    assert restored(once) == data
    kept = run(plan_patch(opened(data), keeping).write_plan, data)
    assert opened(kept).header.get("layer_path.added_keys") is None
    for first in (once, kept):  # and patched once more, adding a key or not
        n_blocks = len(shifting) if first is once else len(keeping)
        for path in ([0, 0, *range(1, n_blocks)], [0, 1, *range(n_blocks)]):
            again = run(plan_patch(opened(first), LayerPath.of(path)).write_plan, first)
            assert restored(again) == first


def test_unmoved_data_stays_one_extent() -> None:
    file = opened(llama_model(30))
    plan = plan_patch(file, LayerPath.of([*range(17), *range(10, 30)])).write_plan
    copies = [span for span in plan.spans if isinstance(span, CopySpan)]
    assert copies[0].offset_in_file == file.layout.data_start
    assert copies[0].n_bytes == file.layout.data_n_bytes
    assert len(copies) == 2


def test_a_plan_is_plain_json() -> None:
    plan = plan_patch(opened(llama_model(3)), LayerPath.of([0, 1, 1, 2])).write_plan
    told = json.loads(json.dumps(plan.as_json()))
    assert told["n_bytes"] == plan.n_bytes
    sizes = [told["header"]["n_bytes"], *(span["n_bytes"] for span in told["spans"])]
    assert sum(sizes) == plan.n_bytes


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), max_size=9))
def test_coalescing_keeps_the_bytes(found: list[tuple[int, int, int]]) -> None:
    data = bytes(range(100))
    spans = [CopySpan(0, at, n) if kind else ZeroSpan(n) for kind, at, n in found]
    joined = coalesce(spans)
    assert run(WritePlan((), b"", joined), data) == run(WritePlan((), b"", tuple(spans)), data)
    assert all(span.n_bytes for span in joined)
