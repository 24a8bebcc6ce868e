"""Scales that give a block a strength: which tensors they are, and whether they suffice.

A block runs with the strength s when all that it adds to the residual stream is multiplied by s.
llama.cpp multiplies the product of a weight by its `.scale` tensor (`attn_output.scale`, say), if
the graph of the architecture asks for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ggufsurgeon.architectures.strengths import EXACT, LAST_WEIGHTS
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.header import Header, TensorInfo
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.rules.block_names import name_in_block
from ggufsurgeon.rules.blocks import Blocks

WEIGHT, SCALE, BIAS = ".weight", ".scale", ".bias"


class Scale(NamedTuple):
    """A scale that multiplies what a block adds to the residual stream."""

    name: str
    """Its full name in the source's block, whether the source has it or not."""
    n_elements: int
    """One, or one for each expert."""
    source_tensor: int | None
    """Its index among the source's tensors; None if the source lacks it."""


def check_strengths(header: Header, blocks: Blocks, path: LayerPath) -> None:
    """Raise RefusedError unless scales give each block of a path its strength, and all of it."""
    if not path.has_strengths:
        return
    _check_architecture(header.architecture or "")
    for block in sorted({step.block for step in path.steps if step.strength != FULL}):
        _check_block(header, blocks, block)


def can_have_strength(header: Header, blocks: Blocks, block: int) -> bool:
    """Whether scales can give a block a strength, in an architecture whose blocks can have them."""
    try:
        _check_block(header, blocks, block)
    except RefusedError:
        return False
    return True


def scales_of(header: Header, blocks: Blocks, block: int) -> Iterator[Scale]:
    """The scales that give a block its strength, in the order of its weights."""
    index_of = {header.tensors[index].name: index for index in blocks.of_block[block]}
    for name in index_of:
        if is_weight_of_strength(name):
            scale, n_elements = scale_of_weight(name, header.tensors[index_of[name]].dims)
            yield Scale(scale, n_elements, index_of.get(scale))


def scale_of_weight(name: str, dims: Sequence[int]) -> tuple[str, int]:
    """The name of the scale of a weight, and how many numbers it has: one, or one an expert."""
    return name.removesuffix(WEIGHT) + SCALE, dims[2] if len(dims) > 2 else 1


def is_weight_of_strength(name: str) -> bool:
    """Whether a tensor is a weight whose product a strength multiplies."""
    return _is_last(name, WEIGHT)


def is_scale_of_strength(name: str) -> bool:
    """Whether a tensor is a scale that gives a block its strength."""
    return _is_last(name, SCALE)


def _is_last(name: str, suffix: str) -> bool:
    inner = name_in_block(name) or ""
    return inner.endswith(suffix) and inner.removesuffix(suffix) in LAST_WEIGHTS


def _check_architecture(name: str) -> None:
    if name not in EXACT:
        raise RefusedError(
            f"architecture {quoted(name)}: llama.cpp is not known to multiply all that its blocks "
            "add to the residual stream by scales, so that they cannot have strengths",
            hint=f"Strengths work in {', '.join(sorted(EXACT))}.",
        )


def _check_block(header: Header, blocks: Blocks, block: int) -> None:
    """Raise RefusedError unless scales multiply all that a block adds."""
    for index in blocks.of_block[block]:
        _check_tensor(header.tensors[index], block)
    if not any(scales_of(header, blocks, block)):
        raise RefusedError(
            f"block {block} has no weight whose product llama.cpp could multiply by a "
            f"strength: none of {', '.join(LAST_WEIGHTS)}"
        )


def _check_tensor(tensor: TensorInfo, block: int) -> None:
    """Raise RefusedError for a tensor that adds to the residual stream without a scale."""
    inner = name_in_block(tensor.name) or ""
    stem, _, suffix = inner.rpartition(".")
    if f".{suffix}" == BIAS and stem in LAST_WEIGHTS:
        raise RefusedError(
            f"block {block} has the tensor {quoted(inner)}, which llama.cpp adds to the residual "
            "stream whatever the scale: the block cannot have a strength"
        )
    if f".{suffix}" == SCALE and stem in LAST_WEIGHTS and tensor.type_id != F32:
        raise RefusedError(f"tensor {quoted(tensor.name)} is not F32: it cannot be multiplied")
    parts = stem.split(".")
    if f".{suffix}" == WEIGHT and len(parts) > 1 and parts[0] in LAST_WEIGHTS:
        raise RefusedError(
            f"block {block} has the tensor {quoted(inner)}, the weight of an expert by itself, "
            "which llama.cpp no longer loads"
        )
