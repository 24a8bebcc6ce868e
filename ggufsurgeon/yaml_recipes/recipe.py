"""The YAML recipe as a value: slices of named models, and where all other parts come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.layer_path.factors import Factors
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.scales import Setting

MOST_LISTED = 8
"""Names that a message lists; a hostile recipe can have thousands."""


UNNAMED = "the source"
"""Stands for the name of the only model where a recipe names none; no recipe can have it."""


class ShardSize(NamedTuple):
    """What a recipe says of a shard."""

    n_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class MadeFile:
    """The file that a recipe rebuilds to the byte, and how it was made."""

    made: Field
    """The program, and what else the first patch depends on."""
    then: tuple[Field, ...]
    """Further patches, as texts."""
    n_bytes: int
    header_sha256: str
    sha256: str | None
    """Of the whole file; None for shards."""
    shards: tuple[ShardSize, ...]


@dataclass(frozen=True)
class NamedModel:
    """A model that a recipe names, with what the recipe says of its file, or None."""

    name: str
    sha256: str | None = None
    """Of the whole file."""
    header_sha256: str | None = None
    """Of its header without padding, or of that of the joined shards."""
    n_bytes: int | None = None
    """The size of the file, or of the joined shards."""
    number: int | None = None
    """Its number in the layer path that the new file records."""
    shards: tuple[ShardSize, ...] = ()
    """The shards that it must be in; none where any form does."""


@dataclass(frozen=True)
class Slice:
    """Consecutive blocks of one model."""

    place: str
    """Where it stands in the recipe, for the beginning of a message."""
    model: int
    """Its index among the models of the recipe."""
    first: int
    end: int | None
    """The block behind the last one; None for all blocks."""
    strength: float = FULL
    factors: Factors = ()
    scales: tuple[Setting, ...] = ()
    """mergekit's `scale`, from the innermost level on."""


@dataclass(frozen=True)
class YamlRecipe:
    """What a recipe in YAML asks for. Models are indices among `models`."""

    file: str
    models: tuple[NamedModel, ...]
    """In the order in which they are named."""
    slices: tuple[Slice, ...]
    outside: OutsideBlocks
    needs_one_vocabulary: bool = False
    """Whether all models must have the same vocabulary."""
    name: str | None = None
    """The name of the new model."""
    notes: tuple[str, ...] = ()
    """What of the recipe has no meaning for GGUF files, as sentences."""
    without_mtp: bool = False
    """Whether the MTP blocks are left out."""
    mtp: int | None = None
    """The model that the MTP blocks are taken from; None for that of the output."""
    made_file: MadeFile | None = None
    """The file that the recipe rebuilds to the byte; None where it makes one of its layer path."""


def listed(names: Sequence[str]) -> str:
    """Names for a message, in quotation marks."""
    more = len(names) - MOST_LISTED
    shown = ", ".join(quoted(name) for name in names[:MOST_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown
