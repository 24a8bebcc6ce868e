"""Rules over the blocks of several models: which models can be mixed, and what follows a path.

A rule is told of one model. Rules about arrays with one element a block are told of the joined
model, which has the blocks of all models, those of model 0 first. All others are told of model 0:
there, a block stands for each block of another model that has the same trait.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.architectures.vocabulary.arrays import PerLayerArray
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import (
    Value,
    ValueType,
    encode_array_prefix,
    encode_value,
    read_array_prefix,
)
from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class MixedModels:
    """Models of one architecture, in the order of their indices."""

    models: tuple[Model, ...]
    names: tuple[str, ...]
    """Their files, for messages."""
    mtp_of: int = 0
    """The model that the MTP blocks come from. All models have the same number of them."""

    @property
    def firsts(self) -> tuple[int, ...]:
        """The block of the joined model that block 0 of each model is."""
        return tuple(accumulate((model.n_trunk for model in self.models), initial=0))[:-1]

    @property
    def n_trunk(self) -> int:
        """Blocks of all trunks together."""
        return sum(model.n_trunk for model in self.models)

    def joined(self, header_of: Model, rules: Sequence[Rule]) -> Model:
        """The joined model: the blocks of all trunks, and the MTP blocks behind them.

        `header_of` has the pairs that are no arrays. Raises RefusedError where arrays cannot be
        joined.
        """
        arrays = {
            pair.key: pair
            for rule in rules
            if isinstance(rule, PerLayerArray) and rule.is_array
            for pair in self._joined_array(rule)
        }
        header = header_of.header
        pairs = [arrays.pop(pair.key, pair) for pair in header.pairs]
        together = type(header)(header.version, header.byte_order, (*pairs, *arrays.values()), ())
        n_mtp = header_of.n_mtp
        return Model(together, self.n_trunk + n_mtp, n_mtp)

    def check(self, rules: Sequence[Rule]) -> None:
        """Raise RefusedError where a rule keeps blocks of these models from being mixed."""
        for rule in rules:
            for model, name in zip(self.models, self.names, strict=True):
                reason = rule.separate(model)
                if reason:
                    raise RefusedError(
                        f"{name}: {reason}, so that its blocks cannot be mixed with those of "
                        "another model"
                    )
            self._check_constants(rule)

    def follow(
        self, rule: Rule, head: Model, joined: Model, trunk: Sequence[tuple[int, int]]
    ) -> Iterator[Edit]:
        """What to write so that block n computes what block `trunk[n]`, (model, block), computed.

        `head` is model 0 with the pairs of the new file. Raises RefusedError as `Rule.follow`.
        """
        if rule.is_array:
            n_mtp = joined.n_mtp
            blocks = [self.firsts[source] + block for source, block in trunk]
            yield from rule.follow(joined, (*blocks, *range(self.n_trunk, self.n_trunk + n_mtp)))
            return
        stand_ins = [self._stand_in(rule, source, block) for source, block in trunk]
        yield from rule.follow(head, (*stand_ins, *range(head.n_trunk, head.n_blocks)))

    def _check_constants(self, rule: Rule) -> None:
        first = rule.constant(self.models[0])
        for model, name in zip(self.models[1:], self.names[1:], strict=True):
            other = rule.constant(model)
            if repr(other) != repr(first):
                what = self.models[0].key(rule.key) if rule.key else "the number of blocks"
                raise RefusedError(
                    f"{what} means {_shown(first)} for {self.names[0]} and {_shown(other)} for "
                    f"{name}, and llama.cpp has one such value for the whole model: their blocks "
                    "cannot be mixed"
                )

    def _stand_in(self, rule: Rule, source: int, block: int) -> int:
        """The block of model 0 that is the same to a rule, the one of the same index if it is."""
        first, trait = self.models[0], rule.trait(self.models[source], block)
        if source == 0:
            return block
        for candidate in sorted(range(first.n_trunk), key=lambda candidate: candidate != block):
            if rule.trait(first, candidate) == trait:
                return candidate
        what = first.key(rule.key) if rule.key else type(rule).__name__
        raise RefusedError(
            f"block {block} of {self.names[source]} is of a kind, by {what}, that no block of "
            f"{self.names[0]} is of: the metadata of such a block is unknown",
            hint="Give the model that has blocks of every kind first.",
        )

    def _joined_array(self, rule: PerLayerArray) -> Iterator[KeyValue]:
        """The array with the elements of all models, where one number does not hold for all."""
        pairs = [rule.pair(model) for model in self.models]
        there = [pair for pair in pairs if pair is not None]
        if not there:
            return
        if len(there) < len(pairs):
            n = pairs.index(None)
            raise RefusedError(f"{self.names[n]} lacks {there[0].key}, which another model has")
        if not any(isinstance(pair.value, list) for pair in there) and (
            len({repr(pair.value) for pair in there}) == 1
        ):
            return
        values = [value for n in range(len(self.models)) for value in self._elements(rule, n)]
        if not rule.trunk_only:
            values += self._elements(rule, self.mtp_of, mtp=True)
        yield _array(there, values)

    def _elements(self, rule: PerLayerArray, n: int, *, mtp: bool = False) -> list[Value]:
        """The elements of the trunk of model `n`, or of its MTP blocks."""
        model, array = self.models[n], rule.array(self.models[n])
        wanted = range(model.n_trunk, model.n_blocks) if mtp else range(model.n_trunk)
        if array is not None and isinstance(array.value, list):
            return [array.value[block] for block in wanted]
        pair = rule.pair(model)
        return [pair.value for _ in wanted] if pair is not None else []


def _array(pairs: Sequence[KeyValue], values: Sequence[Value]) -> KeyValue:
    """An array of the type of the first pair that has one, or of that of the numbers."""
    order = pairs[0].byte_order
    arrays = (pair for pair in pairs if pair.value_type == ValueType.ARRAY)
    array = next(arrays, None)
    if array is None:
        kind = pairs[0].value_type
    else:
        kind = ValueType(read_array_prefix(array.raw, array.value_at, order)[0])
    try:
        elements = b"".join(encode_value(kind, value, order) for value in values)
    except struct.error:
        raise RefusedError(
            f"{pairs[0].key} has values of different types in different models"
        ) from None
    prefix = encode_array_prefix(kind, len(values), order)
    return make_pair(pairs[0].key, ValueType.ARRAY, prefix + elements, order)


def _shown(value: object) -> str:
    return "nothing" if value is None else shortened(str(value))
