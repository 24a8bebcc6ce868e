"""A model as the rules see it, and what they answer with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    ValueType,
    encode_array_prefix,
    encode_value,
)

NEEDS_RECENT = (
    "needs a llama.cpp of September 2026 or later (ggml-org/llama.cpp PR 29042): "
    "older builds take the built-in period instead of this array, and compute something else"
)


Found = TypeVar("Found")
AnyRule = TypeVar("AnyRule", bound="Rule")


@dataclass(frozen=True)
class Model:
    """A header, and how many blocks it has. The last `n_mtp` are not run by the main graph."""

    header: Header
    n_blocks: int
    n_mtp: int
    scale_weights: bool = False
    """The user asked for weights to be scaled where nothing else makes a path possible."""

    found: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Results of methods that are `once_per_model`, by rule and method."""

    @property
    def n_trunk(self) -> int:
        """Blocks that the main graph runs (`n_layer()`, src/llama-hparams.cpp:348)."""
        return self.n_blocks - self.n_mtp

    def key(self, suffix: str) -> str:
        """A key of the architecture."""
        return f"{self.header.architecture}.{suffix}"

    def pair(self, suffix: str) -> KeyValue | None:
        """The pair of a key of the architecture."""
        return self.header.pair_of.get(self.key(suffix))

    def number(self, suffix: str, default: int = 0) -> int:
        """The integer under a key of the architecture."""
        pair = self.pair(suffix)
        return pair.value if pair is not None and isinstance(pair.value, int) else default

    def trunk(self, path: Sequence[int]) -> Sequence[int]:
        """The part of a whole path that the main graph runs."""
        return path[: len(path) - self.n_mtp]


@dataclass(frozen=True)
class Edit:
    """A pair to write instead of the one with the same key, or besides all others."""

    pair: KeyValue
    note: str = ""
    """What the user should know of a file with this pair."""


class Rule:
    """One thing that depends on the layer index. Subclasses are frozen dataclasses."""

    key: str
    """The key it is about, without the architecture's prefix; empty for none."""
    crosses: bool = False
    """It is about what reaches other blocks besides the residual stream, which no run of a block
    in another place can do without."""
    is_array: bool = False
    """All that it takes is arrays with one element a block, so that models can be judged as one
    with the blocks of all of them, once these arrays are joined."""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """What to write so that block n computes what block path[n] computed.

        `path` covers all blocks of the new model, MTP blocks too. Raises RefusedError when no
        metadata does that. Nothing is yielded for what may stay as it is.
        """
        raise NotImplementedError

    def constant(self, model: Model) -> object:
        """What it takes for the whole model, whatever the path is.

        Blocks of several models can be mixed only where this is equal in all of them.
        """
        pair = model.pair(self.key) if self.key else None
        return model.n_trunk, None if pair is None else repr(pair.value)

    def trait(self, model: Model, block: int) -> object:
        """What it takes from the index of a block of the trunk.

        Blocks of one trait are the same to it, whichever of the models with an equal `constant`
        they are from.
        """
        return block

    def separate(self, model: Model) -> str:
        """Why blocks of this model cannot be mixed with those of another; empty if they can."""
        return ""

    def factors(self, model: Model, path: Sequence[int]) -> Mapping[str, float]:
        """What to multiply F32 tensors of every block by, where the user asks for it.

        By their name within the block.
        """
        return {}

    def label(self, model: Model, block: int) -> str:
        """What this rule says of the kind of a block, in a word or two; empty for nothing."""
        return ""


def once_per_model(
    method: Callable[[AnyRule, Model], Found],
) -> Callable[[AnyRule, Model], Found]:
    """A method of a hashable rule that depends on the model alone: its result is kept there.

    Thousands of paths over one model ask for it. Callers must not change the result.
    """

    @wraps(method)
    def kept(rule: AnyRule, model: Model) -> Found:
        key = rule, method
        if key not in model.found:
            model.found[key] = method(rule, model)
        result: Found = model.found[key]
        return result

    return kept


def scalar_edit(model: Model, suffix: str, kind: ValueType, value: int | float) -> Edit:
    """A number under a key of the architecture."""
    order = model.header.byte_order
    return Edit(make_pair(model.key(suffix), kind, encode_value(kind, value, order), order))


def flags_edit(model: Model, suffix: str, flags: Sequence[bool], note: str) -> Edit:
    """An array of booleans under a key of the architecture."""
    order = model.header.byte_order
    encoded = encode_array_prefix(ValueType.BOOL, len(flags), order) + bytes(flags)
    return Edit(make_pair(model.key(suffix), ValueType.ARRAY, encoded, order), note)
