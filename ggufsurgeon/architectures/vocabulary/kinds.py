"""Kinds of block: sliding windows, recurrent blocks, NoPE, MoE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ggufsurgeon.architectures.model import (
    NEEDS_RECENT,
    Edit,
    Model,
    Rule,
    flags_edit,
    once_per_model,
)
from ggufsurgeon.architectures.vocabulary.arrays import refuse_array, reindexed
from ggufsurgeon.errors import RefusedError

Window: TypeAlias = Literal["always", "if_set", "unless_zero"]
"""When something is in force: always, if `attention.sliding_window` is above zero, or unless it
is there and zero."""

HEAD_SIZES = ("attention.key_length", "attention.value_length", "rope.dimension_count")
"""Keys that may be told anew for blocks with a window, as `..._swa`."""


def has_window(model: Model, read: Window) -> bool:
    """Whether something that is in force then is in force for this model."""
    pair = model.pair("attention.sliding_window")
    if read == "always" or (read == "unless_zero" and pair is None):
        return True
    return model.number("attention.sliding_window") > 0


@dataclass(frozen=True)
class SlidingWindow(Rule):
    """Which blocks attend within a window: an array, or a period, or a built-in period.

    As `load_swa_pattern` reads it (src/llama-model.cpp:3434-3441, src/llama-hparams.cpp:8-22).
    A period is kept where the path keeps it, since older builds know nothing else.
    """

    period: int | None
    """Built in; None where llama.cpp asks for the array."""
    dense_first: bool = False
    read: Window = "always"
    needs_global: bool = False
    """llama.cpp does not load a model in which every block has a window where a tensor of others
    would be left over (gemma4's `rope_freqs`, src/models/gemma4.cpp:94-98), and aborts on such an
    encoder, whose mask for the others is then in no memory (src/llama-graph.cpp:451)."""
    only_at: int = 0
    """A number of blocks: with any other there are no windows."""
    own_sizes: tuple[str, ...] = ()
    """Those of `HEAD_SIZES` that each block takes by its own kind, not by block 0's."""
    key: str = "attention.sliding_window_pattern"

    def constant(self, model: Model) -> object:
        """Whether blocks have windows at all, and block 0: sizes may be taken by its kind."""
        return self._is_in_force(model) and ("window of block 0", self.kinds(model)[0])

    def trait(self, model: Model, block: int) -> object:
        """Whether the block has a window."""
        return self._is_in_force(model) and self.kinds(model)[block]

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing where the period still fits, else an array."""
        if not self._is_in_force(model):
            return
        kinds = self.kinds(model)
        wanted = [kinds[block] for block in path]
        self._check_remaining(kinds, wanted)
        if wanted[0] != kinds[0]:
            self._check_sizes(model, path[0])
        pair = model.pair(self.key)
        if pair is not None and isinstance(pair.value, list):
            if len(pair.value) >= model.n_blocks:
                follows = reindexed(pair, path)
                if follows.raw != pair.raw:
                    yield Edit(follows)
            elif wanted != kinds:
                yield flags_edit(model, self.key, wanted, "")
        elif wanted != self._periodic(model, len(path)):
            yield flags_edit(model, self.key, wanted, NEEDS_RECENT)

    def label(self, model: Model, block: int) -> str:
        """`sliding` or `global`."""
        if not self._is_in_force(model):
            return ""
        return "sliding" if self.kinds(model)[block] else "global"

    def _is_in_force(self, model: Model) -> bool:
        return has_window(model, self.read) and self.only_at in (0, model.n_trunk)

    def _check_remaining(self, kinds: Sequence[bool], wanted: Sequence[bool]) -> None:
        """Refuse models without a kind of block that llama.cpp cannot do without."""
        if any(kinds) and not any(wanted):
            raise RefusedError(
                "no block with a sliding window would be left, and llama.cpp aborts on a model "
                "that has a window and no block that uses it (src/llama-model.cpp:2807; "
                "of an encoder, src/llama-graph.cpp:461)"
            )
        if self.needs_global and all(wanted) and not all(kinds):
            raise RefusedError(
                "no block without a sliding window would be left, and llama.cpp does not run that",
                hint=f"Keep one of blocks {[n for n, slides in enumerate(kinds) if not slides]}.",
            )

    def _check_sizes(self, model: Model, block: int) -> None:
        """Refuse another kind of block 0 where llama.cpp takes its sizes for all blocks."""
        for suffix in HEAD_SIZES:
            windowed, plain = model.pair(f"{suffix}_swa"), model.pair(suffix)
            differs = windowed is not None and (plain is None or windowed.value != plain.value)
            if differs and suffix not in self.own_sizes:
                raise RefusedError(
                    f"block {block} would become block 0, and one of the two has a sliding window: "
                    f"{suffix} depends on that, and llama.cpp takes block 0's for other blocks too",
                    hint="Paths that begin with block 0 work.",
                )

    @once_per_model
    def kinds(self, model: Model) -> list[bool]:
        """Which blocks have a window. What an array lacks is dense."""
        pair = model.pair(self.key)
        if pair is not None and isinstance(pair.value, list):
            given = [bool(value) for value in pair.value[: model.n_blocks]]
            return given + [False] * (model.n_blocks - len(given))
        return self._periodic(model, model.n_blocks)

    def _periodic(self, model: Model, n_blocks: int) -> list[bool]:
        period = model.number(self.key, self.period or 0)
        dense = 0 if self.dense_first else period - 1
        n_trunk = n_blocks - model.n_mtp
        kinds = [period == 0 or n % period != dense for n in range(n_trunk)]
        return kinds + [False] * model.n_mtp


@dataclass(frozen=True)
class RecurrentLayers(Rule):
    """Which blocks are recurrent: an array, or else all but every n-th.

    src/models/qwen3next.cpp:17-23 and its like. A block of the wrong kind does not load.
    """

    interval: int
    """Built in, where `full_attention_interval` is absent."""
    key: str = "attention.recurrent_layers"

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def trait(self, model: Model, block: int) -> object:
        """Whether the block is recurrent."""
        return self._kinds(model)[block]

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing where the interval still fits, else an array."""
        pair = model.pair(self.key)
        kinds = self._kinds(model)
        recurrent = {n for n, is_recurrent in enumerate(kinds) if is_recurrent}
        check_kind_remains(path, recurrent, "recurrent")
        check_kind_remains(path, set(range(model.n_trunk)) - recurrent, "attention")
        if pair is not None and isinstance(pair.value, list):
            follows = reindexed(pair, path)
            if follows.raw != pair.raw:
                yield Edit(follows)
        elif pair is None:
            wanted = [kinds[block] for block in path]
            if wanted != self._periodic(model, len(path)):
                note = "builds that do not read attention.recurrent_layers do not load the file"
                yield flags_edit(model, self.key, wanted, note)

    def label(self, model: Model, block: int) -> str:
        """`recurrent` or `attention`."""
        return "recurrent" if self._kinds(model)[block] else "attention"

    @once_per_model
    def _kinds(self, model: Model) -> list[bool]:
        if model.pair(self.key) is not None:
            return [bool(value) for value in per_block(model, self.key)]
        return self._periodic(model, model.n_blocks)

    def _periodic(self, model: Model, n_blocks: int) -> list[bool]:
        interval = model.number("full_attention_interval", self.interval)
        if interval < 1:
            raise RefusedError(f"{model.key('full_attention_interval')} is {interval}")
        n_trunk = n_blocks - model.n_mtp
        return [(n + 1) % interval != 0 for n in range(n_trunk)] + [False] * model.n_mtp


@dataclass(frozen=True)
class HybridKinds(Rule):
    """Recurrent blocks and attention blocks, told apart by `attention.head_count_kv`.

    llama.cpp aborts when a hybrid model has none left of either (its cache would be empty,
    src/llama-graph.cpp, llm_graph_input_mem_hybrid::set_input).
    """

    has_ffn_blocks: bool = False
    """Blocks without KV heads are recurrent only if they have no FFN either (nemotron_h)."""
    key: str = ""
    is_array = True

    def constant(self, model: Model) -> object:
        """Nothing."""
        return None

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        kinds = self._kinds(model)
        for kind in ("attention", "recurrent"):
            check_kind_remains(path, {n for n, found in enumerate(kinds) if found == kind}, kind)
        yield from ()

    def label(self, model: Model, block: int) -> str:
        """`attention`, `recurrent` or `FFN`."""
        return self._kinds(model)[block]

    @once_per_model
    def _kinds(self, model: Model) -> list[str]:
        sizes = zip(
            per_block(model, "attention.head_count_kv"),
            per_block(model, "feed_forward_length"),
            strict=True,
        )
        return [
            "attention" if n_kv else "FFN" if n_ff and self.has_ffn_blocks else "recurrent"
            for n_kv, n_ff in sizes
        ]


def per_block(model: Model, suffix: str) -> list[int]:
    """The values of a key that is an array of one a block, or one for all.

    Raises RefusedError when the array has fewer than one a block, or others than integers.
    """
    pair = model.pair(suffix)
    value = pair.value if pair is not None else 0
    if not isinstance(value, list):
        return [int(value) if isinstance(value, int) else 0] * model.n_blocks
    numbers = [int(item) for item in value if isinstance(item, int)]
    if min(len(numbers), model.n_blocks) < max(len(value), model.n_blocks):
        refuse_array(model.key(suffix), len(value), model.n_blocks, len(numbers) == len(value))
    return numbers


def check_kind_remains(path: Sequence[int], blocks: set[int], kind: str) -> None:
    """Refuse a path on which none of `blocks` runs, when there are any."""
    if blocks and not blocks & set(path):
        raise RefusedError(
            f"no {kind} block would be left, and llama.cpp aborts on such a hybrid model",
            hint=f"Keep at least one of the {kind} blocks: {sorted(blocks)}.",
        )
