"""Rules that encoders alone have, and blocks named `enc.blk.`."""

from __future__ import annotations

import pytest

from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from tests.models.builders import ARRAY, BOOL, STRING, U32, Tensor, gguf, pair
from tests.models.in_memory import opened

BIASES = [f"enc.blk.{n}.attn_rel_b.weight" for n in range(4)]


def encoder(architecture: str, *tensors: str, **keys: int) -> bytes:
    """A model of 4 blocks, each with one tensor at least."""
    prefix = "enc.blk" if architecture.startswith("t5") else "blk"
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, 4),
        *(pair(f"{architecture}.{key}", U32, value) for key, value in keys.items()),
    ]
    names = [*tensors, *(f"{prefix}.{n}.ffn_up.weight" for n in range(4))]
    return gguf(pairs, [Tensor(name) for name in names])


def changed(data: bytes, path: list[int]) -> dict[str, object]:
    """Keys of the architecture that a patch changes, the number of blocks aside."""
    plan = plan_patch(opened(data), LayerPath.of(path))
    own = f"{opened(data).header.architecture}."
    changes = {change.after.key: change.after.value for change in plan.changes}
    return {
        key.removeprefix(own): value
        for key, value in changes.items()
        if key.startswith(own) and not key.endswith(".block_count")
    }


def refused(data: bytes, path: list[int]) -> str:
    with pytest.raises(RefusedError) as caught:
        plan_patch(opened(data), LayerPath.of(path))
    return str(caught.value)


def test_moe_blocks_stay_one_in_so_many() -> None:
    data = encoder("nomic-bert-moe", moe_every_n_layers=2)
    assert changed(data, [0, 1, 2, 1, 2, 3]) == {}
    assert changed(data, [0, 2, 0]) == {"moe_every_n_layers": 0}
    assert changed(data, [0, 1, 2, 0, 3]) == {"moe_every_n_layers": 3}
    assert changed(data, [2, 3, 0, 0, 2]) == {"moe_every_n_layers": 4}
    assert "blocks [0, 2] would be MoE" in refused(data, [1, 2, 3, 2])
    assert "blocks [2] would be MoE" in refused(data, [0, 2, 3])


def test_without_moe_nothing_is_said_of_it() -> None:
    for data in (encoder("nomic-bert-moe"), encoder("nomic-bert-moe", moe_every_n_layers=1)):
        assert changed(data, [3, 2, 2]) == {}


def test_block_0_without_its_norm_can_only_come_first() -> None:
    norms = [f"blk.{n}.attn_norm.weight" for n in range(4)]
    bare, normed = encoder("modern-bert", *norms[1:]), encoder("modern-bert", *norms)
    for path in ([0, 1, 2, 1], [2, 3], [3]):
        assert changed(bare, path) == changed(normed, path) == {}
    for path in ([1, 0], [0, 1, 0]):
        assert changed(normed, path) == {}
        assert "block 0 has no attn_norm.weight" in refused(bare, path)


def test_a_borrowed_bias_keeps_its_lender() -> None:
    t5, umt5 = encoder("t5encoder", BIASES[0]), encoder("t5encoder", *BIASES)
    two_own = encoder("t5encoder", BIASES[0], BIASES[2])
    for path in ([0, 1, 0, 3], [0, 2]):
        assert changed(t5, path) == changed(umt5, path) == changed(two_own, path) == {}
    assert changed(umt5, [3, 0, 1]) == changed(two_own, [2, 0, 2]) == {}
    assert "block 1 uses enc.blk.0.attn_rel_b.weight" in refused(t5, [1, 2])
    assert "block 3 uses" in refused(two_own, [2, 3])
    assert "block 1 uses" in refused(two_own, [1, 0])


def test_blocks_of_an_encoder_stack_keep_their_prefix() -> None:
    plan = plan_patch(opened(encoder("t5encoder", BIASES[0])), LayerPath.of([0, 2, 2, 0]))
    header = parse_header(plan.write_plan.header, "patched")[0]
    names = {tensor.name for tensor in header.tensors}
    expected = {f"enc.blk.{n}.ffn_up.weight" for n in range(4)}
    assert names == expected | {BIASES[0], BIASES[3]}


def test_an_encoder_keeps_blocks_of_both_kinds() -> None:
    for architecture, all_sliding, all_global in (
        ("modern-bert", [1, 2], [0, 3]),
        ("gemma-embedding", [0, 1], [2]),
    ):
        flags = [n not in all_global for n in range(4)]
        pattern = f"{architecture}.attention.sliding_window_pattern"
        pairs = [
            pair("general.architecture", STRING, architecture),
            pair(f"{architecture}.block_count", U32, 4),
            pair(f"{architecture}.attention.sliding_window", U32, 9),
            pair(pattern, ARRAY, (BOOL, flags)),
        ]
        norms = [Tensor(f"blk.{n}.attn_norm.weight") for n in range(4)]
        data = gguf(pairs, norms)
        assert "no block without a sliding window" in refused(data, all_sliding)
        assert "no block with a sliding window" in refused(data, all_global)
        wanted = [flags[0], flags[3], flags[1], flags[2]]
        assert changed(data, [0, 3, 1, 2]) == {"attention.sliding_window_pattern": wanted}


def test_two_stacks_are_refused_with_the_reason() -> None:
    assert "two stacks with paths of their own" in refused(encoder("t5", BIASES[0]), [0, 1, 1])
