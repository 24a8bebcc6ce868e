"""Kinds of block that llama.cpp knows by their index, every so many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule, scalar_edit
from ggufsurgeon.architectures.vocabulary.kinds import Window, has_window
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.errors import RefusedError

LAST = -1
"""In place of a period: the last block alone."""


@dataclass(frozen=True)
class FixedPeriod(Rule):
    """A kind of block that llama.cpp knows by its index alone: no metadata can move it."""

    period: int
    phase: int
    """Block n is of the kind when (n + phase) % period == 0."""
    kind: str
    period_key: str = ""
    """A key that holds the period instead."""
    read: Window = "always"
    else_last: bool = False
    """When there is no window, the last block alone is of the kind."""
    key: str = ""

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block is of the kind."""
        return self._kinds(model, model.n_trunk)[block]

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal: each block must be of the kind that it was."""
        trunk = model.trunk(path)
        before, after = self._kinds(model, model.n_trunk), self._kinds(model, len(trunk))
        for position, block in enumerate(trunk):
            if before[block] != after[position]:
                raise RefusedError(
                    f"block {block} would become block {position}, and llama.cpp takes a block for "
                    f"{self.kind} by its index{self._rule(model)}: what it computes would change",
                    hint=self._hint(model),
                )
        yield from ()

    def label(self, model: Model, block: int) -> str:
        """The kind, for a block that is of it."""
        is_of_kind = block < model.n_trunk and self._kinds(model, model.n_trunk)[block]
        return self.kind if is_of_kind else ""

    def _kinds(self, model: Model, n_trunk: int) -> list[bool]:
        period = self._period(model)
        if period == LAST:
            return [n == n_trunk - 1 for n in range(n_trunk)]
        return [period > 0 and (n + self.phase) % period == 0 for n in range(n_trunk)]

    def _period(self, model: Model) -> int:
        """0 where no block is of the kind."""
        if not has_window(model, self.read):
            return LAST if self.else_last else 0
        return model.number(self.period_key, self.period) if self.period_key else self.period

    def _rule(self, model: Model) -> str:
        period = self._period(model)
        return ", the last one" if period == LAST else f", every {period}"

    def _hint(self, model: Model) -> str:
        period = self._period(model)
        if period == LAST:
            return f"Windows inside 0:{model.n_trunk - 1} work."
        fits = period < model.n_trunk
        return f"Windows whose length is a multiple of {period} keep it." if fits else ""


@dataclass(frozen=True)
class MoeEvery(Rule):
    """Blocks 1, 1 + n, 1 + 2n and so on are MoE; none are where n is 0 or 1.

    src/models/nomic-bert-moe.cpp:37, src/models/bert.cpp:165. A block of the wrong kind does not
    load.
    """

    key: str = "moe_every_n_layers"

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block is MoE."""
        return self._kinds(model.number(self.key), block + 1)[block]

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing where the number still fits, else one that does."""
        before = model.number(self.key)
        kinds = self._kinds(before, model.n_blocks)
        wanted = [kinds[block] for block in path]
        fitting = (
            n for n in (before, *range(len(path) + 1)) if self._kinds(n, len(path)) == wanted
        )
        after = next(fitting, None)
        if after is None:
            moe = [position for position, is_moe in enumerate(wanted) if is_moe]
            raise RefusedError(
                f"blocks {moe} would be MoE, and {model.key(self.key)} can only say that block 1 "
                "and every so many behind it are",
                hint=f"Windows whose length is a multiple of {before} keep it.",
            )
        if after != before:
            yield scalar_edit(model, self.key, ValueType.UINT32, after)

    def label(self, model: Model, block: int) -> str:
        """`MoE`, for a block that is."""
        return "MoE" if self._kinds(model.number(self.key), block + 1)[block] else ""

    @staticmethod
    def _kinds(every: int, n_blocks: int) -> list[bool]:
        return [every > 1 and n % every == 1 for n in range(n_blocks)]
