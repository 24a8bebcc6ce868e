"""Tensors that only some blocks have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class OnlyBlockZeroMayLack(Rule):
    """A tensor that llama.cpp asks of every block but the first."""

    tensor: str
    key: str = ""

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block lacks it."""
        return block in blocks_without(model, f"blk.{{}}.{self.tensor}")

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal: a block without it can come first only."""
        if 0 in path[1:] and 0 in blocks_without(model, f"blk.{{}}.{self.tensor}"):
            raise RefusedError(
                f"block 0 has no {self.tensor}, which llama.cpp asks of every other block: "
                "it can only come first",
                hint=f"Windows inside 1:{model.n_trunk} work.",
            )
        yield from ()


@dataclass(frozen=True)
class BorrowedFromBlockZero(Rule):
    """A tensor that blocks without one of their own take from block 0 (src/models/t5.cpp:305)."""

    tensor: str
    """Its whole name, with {} for the block."""
    key: str = ""

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block is the lender: there are no borrowers where models are mixed."""
        return block == 0 and bool(self.separate(model))

    def separate(self, model: Model) -> str:
        """That some blocks borrow from another, if they do."""
        borrowers = blocks_without(model, self.tensor)
        return f"blocks without {self.tensor.format('N')} use block 0's" if borrowers else ""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal: whoever borrows must find the same lender."""
        borrowers = blocks_without(model, self.tensor) & set(path)
        if path[0] != 0 and borrowers:
            raise RefusedError(
                f"block {min(borrowers)} uses {self.tensor.format(0)}, and llama.cpp takes that "
                f"from whichever block comes first, which would be block {path[0]}",
                hint="Paths that begin with block 0 work.",
            )
        yield from ()


def blocks_without(model: Model, name: str) -> set[int]:
    """The blocks that lack a tensor; `name` has {} for the block."""
    names = {tensor.name for tensor in model.header.tensors}
    return {block for block in range(model.n_blocks) if name.format(block) not in names}
