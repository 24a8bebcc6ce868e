"""Counts of blocks: all of them, a prefix, a suffix, and counts that select other maths."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule, scalar_edit
from ggufsurgeon.architectures.vocabulary.kinds import Window, has_window, per_block
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class BlockCount(Rule):
    """The number of blocks, MTP blocks too, a u32 (src/llama-model.cpp:1327)."""

    key: str = "block_count"

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Nothing."""
        return None

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The length of the path."""
        if len(path) != model.n_blocks:
            yield scalar_edit(model, self.key, ValueType.UINT32, len(path))


@dataclass(frozen=True)
class PrefixCount(Rule):
    """How many blocks at the beginning are of a kind, such as dense ones before MoE."""

    key: str
    kind: str
    rest: str = ""
    """What the blocks behind them are."""
    keeps_rest: bool = False
    """llama.cpp aborts on a model in which no other block is left."""

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block is of the kind."""
        return block < model.number(self.key)

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The new count, where the kind is still a prefix."""
        before = model.number(self.key)
        flags = [block < before for block in model.trunk(path)]
        after = sum(flags)
        if self.keeps_rest and all(flags) and before < model.n_trunk:
            raise RefusedError(
                f"only blocks that are {self.kind} would be left, and llama.cpp aborts on that",
                hint=f"Keep at least one of blocks {before} to {model.n_trunk - 1}.",
            )
        if flags != [n < after for n in range(len(flags))]:
            raise RefusedError(
                f"blocks 0 to {before - 1} are {self.kind}, and {model.key(self.key)} can only say "
                f"how many such blocks come first; this path puts one behind another kind",
                hint=_outside(0, before, model.n_trunk),
            )
        if after != before:
            yield scalar_edit(model, self.key, ValueType.UINT32, after)

    def label(self, model: Model, block: int) -> str:
        """The kind, for the first blocks, or what the rest is."""
        return self.kind if block < model.number(self.key) else self.rest


@dataclass(frozen=True)
class SharedKvSuffix(Rule):
    """The last blocks have no KV of their own and use that of the last blocks that do.

    Those with a sliding window use the last but one owner's, the others the last owner's
    (src/models/gemma4.cpp:8-11, src/llama-model.cpp:2779-2789).
    """

    key: str = "attention.shared_kv_layers"
    crosses = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The new count, where sharing blocks still come last and share with the same ones."""
        before = model.number(self.key)
        start = model.n_trunk - before
        if before and start < 2:
            raise RefusedError(f"{model.key(self.key)} is {before}: no two blocks have own KV")
        trunk = model.trunk(path)
        after = sum(block >= start for block in trunk)
        first_sharing = len(trunk) - after
        if before and not self._is_kept(model, trunk[:first_sharing], trunk[first_sharing:]):
            raise RefusedError(
                f"blocks {start} to {model.n_trunk - 1} use the KV of blocks {start - 2} and "
                f"{start - 1}, and in this path they would use another's",
                hint=f"Windows inside 0:{start - 1} or inside {start}:{model.n_trunk} work.",
            )
        if after != before:
            yield scalar_edit(model, self.key, ValueType.UINT32, after)

    def _is_kept(self, model: Model, owners: Sequence[int], sharing: Sequence[int]) -> bool:
        """With a window they use the last but one owner's, without one the last one's.

        There must be two of them, whether they are used or not (src/llama-model.cpp:2782).
        """
        start = model.n_trunk - model.number(self.key)
        slides = per_block(model, "attention.sliding_window_pattern")
        back = {2 if any(slides[block : block + 1]) else 1 for block in sharing}
        if len(owners) < 2 or max(owners) >= start:
            return False
        backwards = list(reversed(owners))  # each must be where it runs last
        return all(start - n in owners and backwards.index(start - n) == n - 1 for n in back)

    def label(self, model: Model, block: int) -> str:
        """`shared KV`, for the last blocks."""
        is_shared = model.n_trunk - model.number(self.key) <= block < model.n_trunk
        return "shared KV" if is_shared else ""


