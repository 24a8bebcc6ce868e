"""Blocks of several models in one plan: every byte, what must agree, and what lies outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.gguf_file import GgufFile, read_gguf
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.errors import LostError, RefusedError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.in_place import check_in_place
from ggufsurgeon.planning.mixtures.other_sources import read_several
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.planner import PatchPlan, plan_patch
from ggufsurgeon.planning.rebuilding.ingredients import find_ingredients
from ggufsurgeon.write_plan import CopySpan, ValueSpan, ZeroSpan
from tests.models.builders import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U32,
    Tensor,
    gguf,
    pair,
)

N_BLOCKS = (4, 3)
MIXED = LayerPath("0..1,1:1..2,3")


def tensors(mark: int, n_blocks: int, n_tokens: int, *more: Tensor) -> list[Tensor]:
    """Tensors whose data tell the model, the block and the tensor."""
    found = [Tensor("token_embd.weight", (8, n_tokens), bytes([mark, 200] * 16 * n_tokens))]
    for n in range(n_blocks):
        found.append(Tensor(f"blk.{n}.attn_norm.weight", (8,), bytes([mark, n, 1, 2] * 8)))
        found.append(Tensor(f"blk.{n}.ffn.weight", (3,), bytes([mark, n, 7] * 4)))
    return [*found, *more, Tensor("output_norm.weight", (8,), bytes([mark, 201] * 16))]


def model(
    mark: int,
    n_blocks: int = 4,
    *more: bytes,
    n_tokens: int = 3,
    tokens: Sequence[str] = ("a", "b", "c"),
    extra: Sequence[Tensor] = (),
    architecture: str = "llama",
    alignment: int = 32,
    order: str = "<",
) -> bytes:
    pairs = [
        pair("general.architecture", STRING, architecture, order),
        pair("general.name", STRING, f"Model {mark}", order),
        pair(f"{architecture}.block_count", U32, n_blocks, order),
        *([pair("general.alignment", U32, alignment, order)] if alignment != 32 else []),
        *more,
        pair("tokenizer.ggml.tokens", ARRAY, (STRING, list(tokens)), order),
    ]
    found = tensors(mark, n_blocks, n_tokens, *extra)
    return gguf(pairs, found, alignment=alignment, order=order)


def opened(*data: bytes) -> list[GgufFile]:
    return [read_gguf(content, Path(f"model-{n}")) for n, content in enumerate(data)]


def planned(
    data: Sequence[bytes], path: LayerPath = MIXED, outside: OutsideBlocks | None = None
) -> PatchPlan:
    first, *others = opened(*data)
    return plan_patch(first, path, others=others, outside=outside)


def written(plan: PatchPlan, data: Sequence[bytes]) -> bytes:
    """What writing makes of a plan whose sources are single files."""
    pieces = [plan.write_plan.header]
    for span in plan.write_plan.spans:
        if isinstance(span, CopySpan):
            pieces.append(data[span.source][span.offset_in_file :][: span.n_bytes])
        elif isinstance(span, ValueSpan):
            pieces.append(span.data)
        else:
            assert isinstance(span, ZeroSpan)
            pieces.append(bytes(span.n_bytes))
    return b"".join(pieces)


def header_of(plan: PatchPlan) -> Header:
    return plan.write_plan.parsed[0]


def tensor_data(data: bytes) -> dict[str, bytes]:
    header, n_bytes = parse_header(data, "data")
    layout = lay_out(header, n_bytes, len(data), "data")
    return {
        tensor.name: data[layout.data_start + tensor.offset_in_data :][:size]
        for tensor, size in zip(header.tensors, layout.tensor_n_bytes, strict=True)
    }


steps = st.one_of(
    *(
        st.builds(BlockRef, st.just(n), st.integers(0, n_blocks - 1))
        for n, n_blocks in enumerate(N_BLOCKS)
    )
)
paths = st.lists(steps, min_size=1, max_size=9).map(LayerPath)
sides = st.builds(OutsideBlocks, *[st.integers(0, 1)] * 3)


@given(paths, sides, st.sampled_from([(32, 32), (32, 64), (64, 32), (8, 4096)]))
def test_each_tensor_has_the_bytes_of_its_model(
    path: LayerPath, outside: OutsideBlocks, alignments: tuple[int, int]
) -> None:
    data = [
        model(n, n_blocks, alignment=alignment)
        for n, (n_blocks, alignment) in enumerate(zip(N_BLOCKS, alignments, strict=True))
    ]
    plan = planned(data, path, outside)
    result = written(plan, data)
    assert len(result) == plan.write_plan.n_bytes
    before, after = [tensor_data(each) for each in data], tensor_data(result)
    expected = {
        "token_embd.weight": before[outside.embeddings]["token_embd.weight"],
        "output_norm.weight": before[outside.output]["output_norm.weight"],
    }
    if outside.embeddings != outside.output:
        expected["output.weight"] = before[outside.output]["token_embd.weight"]
    for position, step in enumerate(path.steps):
        for name in ("attn_norm.weight", "ffn.weight"):
            data_of_block = before[step.source][f"blk.{step.block}.{name}"]
            expected[f"blk.{position}.{name}"] = data_of_block
    assert after == expected
    assert plan == planned(data, path, outside)


@given(paths)
def test_a_copy_as_the_second_model_changes_nothing_but_the_record(path: LayerPath) -> None:
    data = model(1, 4)
    alone = planned([data], LayerPath.of(path.blocks))
    both = planned([data, data], path, OutsideBlocks())
    ours, theirs = written(both, [data, data]), written(alone, [data])
    assert tensor_data(ours) == tensor_data(theirs)
    pairs = [
        {
            p.key: p.raw
            for p in parse_header(each, "x")[0].pairs
            if not p.key.startswith("layer_path.") and p.key != "general.name"
        }
        for each in (ours, theirs)
    ]
    assert pairs[0] == pairs[1]


def test_a_path_over_the_first_model_alone_is_that_of_one_model() -> None:
    data = [model(0), model(1, 3, pair("llama.rope.freq_base", F32, 5.0))]
    path = LayerPath("0..2,1..3")
    assert planned(data, path) == planned(data[:1], path)


def test_a_model_that_is_not_used_need_not_fit() -> None:
    data = [model(0), model(1, 3, pair("llama.rope.freq_base", F32, 5.0)), model(2)]
    plan = planned(data, LayerPath("0..1,2:2..3"))
    record = read_several(header_of(plan))
    assert record is not None
    assert list(record.others) == [2]
    result = written(plan, data)
    assert tensor_data(result)["blk.2.ffn.weight"] == bytes([2, 2, 7] * 4)


DIFFERENT = [
    ("llama.rope.freq_base", F32, 10000.0, 500000.0),
    ("llama.attention.layer_norm_rms_epsilon", F32, 0.5, 0.25),
    ("llama.embedding_length", U32, 8, 16),
    ("llama.expert_count", U32, 8, 4),
    ("llama.attention.head_count", U32, 8, 4),
    ("llama.attention.head_count_kv", U32, 8, 4),
    ("llama.feed_forward_length", U32, 64, 32),
    ("llama.rope.scaling.type", STRING, "yarn", "linear"),
    ("llama.key_of_a_later_version", STRING, "this", "that"),
    ("general.quantization_version", U32, 2, 3),
]


@pytest.mark.parametrize(("key", "kind", "ours", "theirs"), DIFFERENT)
def test_what_the_graph_reads_must_agree(key: str, kind: int, ours: object, theirs: object) -> None:
    data = [model(0, 4, pair(key, kind, ours)), model(1, 4, pair(key, kind, theirs))]
    with pytest.raises(RefusedError) as error:
        planned(data)
    told = str(error.value)
    for part in (key, str(ours), str(theirs), "model-0", "model-1"):
        assert part in told


def test_a_key_that_one_model_lacks_is_another_value() -> None:
    with pytest.raises(RefusedError, match="absent in model-1"):
        planned([model(0, 4, pair("llama.rope.scaling.factor", F32, 2.0)), model(1)])


def test_a_key_with_the_value_of_an_absent_one_agrees() -> None:
    sizes = [pair("llama.embedding_length", U32, 8), pair("llama.attention.head_count", U32, 2)]
    told = [
        pair("llama.attention.key_length", U32, 4),
        pair("llama.rope.dimension_count", U32, 4),
        pair("llama.rope.freq_base", F32, 10000.0),
    ]
    plan = planned([model(0, 4, *sizes), model(1, 4, *sizes, *told)])
    assert header_of(plan).get("llama.attention.key_length") is None
    with pytest.raises(RefusedError, match=r"key_length is absent in model-0 and 8 in model-1"):
        wider = pair("llama.attention.key_length", U32, 8)
        planned([model(0, 4, *sizes), model(1, 4, *sizes, wider)])


def test_other_architectures_and_byte_orders_are_refused() -> None:
    with pytest.raises(RefusedError, match="architecture is 'llama' in model-0 and 'qwen3'"):
        planned([model(0), model(1, architecture="qwen3")])
    big = model(1, order=">")
    with pytest.raises(RefusedError, match="byte order"):
        planned([model(0), big])


def test_the_smallest_context_length_is_taken_and_told() -> None:
    key = "llama.context_length"
    data = [model(0, 4, pair(key, U32, 4096)), model(1, 4, pair(key, U32, 2048))]
    plan = planned(data)
    assert header_of(plan).get(key) == 2048
    assert any("smallest context length" in note for note in plan.notes)
    turned = planned(data[::-1])
    assert header_of(turned).get(key) == 2048 and key not in [c.after.key for c in turned.changes]
    assert any("smallest context length" in note for note in turned.notes)
    assert not planned([data[0], model(1, 4, pair(key, U32, 4096))]).notes
    absent = planned([model(0, 4), data[1]])
    assert header_of(absent).get(key) is None


@pytest.mark.parametrize("reader", ["yarn", "table", "factors"])
def test_context_lengths_that_positions_are_computed_from_must_agree(reader: str) -> None:
    more = [pair("llama.rope.scaling.type", STRING, "yarn")] if reader == "yarn" else []
    names = {"table": "position_embd.weight", "factors": "rope_factors_long.weight"}
    extra = [Tensor(names[reader], (8,))] if reader in names else []
    data = [
        model(n, 4, pair("llama.context_length", U32, length), *more, extra=extra)
        for n, length in enumerate((4096, 2048))
    ]
    with pytest.raises(RefusedError, match=r"4096 in model-0 and 2048 in model-1, and positions"):
        planned(data)


def test_numbers_that_each_block_reads_become_an_array() -> None:
    key = "deci.attention.head_count_kv"
    data = [
        model(0, 4, pair(key, U32, 8), architecture="deci"),
        model(1, 4, pair(key, ARRAY, (I32, [1, 2, 4, 8])), architecture="deci"),
    ]
    plan = planned(data, LayerPath("0..1,1:1..2,1:0"))
    assert header_of(plan).get(key) == [8, 8, 2, 4, 1]
    every = LayerPath("0..3,1:0..3")
    assert header_of(planned(data, every)).get(key) == [8, 8, 8, 8, 1, 2, 4, 8]
    alike = [data[0], model(1, 3, pair(key, U32, 8), architecture="deci")]
    assert header_of(planned(alike)).get(key) == 8


def test_windows_follow_the_blocks_of_both_models() -> None:
    key = "cohere2.attention.sliding_window"
    data = [model(n, 8, pair(key, U32, 32), architecture="cohere2") for n in range(2)]
    pattern = "cohere2.attention.sliding_window_pattern"
    kept = planned(data, LayerPath("0..3,1:4..7"), OutsideBlocks())
    assert header_of(kept).get(pattern) is None  # every fourth block is global, as before
    moved = planned(data, LayerPath("0..2,1:3..4,1:7"), OutsideBlocks())
    flags = [True, True, True, False, True, False]
    assert header_of(moved).get(pattern) == flags


def test_blocks_known_by_their_index_alone_stay_of_their_kind() -> None:
    data = [model(n, 8, architecture="smollm3") for n in range(2)]
    planned(data, LayerPath("0..3,1:4..7"))
    planned(data, LayerPath("0..3,1:0..3"))
    with pytest.raises(RefusedError, match="NoPE"):
        planned(data, LayerPath("0..3,1:3..6"))


def test_what_more_than_the_residual_stream_reaches_is_not_mixed() -> None:
    data = [model(n, architecture="rwkv7") for n in range(2)]
    with pytest.raises(RefusedError, match="more than the residual stream"):
        planned(data)


def test_tied_embeddings_become_an_output_head_where_there_can_be_one() -> None:
    data = [model(0), model(1)]
    plan = planned(data, LayerPath("0..1,1:2..3"))
    assert tensor_data(written(plan, data))["output.weight"] == bytes([1, 200] * 48)
    gemmas = [model(n, architecture="gemma") for n in range(2)]
    with pytest.raises(RefusedError, match="as in every model of the architecture gemma"):
        planned(gemmas, LayerPath("0..1,1:2..3"))
    assert "output.weight" not in tensor_data(
        written(planned(gemmas, LayerPath("0..1,1:2..3"), OutsideBlocks()), gemmas)
    )


def test_tensors_that_all_blocks_read_must_be_there_in_all_and_be_equal() -> None:
    freqs = Tensor("rope_freqs.weight", (8,))
    with pytest.raises(RefusedError, match=r"model-0 has the tensor 'rope_freqs.weight'"):
        planned([model(0, extra=[freqs]), model(1)])
    with pytest.raises(RefusedError, match="another shape or type"):
        planned([model(0, extra=[freqs]), model(1, extra=[freqs._replace(dims=(4,))])])
    data = [model(n, extra=[freqs]) for n in range(2)]
    ((one, other, name),) = planned(data).equal_data
    assert name == "rope_freqs.weight"
    assert (one.source, other.source) == (0, 1)
    bytes_there = [
        data[span.source][span.offset_in_file :][: span.n_bytes] for span in (one, other)
    ]
    assert bytes_there == [bytes(range(1, 33))] * 2


def test_rows_must_fit_the_tokenizer() -> None:
    data = [model(0), model(1, n_tokens=4, tokens=["a", "b", "c", "d"])]
    with pytest.raises(RefusedError, match=r"has 4 rows, and the tokenizer from model-0.* 3 tok"):
        planned(data, LayerPath("0..1,1:2..3"))
    plan = planned(data, LayerPath("0..1,1:2..3"), OutsideBlocks())
    assert (
        "model-1 has the vocabulary of model-0 with 1 tokens more at its end" in plan.source_notes
    )


def test_other_special_tokens_and_chat_templates_are_told() -> None:
    eos, template = "tokenizer.ggml.eos_token_id", "tokenizer.chat_template"
    ours = (pair(eos, U32, 2), pair(template, STRING, "a"))
    (note,) = planned([model(0, 4, *ours), model(1, 4, pair(eos, U32, 1))]).source_notes
    assert note == f"the chat template, {eos} are those of model-0, and model-1 has others"
    assert not planned([model(0, 4, *ours), model(1, 4, *ours)]).source_notes


def test_another_vocabulary_is_told() -> None:
    data = [model(0), model(1, tokens=["a", "{x}", "c"])]
    (note,) = planned(data).source_notes
    assert "another vocabulary than model-0: 1 of 3 tokens differ" in note
    assert "the first of them is 1 ('{x}' instead of 'b')" in note


def test_the_tokenizer_and_its_size_come_from_the_model_that_is_named() -> None:
    size = "llama.vocab_size"
    data = [
        model(0, 4, pair(size, U32, 3)),
        model(1, 4, pair(size, U32, 4), n_tokens=4, tokens=["a", "b", "c", "d"]),
    ]
    header = header_of(planned(data, MIXED, OutsideBlocks(1, 1, 1)))
    assert header.get("tokenizer.ggml.tokens") == ["a", "b", "c", "d"]
    assert header.get(size) == 4
    assert header.get("general.name") == "Model 0 (blocks 0..1,1:1..2,3)"


@pytest.mark.parametrize(
    ("path", "outside", "problem"),
    [
        ("0..1,2:1", None, "no source 2"),
        ("0..1,1:4", None, "no block 4"),
        ("0..1", OutsideBlocks(output=2), "no model 2"),
        ("0..1", OutsideBlocks(tokenizer=-1), "no model -1"),
    ],
)
def test_what_is_not_there_is_told(path: str, outside: OutsideBlocks | None, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        planned([model(0), model(1)], LayerPath(path), outside)


def test_the_file_records_its_models_and_cannot_be_undone() -> None:
    data = [model(0), model(1)]
    plan = planned(data)
    result = read_gguf(written(plan, data), Path("patched"))
    record = read_several(result.header)
    assert record is not None
    assert record.outside == OutsideBlocks(0, 0, 0)
    assert record.others[1].header_sha256 == opened(*data)[1].header_sha256
    assert record.others[1].n_bytes == len(data[1])
    with pytest.raises(LostError, match=r"made from several models.*contains none of them"):
        plan_restore(result)
    (patch,) = find_ingredients(result).patches
    assert (patch.layers, patch.outside) == (MIXED, record.outside)
    with pytest.raises(RefusedError, match="several models"):
        check_in_place(plan)


def test_a_patch_of_such_a_file_can_be_undone() -> None:
    data = [model(0), model(1)]
    once = written(planned(data), data)
    twice = written(planned([once], LayerPath("0..2,1..4")), [once])
    restored = plan_restore(read_gguf(twice, Path("twice")))
    assert "made from several models" in restored.remaining
    assert restored.restored.header_sha256 == read_gguf(once, Path("once")).header_sha256


def test_strengths_are_those_of_blocks_of_each_model() -> None:
    weights = [
        [Tensor(f"blk.{n}.ffn_down.weight", (8,), bytes([mark, n, 9, 9] * 8)) for n in range(4)]
        for mark in range(2)
    ]
    data = [model(n, extra=weights[n]) for n in range(2)]
    plan = planned(data, LayerPath("0,1:1*0.5,2*0.25"), OutsideBlocks())
    found = tensor_data(written(plan, data))
    scales = {name: content for name, content in found.items() if name.endswith(".scale")}
    assert scales == {
        "blk.1.ffn_down.scale": b"\x00\x00\x00\x3f",
        "blk.2.ffn_down.scale": b"\x00\x00\x80\x3e",
    }


def test_mtp_blocks_come_from_the_model_of_the_output() -> None:
    more = pair("glm4moe.nextn_predict_layers", U32, 1)
    data = [model(n, 4, more, architecture="glm4moe") for n in range(2)]
    plan = planned(data, LayerPath("0..1,1:2"))
    assert str(plan.path) == "0..1,1:2..3"
    assert tensor_data(written(plan, data))["blk.3.ffn.weight"] == bytes([1, 3, 7] * 4)
    with pytest.raises(UsageError, match="block 3 is the MTP"):
        planned(data, LayerPath("0..1,1:3"))
    with pytest.raises(RefusedError, match="nextn_predict_layers"):
        planned([data[0], model(1, architecture="glm4moe")], LayerPath("0..1,1:2"))


def test_kinds_of_blocks_are_told_by_the_model_that_they_come_from() -> None:
    key = "deepseek.leading_dense_block_count"
    data = [
        model(n, 4, pair(key, U32, n_dense), architecture="deepseek")
        for n, n_dense in enumerate((1, 2))
    ]
    assert header_of(planned(data, LayerPath("0,1:0..3,3"))).get(key) == 3
    with pytest.raises(RefusedError, match="dense"):
        planned(data, LayerPath("0..1,1:1..3"))
    pattern, window = (
        f"cohere2.attention.{end}" for end in ("sliding_window_pattern", "sliding_window")
    )
    data = [
        model(
            n,
            4,
            pair(window, U32, 32),
            pair(pattern, ARRAY, (BOOL, flags)),
            architecture="cohere2",
        )
        for n, flags in enumerate(([1, 1, 1, 0], [1, 0, 1, 0]))
    ]
    plan = planned(data, LayerPath("0..1,1:1..3"), OutsideBlocks())
    assert header_of(plan).get(pattern) == [True, True, False, True, False]


def test_a_kind_that_model_0_does_not_have_is_refused() -> None:
    key = "deepseek.leading_dense_block_count"
    data = [
        model(n, 4, pair(key, U32, n_dense), architecture="deepseek")
        for n, n_dense in enumerate((0, 1))
    ]
    with pytest.raises(RefusedError, match=r"block 0 of model-1 is of a kind, by deepseek.leading"):
        planned(data, LayerPath("1:0,1..3"))
    assert header_of(planned(data[::-1], LayerPath("0,1:1..3"))).get(key) == 1


def test_blocks_that_borrow_from_block_0_are_not_mixed() -> None:
    data = [model(n, architecture="t5encoder") for n in range(2)]
    with pytest.raises(RefusedError, match="use block 0's"):
        planned(data)


@pytest.mark.parametrize("numbers", [(61, 62), (62, 61)])
def test_numbers_of_blocks_that_select_other_maths_must_select_the_same(
    numbers: tuple[int, int],
) -> None:
    sizes = [
        pair("gemma3.embedding_length", U32, 16),
        pair("gemma3.attention.head_count", U32, 4),
        pair("gemma3.attention.key_length", U32, 8),
    ]
    data = [model(k, n, *sizes, architecture="gemma3") for k, n in enumerate(numbers)]
    with pytest.raises(RefusedError, match="number of blocks means"):
        planned(data, LayerPath("0..1,1:1..2"))
