"""What two models differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.diffing.block_matches import BlockMatch, explaining_path, match_blocks
from ggufsurgeon.diffing.contents import Contents, TensorContent
from ggufsurgeon.layer_path.path import LayerPath


@dataclass(frozen=True)
class KeyDifference:
    """A key-value pair of which the models have two values, or one of them none."""

    key: str
    in_a: KeyValue | None
    in_b: KeyValue | None


@dataclass(frozen=True)
class TensorDifference:
    """A tensor outside the blocks that differs, or that one of the models lacks."""

    name: str
    in_a: TensorContent | None
    in_b: TensorContent | None


@dataclass(frozen=True)
class ModelDiff:
    """The outcome for two files, A and B. Made by `ModelFile.diff`."""

    a: Contents
    b: Contents
    keys: tuple[KeyDifference, ...]
    tensors: tuple[TensorDifference, ...]
    """Those that belong to no block."""
    blocks: tuple[BlockMatch, ...]
    """The blocks of B."""
    layer_path: LayerPath | None
    """The path over A that gives the blocks of B; None where none does."""
    unexplained: tuple[str, ...] | None = None
    """Keys and tensors in which B is not what `patch` makes of A along the path, descriptive
    ones aside; None where there is no such path, or no such file."""
    without_mtp: bool = False
    """Whether the MTP blocks of A are left out besides."""
    of_donor: str = ""
    """The SHA-256 of the header of the file that B has its MTP blocks from, by its record, if it is
    a patched A."""
    refusal: str = ""
    """Why `patch` makes no file along the path, if it does not."""

    @property
    def same(self) -> bool:
        """Whether all pairs and all tensors are equal. Their order and padding may differ."""
        # If a broken file lacks some of several equal blocks, the matching may pair others of them.
        return not self.keys and not self.tensors and self.a.blocks == self.b.blocks

    @property
    def unused(self) -> tuple[int, ...]:
        """Blocks of A that no block of B is."""
        used = {match.origin for match in self.blocks}
        return tuple(block for block in self.a.blocks if block not in used)


def diff_contents(a: Contents, b: Contents) -> ModelDiff:
    """What two models differ in, and the layer path that explains their blocks, if one does."""
    blocks = match_blocks(a, b)
    return ModelDiff(
        a,
        b,
        tuple(differing_keys(a.file.header, b.file.header)),
        tuple(_differing_tensors(a.outside_blocks, b.outside_blocks)),
        blocks,
        explaining_path(blocks),
    )


def differing_keys(a: Header, b: Header) -> Iterator[KeyDifference]:
    """Pairs that are not byte for byte the same, in the order of A, then of B."""
    before, after = a.pair_of, b.pair_of
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if one is None or other is None or one.raw != other.raw:
            yield KeyDifference(key, one, other)


def _differing_tensors(
    a: Mapping[str, TensorContent], b: Mapping[str, TensorContent]
) -> Iterator[TensorDifference]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield TensorDifference(name, a.get(name), b.get(name))
