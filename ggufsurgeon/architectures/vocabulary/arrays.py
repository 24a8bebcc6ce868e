"""Arrays with one element a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    INTEGER_TYPES,
    SCALAR_WIDTHS,
    ValueType,
    encode_array_prefix,
    encode_value,
    read_array_prefix,
    take_elements,
)
from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.errors import RefusedError

Readers: TypeAlias = Literal["own", "first", "both"]
"""Which elements llama.cpp reads: each block its own, the first for all blocks, or now the one
and now the other."""


@dataclass(frozen=True)
class PerLayerArray(Rule):
    """An array with one element a block; a scalar holds for all blocks and stays.

    `get_key_or_arr` asks for exactly block_count elements (src/llama-model-loader.cpp:457-494).
    """

    key: str
    trunk_only: bool = False
    """It has no elements for MTP blocks."""
    prefixed: bool = True
    """Its key begins with the architecture's name."""
    reads: Readers = "own"
    """`n_head()` is `n_head(0)` (src/llama-hparams.h), so many graphs read the first for all."""
    keeps_values: bool = False
    """llama.cpp aborts where a value that the model had occurs no more."""
    may_be_longer: bool = False
    """Its length is not checked (`get_arr`, src/llama-model-loader.cpp:347-405)."""
    is_array = True

    def constant(self, model: Model) -> object:
        """The element of block 0, where the graph reads that for other blocks."""
        if self.reads == "own":
            return None
        pair = self.pair(model)
        found = self.array(model)
        value = found.value if found is not None else pair.value if pair is not None else None
        return repr(value[0] if isinstance(value, list) else value)

    def pair(self, model: Model) -> KeyValue | None:
        """The pair, be it an array or not."""
        return model.pair(self.key) if self.prefixed else model.header.pair_of.get(self.key)

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The array, re-indexed by the path, its elements byte for byte."""
        pair = self.array(model)
        if pair is None:
            return
        blocks = model.trunk(path) if self.trunk_only else path
        self._check(pair, model, blocks)
        follows = reindexed(pair, (0, *blocks[1:]) if self.reads == "first" else blocks)
        if follows.raw != pair.raw:
            yield Edit(follows)

    def array(self, model: Model) -> KeyValue | None:
        """The pair when it is an array, or RefusedError when that has not one element a block."""
        pair = self.pair(model)
        if pair is None or not isinstance(pair.value, list):
            return None
        n_expected = self._n_expected(model)
        n_found = len(pair.value)
        fits = n_found == n_expected or (self.may_be_longer and n_found > n_expected)
        are_numbers = _has_numbers(pair)
        if not (fits and are_numbers):
            refuse_array(pair.key, n_found, n_expected, are_numbers)
        return pair

    def _n_expected(self, model: Model) -> int:
        return model.n_trunk if self.trunk_only else model.n_blocks

    def _check(self, pair: KeyValue, model: Model, blocks: Sequence[int]) -> None:
        values = pair.value[: self._n_expected(model)] if isinstance(pair.value, list) else []
        lost = set(values) - {values[block] for block in blocks} if self.keeps_values else set()
        if lost:
            raise RefusedError(
                f"no block with {', '.join(map(str, sorted(lost)))} in {pair.key} would be left, "
                "and llama.cpp aborts on such a model",
                hint=f"Keep a block of each value: {quoted(values)}.",
            )
        if self.reads == "both" and repr(values[blocks[0]]) != repr(values[0]):
            raise RefusedError(
                f"{pair.key} is {quoted(values[0])} for block 0 and {quoted(values[blocks[0]])} "
                f"for block {blocks[0]}, which would become block 0: llama.cpp takes sizes for "
                "the whole model from block 0",
                hint=f"Paths that begin with a block whose {self.key} is {quoted(values[0])} work.",
            )


@dataclass(frozen=True)
class OneBlockList(Rule):
    """A list that names one block by its index (qwen4exp's `ple.layers`).

    llama.cpp takes one entry alone (src/models/qwen4exp.cpp:72-86), and a second block with the
    tensors of the first would have tensors left over.
    """

    key: str

    def constant(self, model: Model) -> object:
        """Whether there is a list."""
        pair = model.pair(self.key)
        return pair is not None and isinstance(pair.value, list) and bool(pair.value)

    def trait(self, model: Model, block: int) -> object:
        """Whether the list names the block."""
        pair = model.pair(self.key)
        return pair is not None and isinstance(pair.value, list) and block in pair.value

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The block's new index."""
        pair = model.pair(self.key)
        if pair is None or not isinstance(pair.value, list) or not pair.value:
            return
        places = [position for position, block in enumerate(path) if block in pair.value]
        if len(pair.value) != 1 or len(places) != 1:
            raise RefusedError(
                f"{pair.key} is {quoted(pair.value)}, and llama.cpp requires one such block: it "
                f"must run once, and in this path it runs {len(places)} times"
            )
        order = model.header.byte_order
        if places != pair.value:
            kind = _index_type(pair, places[0])
            encoded = encode_array_prefix(kind, 1, order) + encode_value(kind, places[0], order)
            yield Edit(make_pair(pair.key, pair.value_type, encoded, order))


@dataclass(frozen=True)
class ImageStreams(PerLayerArray):
    """Which stream of image features is added to a block's input; below zero: none.

    Never added to block 0's, which is fed the first stream itself. How many different streams there
    are is the width of what a projector delivers (src/models/granite.cpp:12-31,149-160).
    """

    key: str = "deepstack_mapping"
    may_be_longer: bool = True
    is_array = False

    def constant(self, model: Model) -> object:
        """The whole array: block 0 and the order of the streams are special."""
        return Rule.constant(self, model)

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The array, in which what block 0 says stays first, and its repeats have no stream."""
        pair = self.array(model)
        if pair is None or not isinstance(pair.value, list):
            return
        if not all(isinstance(v, int) and -(1 << 31) <= v < 1 << 32 for v in pair.value):
            refuse_array(pair.key, len(pair.value), model.n_blocks, are_numbers=False)
        streams = [_signed(int(str(value))) for value in pair.value]
        if path[0] and streams[path[0]] >= 0:
            raise RefusedError(
                f"block {path[0]} would become block 0, and image features are added to its input: "
                "llama.cpp adds none to block 0's",
                hint="Paths that begin with block 0 work.",
            )
        after = [streams[0], *(streams[block] if block else -1 for block in path[1:])]
        lost = {stream for stream in streams if stream >= 0} - set(after)
        if lost:
            raise RefusedError(
                f"no block would be left that image features {min(lost)} are added to, and the "
                "model's projector would no longer fit",
                hint=f"Keep a block of each stream in {pair.key}.",
            )
        if after != streams[: model.n_blocks] or len(path) != model.n_blocks:
            order, kind = pair.byte_order, ValueType.INT32
            encoded = encode_array_prefix(kind, len(after), order)
            encoded += b"".join(encode_value(kind, stream, order) for stream in after)
            yield Edit(make_pair(pair.key, ValueType.ARRAY, encoded, order))


def _index_type(pair: KeyValue, index: int) -> ValueType:
    """The type of the elements, or a wider one that holds the index."""
    kind = ValueType(read_array_prefix(pair.raw, pair.value_at, pair.byte_order)[0])
    is_wide = kind in INTEGER_TYPES and index < 1 << (8 * SCALAR_WIDTHS[kind] - 1)
    return kind if is_wide else ValueType.UINT32


def _has_numbers(pair: KeyValue) -> bool:
    return read_array_prefix(pair.raw, pair.value_at, pair.byte_order)[0] in SCALAR_WIDTHS


def _signed(value: int) -> int:
    """As llama.cpp reads any 32-bit integer here."""
    return value - (1 << 32) if value >= 1 << 31 else value


def reindexed(pair: KeyValue, blocks: Sequence[int]) -> KeyValue:
    """An array whose element n is element `blocks[n]` of `pair`; types and odd booleans stay.

    Raises RefusedError when its elements are no numbers or it has too few.
    """
    _, n_elements = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
    are_numbers = _has_numbers(pair)
    n_needed = max(blocks, default=-1) + 1
    if not are_numbers or n_elements < n_needed:
        refuse_array(pair.key, n_elements, n_needed, are_numbers)
    taken = take_elements(pair.raw, pair.value_at, pair.byte_order, blocks)
    return make_pair(pair.key, pair.value_type, taken, pair.byte_order)


def refuse_array(key: str, n_found: int, n_blocks: int, are_numbers: bool) -> NoReturn:
    """Raise RefusedError for an array that does not have one number a block."""
    if not are_numbers:
        raise RefusedError(f"{key} holds something else than the numbers that llama.cpp reads")
    raise RefusedError(
        f"{key} has {n_found} elements for {n_blocks} blocks: which block each of them belongs to "
        "is unclear"
    )


def check_arrays_known(header: Header, known: frozenset[str]) -> None:
    """Refuse arrays of the architecture that nobody has told whether they are per layer.

    Their length decides nothing: a model of 4 blocks has 4 `rope.dimension_sections` too.
    """
    prefix = f"{header.architecture}."
    for pair in header.pairs:
        key = pair.key.removeprefix(prefix)
        if key != pair.key and pair.value_type == ValueType.ARRAY and key not in known:
            raise RefusedError(
                f"{shortened(pair.key)} is an array that this version does not know; "
                "it may hold one element a block, so nothing here can say how it follows the path"
            )
