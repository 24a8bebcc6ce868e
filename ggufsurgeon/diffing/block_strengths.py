"""Blocks that are those of another model with a strength: what they are without its scales."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.values import ByteOrder
from ggufsurgeon.diffing.contents import Contents, TensorContent
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.strengths import FULL, strength_of
from ggufsurgeon.rules.strengths import is_weight_of_strength, scale_of_weight

MOST_EXPERTS = 1 << 16
"""A scale of more numbers is none of a strength, so that a broken file costs no memory."""


class Bare(NamedTuple):
    """The content of a block with a strength as it would be with the strength 1."""

    content: frozenset[tuple[str, TensorContent]]
    strength: float


def bare_blocks(contents: Contents) -> Mapping[int, Bare]:
    """The blocks that have a strength by scales that `patch` adds, without them."""
    order = contents.file.header.byte_order
    found = {
        block: _bare(contents.blocks[block], number, order)
        for block, number in contents.first_scales.items()
    }
    return {block: bare for block, bare in found.items() if bare}


def _bare(tensors: Mapping[str, TensorContent], number: float, order: ByteOrder) -> Bare | None:
    """A block without the scales of its strength; None if they are not those of a strength."""
    try:
        strength = strength_of(number)
    except UsageError:
        return None
    weights = {name: content.dims for name, content in tensors.items()}
    scales = dict(
        scale_of_weight(name, dims) for name, dims in weights.items() if is_weight_of_strength(name)
    )
    if strength == FULL or any(
        tensors.get(name) != _scale(strength, n_elements, order)
        for name, n_elements in scales.items()
    ):
        return None
    content = ((name, content) for name, content in tensors.items() if name not in scales)
    return Bare(frozenset(content), strength)


def _scale(strength: float, n_elements: int, order: ByteOrder) -> TensorContent | None:
    """What the scale of a weight is; None for more experts than a model can have."""
    if n_elements > MOST_EXPERTS:
        return None
    data = struct.pack(f"{order}f", strength) * n_elements
    return TensorContent(F32, (n_elements,), hashlib.sha256(data).hexdigest())
