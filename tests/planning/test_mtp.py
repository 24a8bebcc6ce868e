"""MTP blocks in messages: which block it is, and what makes a file without it loadable."""

from __future__ import annotations

import pytest

from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath, drop, repeat
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from tests.models.builders import ARRAY, STRING, U32, block_tensors, gguf, pair
from tests.models.in_memory import opened


def model(architecture: str, n_blocks: int, n_mtp: int, *more: bytes, n_there: int) -> bytes:
    """A model that counts `n_blocks` blocks, and has the tensors of `n_there`."""
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, n_blocks),
        pair(f"{architecture}.nextn_predict_layers", U32, n_mtp),
        pair(f"{architecture}.full_attention_interval", U32, 1),
    ]
    return gguf([*pairs, *more], block_tensors(n_there))


def told_of(data: bytes) -> MalformedFileError:
    with pytest.raises(MalformedFileError) as caught:
        plan_patch(opened(data), LayerPath.of([0, 1, 1, 2]))
    return caught.value


def test_a_missing_mtp_block_is_named_with_the_keys_that_make_the_file_loadable() -> None:
    error = told_of(model("qwen35", 33, 1, n_there=32))
    assert "block 32, which qwen35.nextn_predict_layers counts as an MTP (multi-" in str(error)
    assert "two keys changed: qwen35.block_count = 32, qwen35.nextn_pre" in error.hint
    assert error.exit_code == 3


def test_keys_keep_the_mtp_blocks_that_are_there() -> None:
    error = told_of(model("qwen35", 6, 2, n_there=5))
    assert "block 5, which" in str(error)
    assert "qwen35.block_count = 5, qwen35.nextn_predict_layers = 1" in error.hint


def test_arrays_with_an_element_for_each_block_are_named() -> None:
    flags = pair("qwen35.attention.recurrent_layers", ARRAY, (U32, [0, 0, 0, 0]))
    other = pair("qwen35.rope.dimension_sections", ARRAY, (U32, [1, 2, 3]))
    error = told_of(model("qwen35", 4, 1, flags, other, n_there=3))
    assert "and 3 elements in qwen35.attention.recurrent_layers: convert" in error.hint


def test_a_block_missing_before_them_is_none_of_them() -> None:
    assert "block_count is 6, but block 3 has no tensors" in str(
        told_of(model("qwen35", 6, 1, n_there=3))
    )


@pytest.mark.parametrize(
    "path", [repeat("2:5"), drop("4:5"), LayerPath("0..4"), LayerPath("0..3,4")], ids=str
)
def test_a_path_over_the_mtp_block_is_told_which_it_is(path: AnyPath) -> None:
    with pytest.raises(UsageError) as caught:
        plan_patch(opened(model("qwen35", 5, 1, n_there=5)), path)
    assert "block 4 is the MTP (multi-token prediction) block of this model" in str(caught.value)
    assert "Use blocks 0 to 3" in caught.value.hint


def test_several_mtp_blocks_and_paths_beyond_all_blocks() -> None:
    file = opened(model("glm4moe", 5, 2, n_there=5))
    with pytest.raises(UsageError, match="blocks 3 to 4 are the MTP"):
        plan_patch(file, repeat("2:4"))
    with pytest.raises(UsageError, match="window 2:6 reaches past the end of the model"):
        plan_patch(file, repeat("2:6"))


def test_engines_that_are_known_not_to_load_mtp_blocks_are_named() -> None:
    def notes(architecture: str, n_mtp: int, n_there: int) -> str:
        file = opened(model(architecture, 5, n_mtp, n_there=n_there))
        return "".join(plan_patch(file, LayerPath.of([0, 1, 1, 2])).notes)

    assert "llama.cpp before b9180" in notes("qwen35", 2, 5)
    assert "Ollama 0.24.0" in notes("qwen35moe", 2, 5)
    assert "llama.cpp of March 2026" in notes("glm4moe", 2, 3)
    assert "counts MTP blocks in its metadata that it does not contain" in notes("step35", 2, 3)
    assert "does not hold" not in notes("step35", 2, 5) + notes("step35", 0, 5)
    assert "March 2026" not in notes("glm4moe", 2, 5)
    assert "b9180" not in notes("qwen35", 0, 5)
