"""The layer path as a value, and its compact form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.errors import UsageError


@dataclass(frozen=True, order=True)
class BlockRef:
    """Block `block` of the model with index `source`."""

    source: int
    block: int


MAX_STEPS = 10_000
"""Largest number of steps of a parsed path, so that a short text cannot exhaust memory. llama.cpp
runs at most 512 blocks (`LLAMA_MAX_LAYERS`, src/llama-hparams.h:11)."""

_RANGE = re.compile(r"(?:(\d+):)?(\d+)(?:\.\.(\d+))?", re.ASCII)


@dataclass(frozen=True, init=False)
class LayerPath:
    """The blocks that run, in order: `steps[n]` is the block that becomes block n.

    `LayerPath("0..6,4..29")` reads inclusive ranges, as llm-circuit-finder and exllamav3 write
    them; single blocks and `source:range` are allowed. Raises UsageError for another text.

    >>> LayerPath("0..3,2..5").blocks
    (0, 1, 2, 3, 2, 3, 4, 5)
    """

    steps: tuple[BlockRef, ...]

    def __init__(self, steps: str | Iterable[BlockRef]) -> None:
        parsed = _parse(steps) if isinstance(steps, str) else tuple(steps)
        object.__setattr__(self, "steps", parsed)

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

    def over(self, n_blocks: int) -> LayerPath:
        """This path, over a model of `n_blocks`. Raises UsageError when it does not fit."""
        self.check_within(n_blocks)
        return self

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
            raise UsageError(f"layer path {shortened(str(self))}: there is {problem}")

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


def _parse(text: str) -> tuple[BlockRef, ...]:
    if not text.strip():
        raise UsageError("the layer path is empty: expected ranges such as 0..6,4..29")
    steps: list[BlockRef] = []
    for part in text.split(","):
        source, blocks = _parse_range(part.strip(), text)
        if len(steps) + len(blocks) > MAX_STEPS:
            raise UsageError(f"layers {quoted(text)}: more than {MAX_STEPS} blocks")
        steps.extend(BlockRef(source, block) for block in blocks)
    return tuple(steps)


def _parse_range(part: str, text: str) -> tuple[int, range]:
    match, where = _RANGE.fullmatch(part), f"layers {quoted(text)}: {quoted(part)}"
    if match is None:
        raise UsageError(f"{where} is not a range; expected 4..29 or 7")
    source, first = block_number(match[1] or "0"), block_number(match[2])
    last = block_number(match[3] or match[2])
    if last < first:
        raise UsageError(f"{where} runs backwards; name the blocks one by one")
    return source, range(first, last + 1)


def block_number(digits: str) -> int:
    """Parse a block index. Raises UsageError for one that no model has."""
    if len(digits) > 5:
        raise UsageError(f"no model has a block {shortened(digits)}")
    return int(digits)
