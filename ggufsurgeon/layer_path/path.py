"""The layer path as a value, and its compact form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.factors import (
    LAST_FACTORS,
    Factors,
    factors_of,
    multipliers_text,
    parse_multipliers,
    product_of,
)
from ggufsurgeon.layer_path.strengths import FULL, strength_of


@dataclass(frozen=True, order=True)
class BlockRef:
    """Block `block` of the model with index `source`, run with a strength and with factors.

    What the block adds to the residual stream is multiplied by the strength, each part where it is
    added: x + s * attention(x), then x + s * FFN(x). Factors multiply single weights of it
    besides. Raises UsageError as `strength_of` and `factors_of`.
    """

    source: int
    block: int
    strength: float = FULL
    """A number of 32 bits."""
    factors: Factors = ()

    def __post_init__(self) -> None:
        if self.strength != FULL:
            object.__setattr__(self, "strength", strength_of(self.strength))
        if self.factors:
            object.__setattr__(self, "factors", factors_of(dict(self.factors)))

    @property
    def is_plain(self) -> bool:
        """Whether the block runs as it is."""
        return self.strength == FULL and not self.factors

    @property
    def adds_nothing(self) -> bool:
        """Whether the strength, or the factors of its last weights, leave nothing of the block.

        A block that can have factors of both has no other last weight.
        """
        factors = dict(self.factors)
        return not self.strength or not any(factors.get(n, FULL) for n in LAST_FACTORS)

    def at(self, source: int, block: int) -> BlockRef:
        """Another block, with the same strength and factors."""
        return BlockRef(source, block, self.strength, self.factors)

    def next(self) -> BlockRef:
        """The block behind it in its model, with the same strength and factors."""
        return self.at(self.source, self.block + 1)


MAX_STEPS = 10_000
"""Largest number of steps of a parsed path, so that a short text cannot exhaust memory. llama.cpp
runs at most 512 blocks (`LLAMA_MAX_LAYERS`, src/llama-hparams.h:11)."""

_NAMED_RANGE = re.compile(r"[^:]*[^:\d][^:]*:(\d{1,5}(?:\.\.\d{1,5})?).{0,9}", re.ASCII)
_RANGE = re.compile(r"(?:(\d+):)?(\d+)(?:\.\.(\d+))?(?: ?\* ?(.*))?", re.ASCII)


@dataclass(frozen=True, init=False)
class LayerPath:
    """The blocks that run, in order: `steps[n]` is the block that becomes block n.

    `LayerPath("0..6,4..29")` reads inclusive ranges, as llm-circuit-finder and exllamav3 write
    them; single blocks and `source:range` are allowed, and `range*strength` and factors of weights
    behind it, `range*strength*attn_q=factor`. Raises UsageError for another text.

    >>> LayerPath("0..3,2..5").blocks
    (0, 1, 2, 3, 2, 3, 4, 5)
    >>> LayerPath("0..1,1*0.5,2").strengths
    (1.0, 1.0, 0.5, 1.0)
    >>> LayerPath("0..3*attn_q=0.84*attn_k=0.84").steps[2].factors[0]
    ('attn_q', 0.8399999737739563)
    """

    steps: tuple[BlockRef, ...]

    def __init__(self, steps: str | Iterable[BlockRef]) -> None:
        parsed = _parse(steps) if isinstance(steps, str) else tuple(steps)
        object.__setattr__(self, "steps", parsed)

    @classmethod
    def of(cls, blocks: Iterable[int], source: int = 0, *, strength: float = FULL) -> LayerPath:
        """A path over one model, all of one strength."""
        return cls(tuple(BlockRef(source, block, strength) for block in blocks))

    @classmethod
    def identity(cls, n_blocks: int) -> LayerPath:
        """The path of an unchanged model."""
        return cls.of(range(n_blocks))

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        """The compact form: inclusive runs, `0..6,4..6*0.5`; `1:0..3` names another source.

        Factors of weights stand behind the strength: `4..6*0.5*attn_q=0.84`.
        """
        return ",".join(_format_run(first, last) for first, last in self.runs())

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """Block indices, for a path over one model."""
        return tuple(step.block for step in self.steps)

    @cached_property
    def strengths(self) -> tuple[float, ...]:
        """The strength of each step; 1 for a block as it is."""
        return tuple(step.strength for step in self.steps)

    @property
    def is_plain(self) -> bool:
        """Whether every block runs as it is, without strengths and factors."""
        return all(step.is_plain for step in self.steps)

    def behind(self, before: LayerPath) -> LayerPath:
        """The path over an original that runs this one over the model that `before` makes of it.

        Strengths multiply, and so do factors. Raises UsageError where a product is none.
        """
        pairs = ((before.steps[step.block], step) for step in self.steps)
        return LayerPath(
            BlockRef(
                origin.source,
                origin.block,
                origin.strength * step.strength,
                product_of(origin.factors, step.factors),
            )
            for origin, step in pairs
        )

    def over(self, n_blocks: int) -> LayerPath:
        """This path, over a model of `n_blocks`. Raises UsageError when it does not fit."""
        self.check_within(n_blocks)
        return self

    def check_within(self, *n_blocks: int) -> None:
        """Raise UsageError unless this is a path over models with these numbers of blocks."""
        if not self.steps:
            raise UsageError("the layer path is empty")
        if all(step.adds_nothing for step in self.steps):
            raise UsageError(
                f"layer path {shortened(str(self))}: every block is multiplied by 0, so that "
                "nothing would run"
            )
        for step in self.steps:
            if step.source >= len(n_blocks):
                models = "one model" if len(n_blocks) == 1 else f"{len(n_blocks)} models"
                problem = f"no source {step.source}: the path is over {models}, counted from 0"
            elif step.block >= n_blocks[step.source]:
                of = f" of model {step.source}" if len(n_blocks) > 1 else ""
                last = n_blocks[step.source] - 1
                problem = f"no block {step.block}{of}; the last one{of and ' of it'} is {last}"
            else:
                continue
            raise UsageError(f"layer path {shortened(str(self))}: there is {problem}")

    def runs(self) -> Iterator[tuple[BlockRef, BlockRef]]:
        """First and last step of each longest run of consecutive blocks that run alike.

        They have the same strength and the same factors.
        """
        first = last = None
        for step in self.steps:
            if last is None or step != last.next():
                if first is not None and last is not None:
                    yield first, last
                first = step
            last = step
        if first is not None and last is not None:
            yield first, last


def _format_run(first: BlockRef, last: BlockRef) -> str:
    blocks = f"{first.block}" if first == last else f"{first.block}..{last.block}"
    text = blocks + multipliers_text(first.strength, first.factors)
    return f"{first.source}:{text}" if first.source else text


def _parse(text: str) -> tuple[BlockRef, ...]:
    if not text.strip():
        raise UsageError("the layer path is empty: expected ranges such as 0..6,4..29")
    steps: list[BlockRef] = []
    for part in text.split(","):
        first, last = parse_range(part.strip(), _place(part.strip(), text))
        blocks = range(first.block, last + 1)
        if len(steps) + len(blocks) > MAX_STEPS:
            raise UsageError(f"layers {quoted(text)}: more than {MAX_STEPS} blocks")
        steps.extend(first.at(first.source, block) for block in blocks)
    return tuple(steps)


def _place(part: str, text: str) -> str:
    """A range of a layer path, in messages."""
    return f"layers {quoted(text)}" if part == text else f"layers {quoted(text)}: {quoted(part)}"


def parse_range(part: str, where: str) -> tuple[BlockRef, int]:
    """The first step of a range such as `4..29` or `1:7*0.5`, and its last block.

    `where` is what messages call it. Raises UsageError for another text.
    """
    match = _RANGE.fullmatch(part)
    if match is None:
        named = _NAMED_RANGE.fullmatch(part)
        hint = f"Models have numbers here, not names: 1:{named[1]} is of model 1." if named else ""
        raise UsageError(f"{where} is not a range; expected 4..29, 7 or 4..29*0.5", hint=hint)
    source, first = block_number(match[1] or "0"), block_number(match[2])
    last = block_number(match[3] or match[2])
    if last < first:
        raise UsageError(f"{where} runs backwards; name the blocks one by one")
    multipliers = () if match[4] is None else parse_multipliers(match[4], where)
    return BlockRef(source, first, *multipliers), last


def block_number(digits: str) -> int:
    """Parse a block index. Raises UsageError for one that no model has."""
    if len(digits) > 5:
        raise UsageError(f"no model has a block {shortened(digits)}")
    return int(digits)
