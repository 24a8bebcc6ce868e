"""`general.tensor_extra.*`: a list of tensor names, and arrays parallel to it.

llama.cpp reads `name` and `prec_a4`, which says of each tensor whether 4-bit activations will do,
and loads no file in which the two differ in length (src/llama-model.cpp:1240-1275).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from ggufsurgeon.architectures.model import Edit
from ggufsurgeon.architectures.vocabulary.arrays import reindexed
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    SCALAR_WIDTHS,
    ValueType,
    encode_array_prefix,
    encode_string,
    read_array_prefix,
)
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.rules.block_names import block_of, renumber

PREFIX = "general.tensor_extra."
NAMES = f"{PREFIX}name"


class TensorLists:
    """The list of tensor names of a header, and the arrays parallel to it; there may be none."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._pairs = [pair for pair in header.pairs if pair.key.startswith(PREFIX)]

    def follow(self, path: Sequence[int]) -> Iterator[Edit]:
        """The names that the listed tensors have on `path`, and the elements that belong to them.

        A tensor of a block that runs twice is listed twice, one of a dropped block no more. Raises
        RefusedError when the lists are not parallel.
        """
        if not self._pairs:
            return
        self.check()
        positions = _positions(path)
        names = self._names
        chosen = [(new, n) for n, name in enumerate(names) for new in _on_path(name, positions)]
        if [name for name, _ in chosen] == names:
            return
        order = self._header.byte_order
        listed = b"".join(encode_string(name, order) for name, _ in chosen)
        prefix = encode_array_prefix(ValueType.STRING, len(chosen), order)
        yield Edit(make_pair(NAMES, ValueType.ARRAY, prefix + listed, order))
        for pair in self._pairs:
            if pair.key != NAMES:
                yield Edit(reindexed(pair, [index for _, index in chosen]))

    def check(self) -> None:
        """Raise RefusedError when the lists are not parallel."""
        if self._refusal is not None:
            raise RefusedError(self._refusal)

    @cached_property
    def _refusal(self) -> str | None:
        """Why the lists cannot follow any path; None if they can. Cached."""
        try:
            n_names = len(self._names) if self._pairs else 0
            for pair in self._pairs:
                if pair.key != NAMES:
                    _check_parallel(pair, n_names)
        except RefusedError as error:
            return str(error)
        return None

    @cached_property
    def _names(self) -> list[str]:
        return _names(self._header)


def _names(header: Header) -> list[str]:
    names = header.get(NAMES)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RefusedError(
            f"{NAMES} is not a list of strings: whose the other lists are is unclear"
        )
    return [str(name) for name in names]


def _positions(path: Sequence[int]) -> dict[int, list[int]]:
    """The positions in the path at which each block runs."""
    positions: dict[int, list[int]] = {}
    for position, block in enumerate(path):
        positions.setdefault(block, []).append(position)
    return positions


def _on_path(name: str, positions: Mapping[int, Sequence[int]]) -> list[str]:
    block = block_of(name)
    if block is None:
        return [name]
    return [renumber(name, position) for position in positions.get(block, ())]


def _check_parallel(pair: KeyValue, n_names: int) -> None:
    if pair.value_type == ValueType.ARRAY:
        element_type, n_found = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
        if n_found == n_names and element_type in SCALAR_WIDTHS:
            return
    raise RefusedError(
        f"{pair.key} is not an array of {n_names} numbers or booleans, as many as {NAMES} "
        "lists tensors: how it follows a layer path is unclear"
    )
