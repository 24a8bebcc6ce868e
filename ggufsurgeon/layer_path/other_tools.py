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
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL, strength_of, strength_text

PLACEHOLDER = "ORIGINAL"
"""Stands for the checkpoint in what is printed: a GGUF file does not say reliably where it is. For
several models, their numbers are behind it, as in `ORIGINAL_1`."""
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


def in_notation_of(tool: OtherTool, path: LayerPath, outside: OutsideBlocks | None = None) -> str:
    """A path as `tool` reads it.

    `outside` are the models of all that is in no block, where the path is over several. Raises
    UsageError for several models, and for strengths and factors, all of which mergekit alone has
    (there, these multiply weights), and for embeddings or an output head that mergekit would take
    from another model.
    """
    if not path.is_plain and tool is not OtherTool.MERGEKIT:
        raise UsageError(
            f"the layer path {shortened(str(path))} has strengths or factors: {tool.value} has "
            "none",
            hint="mergekit has them, as factors of weights.",
        )
    if outside is None and not any(step.source for step in path.steps):
        return "\n".join(_WRITERS[tool](path))
    if tool is not OtherTool.MERGEKIT:
        raise UsageError(
            f"the layer path {shortened(str(path))} is over several models: {tool.value} runs or "
            "writes the blocks of one",
            hint="mergekit has the notation for several.",
        )
    return "\n".join(_mergekit_of_several(path, outside or OutsideBlocks.beside(path)))


def _mergekit_of_several(path: LayerPath, outside: OutsideBlocks) -> Iterator[str]:
    """Embeddings and output come from the models of the first and the last slice, and the tokenizer
    from `tokenizer_source` (mergekit/plan.py, mergekit/tokenizer/config.py)."""
    beside = OutsideBlocks.beside(path)
    for what, at, ours, theirs in (
        ("the token embeddings", "first", outside.embeddings, beside.embeddings),
        ("output norm and output head", "last", outside.output, beside.output),
    ):
        if ours != theirs:
            raise UsageError(
                f"{what} of this file are of model {ours}, and mergekit takes them from the model "
                f"of the {at} block, model {theirs}",
                hint="A recipe of ggufsurgeon's own says which model they are of.",
            )
    yield from _mergekit(path, lambda source: f"{PLACEHOLDER}_{source}")
    yield f"tokenizer_source: {PLACEHOLDER}_{outside.tokenizer}"


def _mergekit(
    path: LayerPath, model: Callable[[int], str] = lambda _: PLACEHOLDER
) -> Iterator[str]:
    yield "merge_method: passthrough"
    yield "slices:"
    for first, last in path.runs():
        yield "  - sources:"
        yield f"      - model: {model(first.source)}"
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
