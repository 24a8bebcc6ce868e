"""What reaches other blocks besides the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.architectures.vocabulary.arrays import refuse_array
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
    crosses = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        n = min(self.n or model.number(self.n_key), model.n_trunk)
        trunk = list(model.trunk(path))
        if trunk[:n] != list(range(n)) or min(trunk[n:], default=n) < n:
            first = "block 0" if n == 1 else f"blocks 0 to {n - 1}"
            order = "come first and run once" if n == 1 else "come first, in order, and run once"
            raise RefusedError(
                f"{first} must {order}: {self.why}",
                hint=_behind(n, model.n_trunk),
            )
        yield from ()


@dataclass(frozen=True)
class ResidualCheckpoints(Rule):
    """Every so many blocks the residual is put by and begun anew; later blocks attend over those.

    src/models/kimi-k3.cpp:277-327. Blocks behind the last checkpoint all see the same ones, so
    those may change, as long as no checkpoint more is made.
    """

    key: str = "attn_res.block_size"
    crosses = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        every = model.number(self.key)
        if not every:
            return
        last = (model.n_trunk - 1) // every * every
        why = f"at every {every} blocks the residual is put by, and later blocks attend over that"
        yield from PrefixStays(why, n=last + 1).follow(model, path)
        n_after, end = len(model.trunk(path)), last + every
        if n_after > end:
            raise RefusedError(
                f"with {n_after} blocks the residual would be put by once more, at block {end}",
                hint=f"Paths of up to {end} blocks work.",
            )


def _behind(n: int, n_blocks: int) -> str:
    if n < n_blocks:
        return f"Windows inside {n}:{n_blocks} work."
    return "These are all of its blocks, so no other path works."


@dataclass(frozen=True)
class SharedIndexers(Rule):
    """Some blocks take the top-k of the full indexer that ran last (src/models/glm-dsa.cpp:243).

    The path must give each of them the same one as before.
    """

    key: str = "attention.indexer.types"
    crosses = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        pair = model.pair(self.key)
        if pair is None or not isinstance(pair.value, list):
            return
        if len(pair.value) < model.n_trunk:
            refuse_array(pair.key, len(pair.value), model.n_trunk, are_numbers=True)
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
