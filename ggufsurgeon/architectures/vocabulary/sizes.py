"""Sizes of attention heads: what llama.cpp derives from block 0 for the whole model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, scalar_edit
from ggufsurgeon.architectures.vocabulary.arrays import PerLayerArray
from ggufsurgeon.architectures.vocabulary.kinds import per_block
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class HeadCounts(PerLayerArray):
    """The number of heads of each block, where each reads its own.

    The width of a head and how much of it is rotated are derived from block 0's where no key
    tells them (src/llama-model.cpp:1434-1453).
    """

    key: str = "attention.head_count"
    unread_without_kv: bool = False
    """Blocks without KV heads are recurrent and have no use for it."""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The array, and the sizes that its first element meant, written out."""
        if self.array(model) is None:
            return
        n_heads = per_block(model, self.key)
        before, after = n_heads[0], n_heads[path[0]]
        if before != after and self._is_unread(model, path[0]):
            path = (0, *path[1:])
        elif before != after:
            if not before or not after:
                raise RefusedError(
                    f"block {path[0]} would become block 0 and has {after} heads, where block 0 "
                    f"has {before}: llama.cpp derives no sizes at all when block 0 has none",
                    hint=f"Paths that begin with a block of {before} heads work.",
                )
            yield from _sizes(model, before)
        yield from super().follow(model, path)

    def _is_unread(self, model: Model, block: int) -> bool:
        n_kv = "attention.head_count_kv"
        has_own_kv = model.pair(n_kv) is not None  # else KV heads are these, and would change
        return self.unread_without_kv and has_own_kv and not per_block(model, n_kv)[block]


def _sizes(model: Model, n_heads: int) -> Iterator[Edit]:
    """The keys that are absent, with what block 0's `n_heads` mean for them."""
    width = model.number("embedding_length") // n_heads
    defaults = {
        "attention.key_length": width,
        "attention.value_length": width,
        "rope.dimension_count": model.number("attention.key_length", width),
    }
    for suffix, value in defaults.items():
        if model.pair(suffix) is None:
            yield scalar_edit(model, suffix, ValueType.UINT32, value)
