"""Layer paths in the notations of other tools, for the checkpoint that a model was converted from.

The programs, and the commits whose parsers were read:

- mergekit, `merge_method: passthrough` (a6e4028: mergekit/config.py, mergekit/plan.py): slices with
  half-open `layer_range`s, and the parameter `scale`, by which weights are multiplied;
- exllamav3, `layer_map` (4f8ad01: exllamav3/util/misc.py, `parse_int_list`): inclusive ranges;
- RYS, the `spec` of its exporter (3e75aca: hf_export/common.py, `parse_cli_spec`): block by block;
- llm-circuit-finder, the path of its layer_path.py (7726348): inclusive ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL, strength_of, strength_text

PLACEHOLDER = "ORIGINAL"
"""Stands for the checkpoint in what is printed: a GGUF file does not say reliably where it is."""
IN_CHECKPOINTS = {"q_proj": "attn_q", "k_proj": "attn_k"}
"""What checkpoints call the weights of queries and keys."""
LAST_IN_CHECKPOINTS = {
    "o_proj": "attn_output",
    "out_proj": "",
    "down_proj": "ffn_down",
    ".w2.": "ffn_down",
}
"""What checkpoints call the weights that come last in a block, and the name of their factor: of
attention, of a recurrent part, which has none, of FFNs and experts, and of the experts of Mixtral.
mergekit looks for a filter in the names of tensors."""


class OtherTool(Enum):
    """A program that can run or write a layer path of a checkpoint."""

    MERGEKIT = "mergekit"
    EXLLAMAV3 = "exllamav3"
    RYS = "rys"
    LLM_CIRCUIT_FINDER = "llm-circuit-finder"


def in_notation_of(tool: OtherTool, path: LayerPath) -> str:
    """A path over one model as `tool` reads it.

    Raises UsageError for several models, and for strengths and factors, which mergekit alone has:
    there they multiply weights.
    """
    if not path.is_plain and tool is not OtherTool.MERGEKIT:
        raise UsageError(
            f"the layer path {shortened(str(path))} has strengths or factors: {tool.value} has none"
        )
    if any(step.source for step in path.steps):
        raise UsageError("a path over several models cannot be written for another tool")
    return "\n".join(_WRITERS[tool](path))


def _mergekit(path: LayerPath) -> Iterator[str]:
    yield "merge_method: passthrough"
    yield "slices:"
    for first, last in path.runs():
        yield "  - sources:"
        yield f"      - model: {PLACEHOLDER}"
        yield f"        layer_range: [{first.block}, {last.block + 1}]"
        if not first.is_plain:
            yield "        parameters:"
            yield "          scale:"
            for name, factor in mergekit_scales(first):
                yield f"            - filter: {name}"
                yield f"              value: {strength_text(factor)}"
            yield "            - value: 1.0"


def mergekit_scales(step: BlockRef) -> Iterator[tuple[str, float]]:
    """The filters of mergekit's `scale` for a block, and the factors of the weights they find."""
    factors = dict(step.factors)
    for name, weight in IN_CHECKPOINTS.items():
        if weight in factors:
            yield name, factors[weight]
    for name, weight in LAST_IN_CHECKPOINTS.items():
        factor = strength_of(step.strength * factors.get(weight, FULL))
        if factor != FULL:
            yield name, factor


def _inclusive_ranges(path: LayerPath) -> Iterator[str]:
    yield str(path)


def _rys(path: LayerPath) -> Iterator[str]:
    yield f"layers:{','.join(map(str, path.blocks))}"


_WRITERS: dict[OtherTool, Callable[[LayerPath], Iterator[str]]] = {
    OtherTool.MERGEKIT: _mergekit,
    OtherTool.EXLLAMAV3: _inclusive_ranges,
    OtherTool.RYS: _rys,
    OtherTool.LLM_CIRCUIT_FINDER: _inclusive_ranges,
}
