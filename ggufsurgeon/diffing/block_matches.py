"""Blocks of one model that are blocks of another, by their content, whatever their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ggufsurgeon.diffing.block_strengths import Bare, BlocksWithBiases, bare_blocks
from ggufsurgeon.diffing.contents import Contents, TensorContent
from ggufsurgeon.layer_path.factors import Factors
from ggufsurgeon.layer_path.path import MAX_STEPS, BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL

MOST_ALIKE = 100
"""Blocks that are looked at for each tensor of a block without an equal."""
MOST_TIMES, FEW_TENSORS = 8, 64
"""A block of more than so many times as many tensors, and of more than a few, is near to no block:
what all of them lack of it would be a list of the square of the file's size."""


@dataclass(frozen=True)
class BlockMatch:
    """A block of B, and the block of A that it is, or that it has most tensors of."""

    block: int
    origin: int | None
    """The block of A with the same content, but for added scales; None if there is none."""
    nearest: int | None = None
    """Without an equal, the block of A that shares most tensors; None if none shares any."""
    differing: tuple[str, ...] = ()
    """Tensors, by their names in block 0, that the nearest block has not, or has otherwise."""
    n_tensors: int = 0
    strength: float = FULL
    """The strength with which the block is the one of A."""
    factors: Factors = ()
    """The factors of weights with which it is."""


def match_blocks(a: Contents, b: Contents) -> tuple[BlockMatch, ...]:
    """What each block of B is in A."""
    return tuple(_matches(a, b.blocks, bare_blocks(b)))


def _matches(
    contents: Contents,
    b: Mapping[int, Mapping[str, TensorContent]],
    bare: Mapping[int, Sequence[Bare]],
) -> Iterator[BlockMatch]:
    a = contents.blocks
    equal: dict[frozenset[tuple[str, TensorContent]], list[int]] = {}
    holders: dict[tuple[str, TensorContent], list[int]] = {}
    for block, tensors in a.items():
        equal.setdefault(frozenset(tensors.items()), []).append(block)
        for tensor in tensors.items():
            holders.setdefault(tensor, []).append(block)
    # One set for each content, however many blocks have it: they may all be equal.
    known = {content: _Equal.of(blocks) for content, blocks in equal.items()}
    biased = BlocksWithBiases(contents)
    sought = [_sought(tensors, bare.get(block, ()), known, biased) for block, tensors in b.items()]
    origins = _longest_runs(list(b), [found for _, found in sought])
    for (block, tensors), origin, (each, _) in zip(b.items(), origins, sought, strict=True):
        if origin is None:
            yield _nearest(a, block, tensors, holders)
        else:
            yield BlockMatch(
                block,
                origin,
                n_tensors=len(tensors),
                strength=each.strength,
                factors=each.factors,
            )


def _sought(
    tensors: Mapping[str, TensorContent],
    bare: Sequence[Bare],
    known: Mapping[frozenset[tuple[str, TensorContent]], _Equal],
    biased: BlocksWithBiases,
) -> tuple[Bare, _Equal]:
    """What A has: the block as it is, or else without what `patch` may have made of it; with the
    blocks of A that are that."""
    as_it_is = Bare(frozenset(tensors.items()))
    for each in (as_it_is, *bare):
        if each.biases:
            found = _Equal.of(biased.find(each, MOST_ALIKE))
        else:
            found = known.get(each.content, NONE_EQUAL)
        if found.blocks:
            return each, found
    return as_it_is, NONE_EQUAL


class _Equal(NamedTuple):
    """Blocks of one content, and the first of them, which are tried."""

    blocks: frozenset[int]
    first: tuple[int, ...]

    @classmethod
    def of(cls, blocks: Sequence[int]) -> _Equal:
        return cls(frozenset(blocks), tuple(blocks[:MOST_ALIKE]))


NONE_EQUAL = _Equal.of(())


def _longest_runs(blocks: Sequence[int], alike: Sequence[_Equal]) -> list[int | None]:
    """Of the equal blocks at each position those that make the fewest runs of consecutive ones.

    From each position on that is the longest run; of two, the one that is in its own place.
    `blocks` are the indices of the blocks at the positions; a broken file may lack some indices.
    """
    chosen: list[int | None] = []
    while (at := len(chosen)) < len(alike):
        own = [blocks[at]] if blocks[at] in alike[at].blocks else []
        first, n = None, 1
        for block in (*own, *alike[at].first):
            n_run = _run_from(alike, at, block)
            if first is None or n_run > n:
                first, n = block, n_run
            if at + n == len(alike):  # none is longer
                break
        chosen.extend([None] if first is None else range(first, first + n))
    return chosen


def _run_from(alike: Sequence[_Equal], at: int, block: int) -> int:
    """How many positions from `at` on are equal to `block` and those that follow it."""
    n = 0
    while at + n < len(alike) and block + n in alike[at + n].blocks:
        n += 1
    return n


def _nearest(
    a: Mapping[int, Mapping[str, TensorContent]],
    block: int,
    tensors: Mapping[str, TensorContent],
    holders: Mapping[tuple[str, TensorContent], Sequence[int]],
) -> BlockMatch:
    shared = Counter(
        holder for tensor in tensors.items() for holder in holders.get(tensor, ())[:MOST_ALIKE]
    )
    most_tensors = max(MOST_TIMES * len(tensors), FEW_TENSORS)
    shared = Counter({n: found for n, found in shared.items() if len(a[n]) <= most_tensors})
    most = max(shared.values(), default=0)
    alike = [holder for holder, n in shared.items() if n == most]
    nearest = (block if block in alike else min(alike)) if alike else None
    there = a.get(block if nearest is None else nearest, {})
    differing = sorted(
        name for name in tensors.keys() | there.keys() if tensors.get(name) != there.get(name)
    )
    return BlockMatch(block, None, nearest, tuple(differing), len(tensors))


def explaining_path(matches: Sequence[BlockMatch]) -> LayerPath | None:
    """The layer path over A that gives the blocks of B; None where none does."""
    origins = [match.origin for match in matches if match.origin is not None]
    in_order = [match.block for match in matches] == list(range(len(matches)))
    if not matches or len(origins) != len(matches) or not in_order or len(matches) > MAX_STEPS:
        return None
    return LayerPath(
        BlockRef(0, origin, match.strength, match.factors)
        for origin, match in zip(origins, matches, strict=True)
    )
