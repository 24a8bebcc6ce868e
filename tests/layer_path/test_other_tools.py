"""Layer paths in the notations of other tools, read back by the rules of each."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.other_tools import OtherTool, in_notation_of
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe

paths = st.lists(st.integers(0, 70), min_size=1, max_size=40)


def half_open_slices(text: str) -> list[int]:
    """mergekit: slices of one source each, with `layer_range: [first, end]`."""
    assert text.startswith("merge_method: passthrough\nslices:\n")
    a_slice = r"  - sources:\n      - model: ORIGINAL\n        layer_range: \[(\d+), (\d+)\]"
    rest = text.partition("slices:\n")[2]
    assert re.fullmatch(rf"({a_slice}\n?)+", rest)
    return [n for first, end in re.findall(a_slice, rest) for n in range(int(first), int(end))]


def inclusive_ranges(text: str) -> list[int]:
    """exllamav3 and llm-circuit-finder: `1`, or `2..4` with both ends."""
    assert re.fullmatch(r"[\d.,]+", text)
    ends = [part.split("..") for part in text.split(",")]
    return [n for pair in ends for n in range(int(pair[0]), int(pair[-1]) + 1)]


def single_blocks(text: str) -> list[int]:
    """RYS: block by block."""
    match = re.fullmatch(r"layers:([\d,]+)", text)
    assert match is not None
    return list(map(int, match[1].split(",")))


READERS: dict[OtherTool, Callable[[str], list[int]]] = {
    OtherTool.MERGEKIT: half_open_slices,
    OtherTool.EXLLAMAV3: inclusive_ranges,
    OtherTool.RYS: single_blocks,
    OtherTool.LLM_CIRCUIT_FINDER: inclusive_ranges,
}


@pytest.mark.parametrize("tool", OtherTool)
@given(blocks=paths)
def test_each_notation_reads_back(tool: OtherTool, blocks: list[int]) -> None:
    assert READERS[tool](in_notation_of(tool, LayerPath.of(blocks))) == blocks


def test_strengths_are_scales_of_weights_in_mergekit() -> None:
    text = in_notation_of(OtherTool.MERGEKIT, LayerPath("0..2,1..2*0.5,3"))
    slices = text.split("  - sources:\n")[1:]
    assert [("scale" in one) for one in slices] == [False, True, False]
    lines = [line.strip() for line in slices[1].splitlines()]
    assert lines[1:] == [
        "layer_range: [1, 3]",
        "parameters:",
        "scale:",
        *filters(o_proj="0.5", out_proj="0.5", down_proj="0.5", **{".w2.": "0.5"}),
        "- value: 1.0",
    ]


def filters(**values: str) -> list[str]:
    return [part for n, value in values.items() for part in (f"- filter: {n}", f"value: {value}")]


def test_factors_are_scales_of_single_weights_in_mergekit() -> None:
    path = LayerPath("0,1*attn_q=0.84*attn_k=0.5*ffn_down=0.3,2*0.5*attn_output=0.5*attn_k=0.25")
    text = in_notation_of(OtherTool.MERGEKIT, path)
    slices = [[line.strip() for line in one.splitlines()] for one in text.split("  - sources:\n")]
    assert [line for line in slices[2] if line.startswith(("- f", "v"))] == filters(
        q_proj="0.84", k_proj="0.5", down_proj="0.3", **{".w2.": "0.3"}
    )
    assert [line for line in slices[3] if line.startswith(("- f", "v"))] == filters(
        k_proj="0.25", o_proj="0.25", out_proj="0.5", down_proj="0.5", **{".w2.": "0.5"}
    )
    assert all(one[-1] == "- value: 1.0" for one in slices[2:])


@pytest.mark.parametrize("tool", [tool for tool in OtherTool if tool is not OtherTool.MERGEKIT])
@pytest.mark.parametrize("factor", ["0.5", "attn_q=0.5"])
def test_strengths_are_refused_where_there_are_none(tool: OtherTool, factor: str) -> None:
    with pytest.raises(UsageError, match=f"has strengths or factors: {tool.value} has none"):
        in_notation_of(tool, LayerPath(f"0..2,1..2*{factor},3"))


@pytest.mark.parametrize("tool", [tool for tool in OtherTool if tool is not OtherTool.MERGEKIT])
def test_several_models_are_refused_where_there_is_one(tool: OtherTool) -> None:
    path = LayerPath("0..3,1:2..5")
    for outside in (None, OutsideBlocks(0, 1, 0)):
        with pytest.raises(UsageError, match=f"several models: {tool.value} runs or writes the"):
            in_notation_of(tool, path, outside)


indices = st.integers(0, 2)
mixed = st.lists(st.builds(BlockRef, indices, st.integers(0, 9)), min_size=2, max_size=9)


@given(mixed.map(LayerPath), st.builds(OutsideBlocks, indices, indices, indices))
def test_mergekit_takes_several_models(path: LayerPath, outside: OutsideBlocks) -> None:
    """Read back by what reads mergekit's format here; or refused where it has other defaults."""
    beside = OutsideBlocks.beside(path)
    if (outside.embeddings, outside.output) != (beside.embeddings, beside.output):
        with pytest.raises(UsageError, match="mergekit takes them from the model of the"):
            in_notation_of(OtherTool.MERGEKIT, path, outside)
        outside = OutsideBlocks(beside.embeddings, beside.output, outside.tokenizer)
    text = in_notation_of(OtherTool.MERGEKIT, path, outside)
    recipe = read_yaml_recipe(text.encode(), "r.yml")
    number = [int(model.name.removeprefix("ORIGINAL_")) for model in recipe.models]
    steps = [
        BlockRef(number[part.model], block)
        for part in recipe.slices
        for block in range(part.first, part.end or 0)
    ]
    assert tuple(steps) == path.steps
    sides = (recipe.outside.embeddings, recipe.outside.output, recipe.outside.tokenizer)
    assert OutsideBlocks(*(number[side] for side in sides)) == outside
