"""What reaches other blocks besides the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class PrefixStays(Rule):
    """The first blocks are special: they stay the first ones, and run nowhere else.

    They are the first `n`, or as many as the key `n_key` says.
    """

    why: str
    n: int = 0
    n_key: str = ""
    key: str = ""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        n = min(self.n or model.number(self.n_key), model.n_trunk)
        trunk = list(model.trunk(path))
        if trunk[:n] != list(range(n)) or min(trunk[n:], default=n) < n:
            first = "block 0" if n == 1 else f"blocks 0 to {n - 1}"
            order = "come first and run once" if n == 1 else "come first, in order, and run once"
            raise RefusedError(
                f"{first} must {order}: {self.why}",
                hint=f"Windows inside {n}:{model.n_trunk} work." if n < model.n_trunk else "",
            )
        yield from ()


@dataclass(frozen=True)
class SharedIndexers(Rule):
    """Some blocks take the top-k of the full indexer that ran last (src/models/glm-dsa.cpp:243).

    The path must give each of them the same one as before.
    """

    key: str = "attention.indexer.types"

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        pair = model.pair(self.key)
        if pair is None or not isinstance(pair.value, list):
            return
        is_full = [bool(value) for value in pair.value]
        trunk = model.trunk(path)
        origin = {block: last_full(range(block + 1), is_full) for block in range(model.n_trunk)}
        for position, block in enumerate(trunk):
            if last_full(trunk[: position + 1], is_full) != origin[block]:
                raise RefusedError(
                    f"block {block} takes its top-k from the indexer of block {origin[block]}, and "
                    f"as block {position} it would take another's",
                    hint="Windows that begin with a block that has an indexer of its own work.",
                )
        yield from ()


def last_full(blocks: Sequence[int], is_full: Sequence[bool]) -> int | None:
    """The last of `blocks` with a full indexer."""
    return next((block for block in reversed(blocks) if is_full[block]), None)
