"""What the number of blocks changes, and weights that can make up for it where the user asks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model
from ggufsurgeon.architectures.vocabulary.counts import CountSelectsMaths
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class QueryScale(CountSelectsMaths):
    """gemma3 divides queries by the root of another number with 62 blocks than with others.

    By that of n_embd / n_head, a whole number, instead of that of the head size
    (src/models/gemma3.cpp:28-31). The queries have been multiplied by the weights of their norm
    before (131, 152), so that these can make up for it, within rounding.
    """

    tensor: str = "attn_q_norm.weight"
    """Of each block."""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal where the numbers differ and weights are not to be scaled."""
        factor = self._factor(model, path)
        if factor == 1 or (factor is not None and model.scale_weights):
            return
        try:
            yield from super().follow(model, path)
        except RefusedError as error:
            if factor is not None:
                error.hint = (
                    f"scale_weights multiplies {self.tensor} of every block by {factor:.6g} "
                    "instead: the same within rounding, though not to the bit."
                )
            raise

    def factors(self, model: Model, path: Sequence[int]) -> Mapping[str, float]:
        """What the norm of the queries is to be multiplied by."""
        factor = self._factor(model, path)
        return {} if factor is None or factor == 1 else {self.tensor: factor}

    def _factor(self, model: Model, path: Sequence[int]) -> float | None:
        """The scale that the model has over the one that it would have; None if unknown."""
        sizes = self._divisor(model, model.n_trunk), self._divisor(model, len(model.trunk(path)))
        if not all(sizes):
            return None
        if sizes[0] == sizes[1]:
            return 1
        return math.sqrt(sizes[1] / sizes[0]) if self._has_float_norms(model) else None

    def _divisor(self, model: Model, n_blocks: int) -> int:
        """What the scale is the root of, one over; 0 if that is not told by single numbers."""
        n_embd, n_head = model.number("embedding_length"), model.number("attention.head_count")
        per_head = n_embd // n_head if n_head else 0
        if self._selected(n_blocks):
            return per_head
        size = model.number("attention.key_length", per_head)
        return size if model.number("attention.key_length_swa", size) == size else 0

    def _has_float_norms(self, model: Model) -> bool:
        types = {tensor.name: tensor.type_id for tensor in model.header.tensors}
        return all(types.get(f"blk.{n}.{self.tensor}") == F32 for n in range(model.n_blocks))