@dataclass(frozen=True)
class CountSelectsMaths(Rule):
    """Some numbers of blocks make llama.cpp compute or load something else."""

    counts: tuple[int, ...]
    effect: str
    or_more: bool = False
    """All counts from the first one on."""
    every: bool = False
    """Each count for itself."""
    read: Window = "always"
    """When the number of blocks matters at all."""
    beyond_weights: str = ""
    """Why weights cannot make up for it."""
    key: str = ""

    def constant(self, model: Model) -> object:
        """What the number of blocks selects."""
        return self._selected(model.n_trunk) if has_window(model, self.read) else None

    def trait(self, model: Model, block: int) -> object:
        """Nothing."""
        return None

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal: both numbers must select the same."""
        before, after = model.n_trunk, len(model.trunk(path))
        if has_window(model, self.read) and self._selected(before) != self._selected(after):
            raise RefusedError(
                f"with {after} blocks where the model has {before}, llama.cpp would use "
                f"{self.effect}: it decides that by the number of blocks alone"
                + (f", and {self.beyond_weights}" if self.beyond_weights else "")
            )
        yield from ()

    def _selected(self, n_blocks: int) -> int | None:
        if self.or_more:
            return 1 if n_blocks >= self.counts[0] else None
        return n_blocks if self.every or n_blocks in self.counts else None


@dataclass(frozen=True)
class ResidualScale(Rule):
    """minicpm: 1.4f / sqrtf(blocks) where the key is absent (src/models/minicpm.cpp:6)."""

    key: str = "residual_scale"

    def constant(self, model: Model) -> object:
        """The scale."""
        pair = model.pair(self.key)
        return self._built_in(model) if pair is None else pair.value

    def trait(self, model: Model, block: int) -> object:
        """Nothing."""
        return None

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """The scale that the model had, written out."""
        if model.pair(self.key) is None and len(path) != model.n_blocks:
            yield scalar_edit(model, self.key, ValueType.FLOAT32, self._built_in(model))

    @staticmethod
    def _built_in(model: Model) -> float:
        return _float32(_float32(1.4) / _float32(math.sqrt(model.n_trunk)))


@dataclass(frozen=True)
class LiteModel(Rule):
    """deepseek2: the number of blocks tells a lite model, which has no q_lora_rank.

    Also the gating function of models that name none (src/models/deepseek2.cpp:8-31).
    """

    key: str = "attention.q_lora_rank"

    def constant(self, model: Model) -> object:
        """The rank, what the number of blocks means, and the vocabulary that this depends on."""
        rank, n_vocab = model.number(self.key), _n_vocab(model)
        n_blocks = model.n_trunk
        return rank, n_vocab, self._is_lite(model, n_blocks), self._gating(model, n_blocks)

    def trait(self, model: Model, block: int) -> object:
        """Nothing."""
        return None

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """What the number of blocks meant, written out; refused where nothing can say it."""
        before, after = model.n_trunk, len(model.trunk(path))
        rank = model.number(self.key)
        if self._is_lite(model, before) and not self._is_lite(model, after):
            if model.pair(self.key) is None or rank:
                yield scalar_edit(model, self.key, ValueType.UINT32, 0)
        elif self._is_lite(model, after) and not self._is_lite(model, before) and rank:
            raise RefusedError(
                f"llama.cpp takes a model of {after} blocks for a lite one and does not read "
                f"{model.key(self.key)}, which is {rank} here"
            )
        gating = "expert_gating_func"
        if not model.number(gating) and self._gating(model, before) != self._gating(model, after):
            yield scalar_edit(model, gating, ValueType.UINT32, self._gating(model, before))

    @staticmethod
    def _is_lite(model: Model, n_blocks: int) -> bool:
        return n_blocks in (26, 27) or (n_blocks == 48 and _n_vocab(model) == 128_256)

    @staticmethod
    def _gating(model: Model, n_blocks: int) -> int:
        sigmoid, softmax = 2, 1  # llama_expert_gating_func_type, src/llama-hparams.h
        return sigmoid if n_blocks in (47, 48) and _n_vocab(model) == 154_880 else softmax


def _n_vocab(model: Model) -> int:
    """As deepseek2 finds it: the key, or else the number of tokens."""
    tokens = model.header.pair_of.get("tokenizer.ggml.tokens")
    n_tokens = read_array_prefix(tokens.raw, tokens.value_at, tokens.byte_order)[1] if tokens else 0
    return model.number("vocab_size", n_tokens)


def _float32(value: float) -> float:
    """Rounded to single precision; sqrt and division of singles round the same in double first."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def _outside(first: int, end: int, n_blocks: int) -> str:
    """The windows that leave first:end alone, as a hint."""
    return f"Windows inside {end}:{n_blocks} work" + (f", or inside {first}:{end}." if end else ".")
