"""Scales that give a block a strength, and its weights factors: which, and where they suffice.

A block runs with the strength s when all that it adds to the residual stream is multiplied by s,
and a weight has a factor when its product is. llama.cpp multiplies the product of a weight by its
`.scale` tensor (`attn_output.scale`, say), if the graph of the architecture asks for that. A bias
is added behind the scale: those of queries and keys are multiplied themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ggufsurgeon.architectures.strengths import (
    EXACT,
    EXACT_QUERIES_AND_KEYS,
    LAST_WEIGHTS,
    QUERIES_AND_KEYS,
)
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.headers.header import Header, TensorInfo
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL, strength_of
from ggufsurgeon.rules.block_names import name_in_block
from ggufsurgeon.rules.blocks import Blocks

WEIGHT, SCALE, BIAS = ".weight", ".scale", ".bias"
WEIGHTS = (*QUERIES_AND_KEYS, *LAST_WEIGHTS)
"""Weights whose products can be multiplied."""
FACTOR_OF = {"ffn_down_exps": "ffn_down", "ffn_down_shexp": "ffn_down"}
"""For weights of experts, the name of the factor that they have; others have one of their own."""


WITHOUT = "Leave out the factor of {}."


class Scale(NamedTuple):
    """A tensor that a strength or a factor goes into: a scale, or a bias of queries or keys."""

    name: str
    """Its full name in the source's block, whether the source has it or not."""
    n_elements: int
    """Elements of a scale: one, or one for each expert."""
    source_tensor: int | None
    """Its index among the source's tensors; None if the source lacks it."""
    factor: float
    """The number that a new scale has, and that one of the source is multiplied by."""


def check_strengths(header: Header, blocks: Blocks, path: LayerPath) -> None:
    """Raise RefusedError unless scales do all that the strengths and factors of a path mean.

    Raises UsageError where a strength times a factor is none.
    """
    for step in sorted({step.at(0, step.block) for step in path.steps if not step.is_plain}):
        _check_architecture(header.architecture or "", step)
        _check_block(header, blocks, step)


def can_run_as(header: Header, blocks: Blocks, step: BlockRef) -> bool:
    """Whether scales do what the strength and the factors of a block mean, in an architecture whose
    blocks can have them."""
    try:
        _check_block(header, blocks, step)
    except RefusedError:
        return False
    return True


def scales_of(header: Header, blocks: Blocks, step: BlockRef) -> Iterator[Scale]:
    """The tensors that a block's strength and factors go into, in the order of its weights."""
    if step.is_plain:
        return
    index_of = {header.tensors[index].name: index for index in blocks.of_block[step.block]}
    for name, index in index_of.items():
        factor = factor_of_weight(name, step)
        if factor != FULL:
            scale, n_elements = scale_of_weight(name, header.tensors[index].dims)
            yield Scale(scale, n_elements, index_of.get(scale), factor)
            bias = name.removesuffix(WEIGHT) + BIAS
            if bias in index_of:
                yield Scale(bias, header.tensors[index_of[bias]].dims[0], index_of[bias], factor)


def scale_of_weight(name: str, dims: Sequence[int]) -> tuple[str, int]:
    """The name of the scale of a weight, and how many numbers it has: one, or one an expert."""
    return name.removesuffix(WEIGHT) + SCALE, dims[2] if len(dims) > 2 else 1


def factor_of_weight(name: str, step: BlockRef) -> float:
    """The number by which a step multiplies the product of a weight; 1 for any other tensor.

    Raises UsageError where a strength times a factor is none.
    """
    weight = weight_of(name, WEIGHT)
    return FULL if weight is None else _factor_of(weight, step)


def factor_of_tensor(name: str, step: BlockRef) -> float:
    """The number by which a step multiplies a tensor itself: a scale or a bias of the source."""
    weight = weight_of(name, SCALE) or weight_of(name, BIAS)
    return FULL if weight is None else _factor_of(weight, step)


def weight_of(name: str, suffix: str) -> str | None:
    """The weight, by its name in its block, whose product can be multiplied, to which a tensor
    belongs that ends in `suffix`; None for any other tensor."""
    stem = _stem(name, suffix)
    return stem if stem in WEIGHTS else None


def _factor_of(weight: str, step: BlockRef) -> float:
    factor = dict(step.factors).get(FACTOR_OF.get(weight, weight), FULL)
    return factor if weight in QUERIES_AND_KEYS else strength_of(step.strength * factor)


def _stem(name: str, suffix: str) -> str | None:
    inner = name_in_block(name) or ""
    return inner.removesuffix(suffix) if inner.endswith(suffix) else None


def _check_architecture(name: str, step: BlockRef) -> None:
    if step.strength != FULL and name not in EXACT:
        raise RefusedError(
            f"architecture {quoted(name)}: llama.cpp is not known to multiply all that its blocks "
            "add to the residual stream by scales, so that they cannot have strengths",
            hint=f"Strengths work in {', '.join(sorted(EXACT))}.",
        )
    for weight, _ in step.factors:
        is_last = weight in LAST_WEIGHTS
        if name not in (EXACT if is_last else EXACT_QUERIES_AND_KEYS):
            raise RefusedError(
                f"architecture {quoted(name)}: llama.cpp is not known to multiply what {weight} "
                "gives by its scale, so that it cannot have a factor",
                hint=f"Factors of {weight} work in {', '.join(sorted(EXACT))}." if is_last else "",
            )


def _check_block(header: Header, blocks: Blocks, step: BlockRef) -> None:
    """Raise RefusedError unless scales multiply all that they are to multiply in a block."""
    names = [header.tensors[index].name for index in blocks.of_block[step.block]]
    for index in blocks.of_block[step.block]:
        _check_tensor(header.tensors[index], step)
    weights = {weight_of(name, WEIGHT) for name in names}
    if step.strength != FULL and not weights.intersection(LAST_WEIGHTS):
        raise RefusedError(
            f"block {step.block} has no weight whose product llama.cpp could multiply by a "
            f"strength: none of {', '.join(LAST_WEIGHTS)}"
        )
    there = {FACTOR_OF.get(weight, weight) for weight in weights if weight}
    for name, _ in step.factors:
        if name not in there:
            fused = any(_stem(tensor, WEIGHT) == "attn_qkv" for tensor in names)
            why = ": its queries, keys and values have one weight, attn_qkv" if fused else ""
            raise RefusedError(
                f"block {step.block} has no weight {name} that could have a factor{why}",
                hint=WITHOUT.format(name),
            )


def _check_tensor(tensor: TensorInfo, step: BlockRef) -> None:
    """Raise RefusedError for a tensor that escapes the scale of its weight."""
    name = tensor.name
    bias, inner = weight_of(name, BIAS), name_in_block(name) or ""
    if bias in LAST_WEIGHTS and _factor_of(bias, step) != FULL:
        raise RefusedError(
            f"block {step.block} has the tensor {quoted(inner)}, which llama.cpp adds to the "
            f"residual stream whatever the scale: neither the block can have a strength nor {bias} "
            "a factor",
            hint="Let the block run as it is, or leave it out.",
        )
    if factor_of_tensor(name, step) != FULL and tensor.type_id != F32:
        raise RefusedError(f"tensor {quoted(name)} is not F32: it cannot be multiplied")
    weight, *rest = (_stem(name, WEIGHT) or "").split(".")
    if rest and weight in WEIGHTS and _factor_of(weight, step) != FULL:
        raise RefusedError(
            f"block {step.block} has the tensor {quoted(inner)}, the weight of an expert by "
            "itself, which llama.cpp no longer loads"
        )
