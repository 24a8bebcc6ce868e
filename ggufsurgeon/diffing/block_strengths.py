"""Blocks that are those of another model with a strength or factors: without their scales."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ggufsurgeon.architectures.strengths import LAST_WEIGHTS, QUERIES_AND_KEYS
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.headers.values import ByteOrder
from ggufsurgeon.diffing.contents import Contents, TensorContent
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.factors import Factors, factors_of
from ggufsurgeon.layer_path.path import BlockRef
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.strengths import (
    BIAS,
    FACTOR_OF,
    WEIGHT,
    WEIGHTS,
    factor_of_weight,
    scale_of_weight,
    weight_of,
)

MOST_EXPERTS = 1 << 16
"""A scale of more numbers is none of a strength, so that a broken file costs no memory."""
SETS = (WEIGHTS, LAST_WEIGHTS, QUERIES_AND_KEYS)
"""Weights whose scales a patch may have added: the original may have scales of the others."""


class Bare(NamedTuple):
    """The content of a block with a strength or factors as it would be without them."""

    content: frozenset[tuple[str, TensorContent]]
    strength: float = FULL
    factors: Factors = ()
    biases: tuple[tuple[str, float], ...] = ()
    """Biases of queries and keys in `content`, and the factors by which they are multiplied."""


class BlocksWithBiases:
    """The blocks of a model by their content, with biases of queries and keys multiplied."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._alike: dict[frozenset[str], dict[frozenset[tuple[str, TensorContent]], list[int]]]
        self._alike = {}

    def find(self, bare: Bare, most: int) -> list[int]:
        """Blocks that have this content once their biases are multiplied, of the first `most`
        that have all but the biases."""
        names = frozenset(name for name, _ in bare.biases)
        rest = frozenset(tensor for tensor in bare.content if tensor[0] not in names)
        there = dict(bare.content)
        return [
            block
            for block in self._without(names).get(rest, ())[:most]
            if all(self._product(block, n, by) == there[n] for n, by in bare.biases)
        ]

    def _without(
        self, names: frozenset[str]
    ) -> Mapping[frozenset[tuple[str, TensorContent]], Sequence[int]]:
        if names not in self._alike:
            found = self._alike[names] = {}
            for block, tensors in self._contents.blocks.items():
                rest = frozenset(tensor for tensor in tensors.items() if tensor[0] not in names)
                found.setdefault(rest, []).append(block)
        return self._alike[names]

    def _product(self, block: int, name: str, factor: float) -> TensorContent | None:
        """What a bias of the block becomes; None where the block has none that is F32."""
        bias = self._contents.blocks[block].get(name)
        if bias is None or bias.type_id != F32:
            return None
        return bias._replace(sha256=self._contents.sha256_of_product(renumber(name, block), factor))


def bare_blocks(contents: Contents) -> Mapping[int, Sequence[Bare]]:
    """What the blocks that have scales as `patch` adds them may be without them."""
    numbers: dict[int, dict[str, float]] = {}
    for name, number in contents.first_scales.items():
        block = block_of(name)
        if block is not None and number != FULL:
            numbers.setdefault(block, {})[renumber(name, 0)] = number
    order = contents.file.header.byte_order
    return {n: tuple(_bare(contents.blocks[n], found, order)) for n, found in numbers.items()}


def _bare(
    tensors: Mapping[str, TensorContent], numbers: Mapping[str, float], order: ByteOrder
) -> Iterator[Bare]:
    """A block without all scales that may be of a strength or factors, and without some."""
    scales = {
        name: scale_of_weight(name, content.dims)
        for name, content in tensors.items()
        if weight_of(name, WEIGHT)
    }
    added = {
        name: numbers[scale]
        for name, (scale, n_elements) in scales.items()
        if scale in numbers and tensors[scale] == _scale(numbers[scale], n_elements, order)
    }
    for weights in SETS:
        factors = {n: added.get(n, FULL) for n in scales if weight_of(n, WEIGHT) in weights}
        step = _step(factors)
        if step is not None:
            gone = {scales[name][0] for name, factor in factors.items() if factor != FULL}
            content = ((name, content) for name, content in tensors.items() if name not in gone)
            biases = {name.removesuffix(WEIGHT) + BIAS: by for name, by in factors.items()}
            multiplied = tuple((n, by) for n, by in biases.items() if n in tensors and by != FULL)
            yield Bare(frozenset(content), step.strength, step.factors, multiplied)


def _step(factors: Mapping[str, float]) -> BlockRef | None:
    """A block with a strength and factors that multiply these weights so; None if there is none."""
    by_weight = {weight_of(name, WEIGHT) or "": factor for name, factor in factors.items()}
    outputs = {by_weight[weight] for weight in LAST_WEIGHTS if weight in by_weight}
    strength = outputs.pop() if len(outputs) == 1 else FULL
    single = {
        FACTOR_OF.get(weight, weight): factor
        for weight, factor in by_weight.items()
        if factor != FULL and (weight in QUERIES_AND_KEYS or strength == FULL)
    }
    try:
        step = BlockRef(0, 0, strength, factors_of(single))
    except UsageError:
        return None
    is_so = all(factor_of_weight(name, step) == factor for name, factor in factors.items())
    return step if is_so and not step.is_plain else None


def _scale(number: float, n_elements: int, order: ByteOrder) -> TensorContent | None:
    """What the scale of a weight is; None for more experts than a model can have."""
    if n_elements > MOST_EXPERTS:
        return None
    data = struct.pack(f"{order}f", number) * n_elements
    return TensorContent(F32, (n_elements,), hashlib.sha256(data).hexdigest())
