"""The vocabulary: how one piece of metadata follows a layer path.

A rule is given the header of a model and the source block at each new position, and says which
pairs to write instead. It raises RefusedError when no exact file exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ggufsurgeon.container.codec import make_pair
from ggufsurgeon.container.header import Header, KeyValue
from ggufsurgeon.container.values import SCALAR_WIDTHS, ValueType, read_array_prefix, take_elements
from ggufsurgeon.errors import RefusedError


class Rule(Protocol):
    """One piece of metadata that depends on the layer index."""

    @property
    def key(self) -> str:
        """The key it is about, without the architecture's prefix."""

    def follow(self, header: Header, blocks: Sequence[int]) -> Iterator[KeyValue]:
        """The pairs to write instead of those with the same keys."""


@dataclass(frozen=True)
class BlockCount:
    """The number of blocks, a u32 (src/llama-model.cpp:1327)."""

    key: str = "block_count"

    def follow(self, header: Header, blocks: Sequence[int]) -> Iterator[KeyValue]:
        """The length of the path, in the type it came in."""
        pair = find_pair(header, self.key)
        if pair is not None and pair.value != len(blocks):
            value = len(blocks).to_bytes(4, "little" if header.byte_order == "<" else "big")
            yield make_pair(pair.key, pair.value_type, value, header.byte_order)


@dataclass(frozen=True)
class PerLayerArray:
    """An array with one element a block; a scalar holds for all blocks and stays.

    `get_key_or_arr` asks for exactly block_count elements (src/llama-model-loader.cpp:457-494).
    Sizes that llama.cpp takes from block 0 for the whole model (src/llama-model.cpp:1435-1471,
    src/llama-graph.cpp:1460-1480) must not change with it.
    """

    key: str

    def follow(self, header: Header, blocks: Sequence[int]) -> Iterator[KeyValue]:
        """The array, re-indexed by the path, its elements byte for byte."""
        pair = find_pair(header, self.key)
        if pair is None or not isinstance(pair.value, list):
            return
        self._check(pair, header, blocks)
        taken = take_elements(pair.raw, pair.value_at, header.byte_order, blocks)
        follows = make_pair(pair.key, pair.value_type, taken, header.byte_order)
        if follows.raw != pair.raw:
            yield follows

    def _check(self, pair: KeyValue, header: Header, blocks: Sequence[int]) -> None:
        values = pair.value
        assert isinstance(values, list)
        n_blocks = header.get(f"{header.architecture}.block_count")
        element_type, _ = read_array_prefix(pair.raw, pair.value_at, header.byte_order)
        if len(values) != n_blocks or element_type not in SCALAR_WIDTHS:
            raise RefusedError(
                f"{pair.key} has {len(values)} elements for {n_blocks} blocks: "
                "llama.cpp does not load such a file, and which block each belongs to is unclear"
            )
        if values[blocks[0]] != values[0]:
            raise RefusedError(
                f"{pair.key} is {values[0]!r} for block 0 and {values[blocks[0]]!r} for block "
                f"{blocks[0]}, which would become block 0: llama.cpp takes sizes for the whole "
                "model from block 0",
                hint=f"Layer paths that start with a block whose {self.key} is {values[0]!r} work.",
            )


@dataclass(frozen=True)
class NotYet:
    """A feature whose rule this version does not know: refused when the key is set above `off`."""

    key: str
    feature: str
    off: int = 0

    def follow(self, header: Header, blocks: Sequence[int]) -> Iterator[KeyValue]:
        """Nothing, or a refusal."""
        pair = find_pair(header, self.key)
        if pair is not None and not (isinstance(pair.value, int) and pair.value <= self.off):
            raise RefusedError(
                f"{pair.key} is {pair.value!r}: this model has {self.feature}, "
                "and how they follow a layer path is not known to this version"
            )
        return iter(())


def find_pair(header: Header, key: str) -> KeyValue | None:
    """The pair of a key given without the architecture's prefix."""
    return header.pair_of.get(f"{header.architecture}.{key}")


def check_arrays_known(header: Header, known: frozenset[str]) -> None:
    """Refuse arrays of the architecture that nobody has told whether they are per layer.

    Their length decides nothing: a model of 4 blocks has 4 `rope.dimension_sections` too.
    """
    prefix = f"{header.architecture}."
    for pair in header.pairs:
        key = pair.key.removeprefix(prefix)
        if key != pair.key and pair.value_type == ValueType.ARRAY and key not in known:
            raise RefusedError(
                f"{pair.key} is an array that this version does not know; "
                "it may hold one element a block, so nothing here can say how it follows the path"
            )
