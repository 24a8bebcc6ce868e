"""The layer path as a value, and its compact form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.errors import UsageError


@dataclass(frozen=True, order=True)
class BlockRef:
    """Block `block` of the model with index `source`."""

    source: int
    block: int


@dataclass(frozen=True)
class LayerPath:
    """The blocks that run, in order. `steps[n]` is the block that becomes block n."""

    steps: tuple[BlockRef, ...]

    @classmethod
    def of(cls, blocks: Iterable[int], source: int = 0) -> LayerPath:
        """A path over one model."""
        return cls(tuple(BlockRef(source, block) for block in blocks))

    @classmethod
    def identity(cls, n_blocks: int) -> LayerPath:
        """The path of an unchanged model."""
        return cls.of(range(n_blocks))

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        """The compact form: inclusive runs, `0..6,4..29`; `1:0..3` names another source."""
        return ",".join(_format_run(first, last) for first, last in self.runs())

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """Block indices, for a path over one model."""
        return tuple(step.block for step in self.steps)

    def check_within(self, *n_blocks: int) -> None:
        """Raise UsageError unless this is a path over models with these numbers of blocks."""
        if not self.steps:
            raise UsageError("the layer path is empty")
        for step in self.steps:
            if step.source >= len(n_blocks):
                problem = f"no source {step.source}; sources are counted from 0"
            elif step.block >= n_blocks[step.source]:
                problem = f"no block {step.block}; the last one is {n_blocks[step.source] - 1}"
            else:
                continue
            raise UsageError(f"layer path {self}: there is {problem}")

    def runs(self) -> Iterator[tuple[BlockRef, BlockRef]]:
        """First and last step of each longest run of consecutive blocks."""
        first = last = None
        for step in self.steps:
            if last is None or step != BlockRef(last.source, last.block + 1):
                if first is not None and last is not None:
                    yield first, last
                first = step
            last = step
        if first is not None and last is not None:
            yield first, last


def _format_run(first: BlockRef, last: BlockRef) -> str:
    blocks = f"{first.block}" if first == last else f"{first.block}..{last.block}"
    return f"{first.source}:{blocks}" if first.source else blocks
