"""The rules, each on its own, where no model of llama.cpp's test shows them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from ggufsurgeon.architectures.model import Model, Rule
from ggufsurgeon.architectures.sources import SOURCES
from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.architectures.vocabulary.arrays import ImageStreams, PerLayerArray
from ggufsurgeon.architectures.vocabulary.counts import (
    LiteModel,
    PrefixCount,
    ResidualScale,
    SharedKvSuffix,
)
from ggufsurgeon.architectures.vocabulary.crossing import (
    PrefixStays,
    ResidualCheckpoints,
    SharedIndexers,
)
from ggufsurgeon.architectures.vocabulary.kinds import RecurrentLayers, SlidingWindow
from ggufsurgeon.architectures.vocabulary.periods import FixedPeriod
from ggufsurgeon.architectures.vocabulary.sizes import HeadCounts
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.edits import repeat
from ggufsurgeon.layer_path.notations import repeat_windows
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.windows import judge_windows
from tests.models.builders import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)
from tests.models.in_memory import opened, patched_header


def model(n_blocks: int, *pairs: bytes, n_mtp: int = 0) -> Model:
    architecture = pair("general.architecture", STRING, "any")
    return Model(parse_header(gguf([architecture, *pairs]), "any")[0], n_blocks, n_mtp)


def edits(rule: Rule, of: Model, path: list[int]) -> dict[str, object]:
    return {edit.pair.key: edit.pair.value for edit in rule.follow(of, path)}


def window(n_blocks: int, first: int, end: int) -> list[int]:
    return list(repeat_windows(n_blocks, [(first, end)]).blocks)


def test_a_period_is_kept_where_the_path_keeps_it() -> None:
    plain = model(12, pair("any.attention.sliding_window", U32, 9))
    assert edits(SlidingWindow(6), plain, window(12, 2, 8)) == {}
    shifted = edits(SlidingWindow(6), plain, window(12, 2, 4))
    is_sliding = [n % 6 != 5 for n in window(12, 2, 4)]
    assert shifted == {"any.attention.sliding_window_pattern": is_sliding}


def test_mtp_blocks_have_no_window_and_come_last() -> None:
    of = model(5, n_mtp=1)
    assert edits(SlidingWindow(2), of, [0, 1, 2, 2, 3, 4]) == {
        "any.attention.sliding_window_pattern": [True, False, True, True, False, False]
    }


def test_a_stale_array_is_read_as_llama_cpp_does() -> None:
    short = model(4, pair("any.attention.sliding_window_pattern", ARRAY, (BOOL, [1, 0])))
    found = edits(SlidingWindow(None), short, [0, 1, 0, 1, 2, 3])
    expected = [True, False, True, False, False, False]
    assert found == {"any.attention.sliding_window_pattern": expected}


def test_recurrent_intervals() -> None:
    of = model(8, pair("any.full_attention_interval", U32, 4))
    assert edits(RecurrentLayers(3), of, window(8, 1, 5)) == {}
    found = edits(RecurrentLayers(3), of, window(8, 1, 3))
    assert found == {"any.attention.recurrent_layers": [n % 4 != 3 for n in window(8, 1, 3)]}
    with pytest.raises(RefusedError, match="no attention block"):
        edits(RecurrentLayers(3), of, [0, 1, 2])


def test_a_prefix_grows_and_shrinks_but_stays_a_prefix() -> None:
    of = model(6, pair("any.leading_dense_block_count", U32, 2))
    rule = PrefixCount("leading_dense_block_count", "dense")
    assert edits(rule, of, window(6, 0, 2)) == {"any.leading_dense_block_count": 4}
    assert edits(rule, of, [0, 2, 3]) == {"any.leading_dense_block_count": 1}
    assert edits(rule, of, window(6, 2, 5)) == {}
    with pytest.raises(RefusedError, match="one behind another kind"):
        edits(rule, of, window(6, 1, 4))


def test_blocks_that_share_kv_share_the_same() -> None:
    of = model(8, pair("any.attention.shared_kv_layers", U32, 3))
    assert edits(SharedKvSuffix(), of, window(8, 5, 7)) == {"any.attention.shared_kv_layers": 5}
    assert edits(SharedKvSuffix(), of, window(8, 1, 4)) == {}
    for path in (window(8, 4, 6), [0, 1, 2, 4, 3, 5, 6, 7], [0, 1, 2, 3, 5, 6, 7]):
        with pytest.raises(RefusedError, match="use the KV of blocks 3 and 4"):
            edits(SharedKvSuffix(), of, path)


def test_kv_that_no_block_shares_any_more_is_free() -> None:
    slides = pair(f"any.{SlidingWindow.key}", ARRAY, (BOOL, [1, 0, 1, 1, 0, 1, 1, 0]))
    of = model(8, pair("any.attention.shared_kv_layers", U32, 3), slides)
    for good, n_sharing in (([2, 1], 0), ([0, 3, 2, 5, 6], 2), ([1, 4, 7], 1)):
        found = edits(SharedKvSuffix(), of, good)
        assert found == {"any.attention.shared_kv_layers": n_sharing}
    for bad in ([0, 3, 2, 7], [0, 2, 3, 5], [4, 7], [4], [0, 3, 4, 5, 0], [1, 3, 3, 5]):
        with pytest.raises(RefusedError, match="use the KV of blocks 3 and 4"):
            edits(SharedKvSuffix(), of, bad)


def test_a_global_block_stays_where_llama_cpp_needs_one() -> None:
    of = model(4, pair(f"any.{SlidingWindow.key}", ARRAY, (BOOL, [1, 0, 1, 0])))
    assert edits(SlidingWindow(None, needs_global=True), of, [0, 3]) != {}
    with pytest.raises(RefusedError, match="no block without a sliding window"):
        edits(SlidingWindow(None, needs_global=True), of, [2, 0])


def test_shared_indexers_keep_theirs() -> None:
    of = model(6, pair("any.attention.indexer.types", ARRAY, (U32, [1, 0, 0, 1, 0, 1])))
    for good in (window(6, 0, 3), window(6, 3, 5), [0, 2, 3, 4, 5]):
        assert edits(SharedIndexers(), of, good) == {}
    for bad in (window(6, 1, 4), [0, 3, 1, 2, 4, 5], [0, 1, 4, 5]):
        with pytest.raises(RefusedError, match="takes its top-k from"):
            edits(SharedIndexers(), of, bad)


def test_kinds_by_index_alone() -> None:
    rule = FixedPeriod(4, 1, "NoPE")
    assert edits(rule, model(8), window(8, 1, 5)) == {}
    with pytest.raises(RefusedError, match="by its index, every 4"):
        edits(rule, model(8), window(8, 1, 4))


def test_block_0_stays() -> None:
    rule = PrefixStays("why", n=1)
    assert edits(rule, model(4), [0, 1, 2, 1, 2, 3]) == {}
    for path in ([1, 2, 3], [0, 1, 0, 2]):
        with pytest.raises(RefusedError, match="block 0 must come first and run once: why"):
            edits(rule, model(4), path)


@pytest.mark.parametrize("rule", [PrefixStays("why", n=3), PrefixStays("why", n_key="n_first")])
def test_the_first_blocks_stay(rule: PrefixStays) -> None:
    of = model(6, pair("any.n_first", U32, 3), n_mtp=1)
    for good in ([0, 1, 2, 5], [0, 1, 2, 4, 3, 3, 5]):
        assert edits(rule, of, good) == {}
    for bad in ([0, 1, 3, 4, 5], [0, 2, 1, 3, 5], [0, 1, 2, 3, 1, 5], [0, 1, 5], [0, 1, 1, 2, 5]):
        with pytest.raises(RefusedError, match="blocks 0 to 2 must come first, in order") as caught:
            edits(rule, of, bad)
        assert caught.value.hint == "Windows inside 3:5 work."


def test_no_first_blocks_or_none_behind_them() -> None:
    assert edits(PrefixStays("why", n_key="n_first"), model(3), [2, 2, 0]) == {}
    with pytest.raises(RefusedError, match="blocks 0 to 2 must come first"):
        edits(PrefixStays("why", n=20), model(3), [0, 1, 2, 2])


def test_a_lite_model_says_so_in_another_length() -> None:
    grown = edits(LiteModel(), model(27), window(27, 3, 5))
    assert grown == {"any.attention.q_lora_rank": 0}
    full = model(25, pair("any.attention.q_lora_rank", U32, 8))
    with pytest.raises(RefusedError, match="takes a model of 27 blocks for a lite one"):
        edits(LiteModel(), full, window(25, 3, 5))
    glm = model(47, pair("any.vocab_size", U32, 154_880))
    assert edits(LiteModel(), glm, window(47, 3, 9)) == {"any.expert_gating_func": 2}


def test_the_residual_scale_is_written_in_single_precision() -> None:
    found = edits(ResidualScale(), model(40), window(40, 3, 5))
    expected = np.float32(1.4) / np.sqrt(np.float32(40))
    assert found == {"any.residual_scale": float(expected)}
    assert edits(ResidualScale(), model(40, pair("any.residual_scale", F32, 1.0)), [0]) == {}
    assert math.isfinite(float(expected))


def test_sizes_derived_from_block_0_are_written_out() -> None:
    heads = pair("any.attention.head_count", ARRAY, (U32, [4, 2, 4, 0]))
    kv = pair("any.attention.head_count_kv", ARRAY, (U32, [2, 2, 0, 0]))
    of = model(4, heads, kv, pair("any.embedding_length", U32, 64))
    assert edits(HeadCounts(), of, [0, 1, 1]) == {"any.attention.head_count": [4, 2, 2]}
    assert edits(HeadCounts(), of, [1, 0]) == {
        "any.attention.key_length": 16,
        "any.attention.value_length": 16,
        "any.rope.dimension_count": 16,
        "any.attention.head_count": [2, 4],
    }
    known = model(4, heads, kv, pair("any.attention.key_length", U32, 8))
    assert edits(HeadCounts(), known, [1, 0])["any.rope.dimension_count"] == 8
    with pytest.raises(RefusedError, match="has 0 heads, where block 0 has 4"):
        edits(HeadCounts(), of, [3, 0])
    recurrent = edits(HeadCounts(unread_without_kv=True), of, [3, 1])
    assert recurrent == {"any.attention.head_count": [4, 2]}


def test_an_element_that_all_blocks_read_stays_first() -> None:
    of = model(3, pair("any.feed_forward_length", ARRAY, (U32, [5, 6, 7])))
    found = edits(PerLayerArray("feed_forward_length", reads="first"), of, [2, 1, 0])
    assert found == {"any.feed_forward_length": [5, 6, 5]}
    with pytest.raises(RefusedError, match="is 5 for block 0 and 7 for block 2, which would"):
        edits(PerLayerArray("feed_forward_length", reads="both"), of, [2, 1, 0])


def test_blocks_behind_the_last_checkpoint_of_the_residual_may_change() -> None:
    of = model(8, pair("any.attn_res.block_size", U32, 5))
    for good in (window(8, 6, 8), [0, 1, 2, 3, 4, 5, 7, 6], [0, 1, 2, 3, 4, 5]):
        assert edits(ResidualCheckpoints(), of, good) == {}
    for bad in (window(8, 5, 6), [0, 1, 2, 3, 4, 6, 7], [0, 1, 2, 3, 4]):
        with pytest.raises(RefusedError, match="blocks 0 to 5 must come first"):
            edits(ResidualCheckpoints(), of, bad)
    with pytest.raises(RefusedError, match="with 11 blocks the residual would be put by once more"):
        edits(ResidualCheckpoints(), of, [*range(6), 6, 7, 6, 7, 7])
    assert edits(ResidualCheckpoints(), model(8), window(8, 0, 8)) == {}


def test_streams_of_image_features_follow_their_blocks() -> None:
    streams = [0, -1, 1, -1, 2]
    of = model(5, pair("any.deepstack_mapping", ARRAY, (I32, streams)))
    found = edits(ImageStreams(), of, [0, 1, 2, 0, 1, 2, 3, 4])
    assert found == {"any.deepstack_mapping": [0, -1, 1, -1, -1, 1, -1, 2]}
    assert edits(ImageStreams(), of, [1, 2, 4])["any.deepstack_mapping"] == [0, 1, 2]
    with pytest.raises(RefusedError, match="block 2 would become block 0, and image features"):
        edits(ImageStreams(), of, [2, 3, 4])
    with pytest.raises(RefusedError, match="no block would be left that image features 2 are"):
        edits(ImageStreams(), of, [0, 1, 2, 3])


def test_another_kind_of_block_0_is_refused_where_its_sizes_are_all_blocks() -> None:
    rope = (pair("any.rope.dimension_count", U32, 8), pair("any.rope.dimension_count_swa", U32, 4))
    of = model(6, *rope)
    assert edits(SlidingWindow(3), of, [1, 2, 0])
    with pytest.raises(RefusedError, match="block 2 would become block 0, and one of the two"):
        edits(SlidingWindow(3), of, [2, 0, 1])
    assert edits(SlidingWindow(3, own_sizes=("rope.dimension_count",)), of, [2, 0, 1])


def test_mtp_blocks_follow_the_path() -> None:
    data = llama_model(4, pair("llama.nextn_predict_layers", U32, 1))
    assert find_blocks(opened(data)).n_trunk == 3
    header = patched_header(data, LayerPath.of([0, 1, 1, 2]))
    assert header.get("layer_path.blocks") == "0..1,1..3"
    assert header.get("llama.block_count") == 5


def trunk_only(architecture: str) -> bytes:
    pairs = [pair("general.architecture", STRING, architecture)]
    pairs += [pair(f"{architecture}.block_count", U32, 5)]
    pairs += [pair(f"{architecture}.nextn_predict_layers", U32, 2)]
    return gguf(pairs, block_tensors(3))


def test_mtp_blocks_may_have_no_tensors_where_llama_cpp_loads_that() -> None:
    assert find_blocks(opened(trunk_only("glm4moe"))).of_block[3:] == ((), ())
    header = patched_header(trunk_only("glm4moe"), LayerPath.of([0, 1, 2, 1, 2]))
    assert header.get("glm4moe.block_count") == 7
    assert header.get("glm4moe.nextn_predict_layers") == 2
    assert max(str(tensor.name) for tensor in header.tensors if "blk" in tensor.name)[:5] == "blk.4"
    with pytest.raises(MalformedFileError, match="block 3, which qwen35"):
        find_blocks(opened(trunk_only("qwen35")))


def test_mtp_blocks_that_llama_cpp_does_not_count_are_blocks() -> None:
    pairs = [pair("general.architecture", STRING, "deepseek4")]
    pairs += [pair("deepseek4.block_count", U32, 3)]
    pairs += [pair("deepseek4.nextn_predict_layers", U32, 1)]
    assert find_blocks(opened(gguf(pairs, block_tensors(3)))).n_trunk == 3
    probe = Tensor("blk.2.nextn.eh_proj.weight")
    assert find_blocks(opened(gguf(pairs, [*block_tensors(3), probe]))).n_trunk == 2


def test_mtp_blocks_alone_are_no_model() -> None:
    pairs = [*llama_pairs(5), pair("llama.nextn_predict_layers", U32, 2)]
    with pytest.raises(RefusedError, match="holds the MTP blocks of a model alone"):
        find_blocks(opened(gguf(pairs, block_tensors(5, skip=[0, 1, 2]))))


def test_a_refusal_names_the_nearest_windows_that_work() -> None:
    pairs = [
        pair("general.architecture", STRING, "smollm3"),
        pair("smollm3.block_count", U32, 12),
    ]
    file = opened(gguf(pairs, block_tensors(12)))
    with pytest.raises(RefusedError) as caught:
        plan_patch(file, repeat((2, 5)))
    assert "Nearest windows that work: 1:5, 2:6, " in caught.value.hint
    with pytest.raises(RefusedError) as caught:  # whoever names the whole path gets whole paths
        plan_patch(file, repeat_windows(12, [(2, 5)]))
    assert 'Nearest layer paths that work: "0..4,1..11", "0..5,2..11", ' in caught.value.hint
    judged = {j.window: j.refusal for j in judge_windows(file, find_blocks(file))}
    assert len(judged) == 12 * 13 // 2
    assert all((refusal is None) == ((j - i) % 4 == 0 or (j == 12 and (j - i) % 4 == 0))
               for (i, j), refusal in judged.items() if j < 12)  # fmt: skip


def test_every_architecture_of_llama_cpp_is_in_the_table() -> None:
    assert len(ARCHITECTURES) == 153


def test_every_architecture_has_a_source() -> None:
    assert SOURCES.keys() == ARCHITECTURES.keys()
    for name, source in SOURCES.items():
        match = re.fullmatch(r"(?:\.\./)?[a-z0-9-]+\.cpp:(\d+)-(\d+)", source)
        assert match is not None and int(match[1]) <= int(match[2]), (name, source)
