"""The table of architectures and the list of rules, in Markdown, from `architectures/table.py`."""

from __future__ import annotations

import re
from functools import singledispatch

from ggufsurgeon.architectures.model import Rule
from ggufsurgeon.architectures.table import ARCHITECTURES, GENERAL_RULES, Architecture
from ggufsurgeon.architectures.vocabulary.arrays import ImageStreams, OneBlockList, PerLayerArray
from ggufsurgeon.architectures.vocabulary.compensation import QueryScale
from ggufsurgeon.architectures.vocabulary.counts import (
    BlockCount,
    CountSelectsMaths,
    LiteModel,
    PrefixCount,
    ResidualScale,
    SharedKvSuffix,
)
from ggufsurgeon.architectures.vocabulary.crossing import (
    PrefixStays,
    ResidualCheckpoints,
    SharedIndexers,
)
from ggufsurgeon.architectures.vocabulary.kinds import HybridKinds, RecurrentLayers, SlidingWindow
from ggufsurgeon.architectures.vocabulary.periods import FixedPeriod, MoeEvery
from ggufsurgeon.architectures.vocabulary.refusals import NotYet, Refused
from ggufsurgeon.architectures.vocabulary.sizes import HeadCounts
from ggufsurgeon.architectures.vocabulary.slices import PerLayerSlices
from ggufsurgeon.architectures.vocabulary.tensors import BorrowedFromBlockZero, OnlyBlockZeroMayLack

NO_RULE = "only the general arrays"


def architecture_table() -> str:
    """A row for each architecture: its name, whether it can be patched, and its own rules."""
    rows = [f"| `{row.name}` | {_status(row)} | {_own_rules(row)} |" for row in _by_name()]
    return "\n".join(
        ["| architecture | status | depends on the block index |", "|---|---|---|", *rows]
    )


def refused_table() -> str:
    """A row for each architecture that is refused whatever the path, with the reason."""
    rows = [
        f"| `{row.name}` | {_refusal(row)} |" for row in _by_name() if _refusal(row) is not None
    ]
    return "\n".join(["| architecture | reason |", "|---|---|", *rows])


def counts_line() -> str:
    """How many architectures there are, are patched, and are refused."""
    n_refused = sum(_refusal(row) is not None for row in ARCHITECTURES.values())
    n_encoders = sum(row.is_encoder for row in ARCHITECTURES.values())
    n_patched = len(ARCHITECTURES) - n_refused
    return (
        f"{len(ARCHITECTURES)} architectures are known: {n_patched} can be patched, "
        f"{n_encoders} encoders among them, and {n_refused} are refused."
    )


def rule_list() -> str:
    """The rules of every architecture, as a list."""
    return "\n".join(f"- {describe(rule)}" for rule in GENERAL_RULES)


def _by_name() -> list[Architecture]:
    return sorted(ARCHITECTURES.values(), key=lambda row: row.name)


def _status(row: Architecture) -> str:
    if _refusal(row) is not None:
        return "refused"
    return "patched (encoder)" if row.is_encoder else "patched"


def _refusal(row: Architecture) -> str | None:
    """The reason for which every path is refused; None when there is none."""
    reason = next((rule.reason for rule in row.own_rules if isinstance(rule, Refused)), None)
    return None if reason is None else _with_source(reason, row.graph)


def _with_source(reason: str, graph: str) -> str:
    """The reason, with the name of the file that line numbers at its end refer to."""
    return re.sub(r"\(([\d, -]+)\)$", rf"(`{graph}`, line \1)", reason)


def _own_rules(row: Architecture) -> str:
    texts = dict.fromkeys(describe(rule) for rule in row.own_rules if not isinstance(rule, Refused))
    return "; ".join(texts) or _refusal(row) or NO_RULE


@singledispatch
def describe(rule: Rule) -> str:
    """A rule in words. A kind of rule without words here stops the build of the documentation."""
    raise TypeError(f"docs/hooks/architectures.py does not describe {type(rule).__name__}")


@describe.register
def _(rule: BlockCount) -> str:
    return f"`{rule.key}`: the number of blocks"


@describe.register
def _(rule: PerLayerArray) -> str:
    return f"`{rule.key}`: an element for each block"


@describe.register
def _(rule: ImageStreams) -> str:
    return f"`{rule.key}`: which stream of image features each block gets"


@describe.register
def _(rule: OneBlockList) -> str:
    return f"`{rule.key}` names one block, which must run exactly once"


@describe.register
def _(rule: SlidingWindow) -> str:
    if rule.only_at:
        return f"sliding windows with {rule.only_at} blocks"
    if rule.period is None:
        return f"sliding windows by `{rule.key}`"
    return f"sliding windows by `{rule.key}` or a period of {rule.period}"


@describe.register
def _(rule: RecurrentLayers) -> str:
    return f"recurrent blocks by `{rule.key}` or all but every {rule.interval}th"


@describe.register
def _(rule: HybridKinds) -> str:
    return "recurrent and attention blocks, told apart by `attention.head_count_kv`"


@describe.register
def _(rule: FixedPeriod) -> str:
    period = f"`{rule.period_key}`" if rule.period_key else f"period {rule.period}"
    return f"{rule.kind} by the block index alone ({period}): the path must keep it"


@describe.register
def _(rule: MoeEvery) -> str:
    return f"MoE blocks by `{rule.key}`: the path must keep the period"


@describe.register
def _(rule: PrefixCount) -> str:
    return f"`{rule.key}`: the first blocks are {rule.kind}, and stay first"


@describe.register
def _(rule: SharedKvSuffix) -> str:
    return f"`{rule.key}`: the last blocks use the KV of earlier ones"


@describe.register
def _(rule: CountSelectsMaths) -> str:
    if rule.every:
        return f"the number of blocks selects {rule.effect}: it must stay"
    counts = " or ".join(map(str, rule.counts)) + (" or more" if rule.or_more else "")
    return f"{counts} blocks select {rule.effect}: no path to or from them"


@describe.register
def _(rule: QueryScale) -> str:
    counts = " or ".join(map(str, rule.counts))
    return f"{counts} blocks select {rule.effect}; `--scale-weights` makes up for it"


@describe.register
def _(rule: ResidualScale) -> str:
    return f"`{rule.key}` is derived from the number of blocks where absent: written out"


@describe.register
def _(rule: LiteModel) -> str:
    return "the number of blocks tells a lite model, which has no `q_lora_rank`"


@describe.register
def _(rule: PrefixStays) -> str:
    if rule.n:
        first = "block 0 comes" if rule.n == 1 else f"the first {rule.n} blocks come"
    else:
        first = f"the first `{rule.n_key}` blocks come"
    return f"{first} first and once: {rule.why}"


@describe.register
def _(rule: ResidualCheckpoints) -> str:
    return f"residual checkpoints by `{rule.key}`: blocks up to the last one stay"


@describe.register
def _(rule: SharedIndexers) -> str:
    return f"`{rule.key}`: a block must keep the top-k of the same indexer"


@describe.register
def _(rule: HeadCounts) -> str:
    return "head counts of each block; sizes that are derived from block 0's are written out"


@describe.register
def _(rule: PerLayerSlices) -> str:
    names = ", ".join(f"`{name}`" for name in rule.dims)
    return f"a slice for each block in {names}"


@describe.register
def _(rule: OnlyBlockZeroMayLack) -> str:
    return f"only block 0 may lack `{rule.tensor}`"


@describe.register
def _(rule: BorrowedFromBlockZero) -> str:
    return f"blocks without `{rule.tensor}` take block 0's"


@describe.register
def _(rule: NotYet) -> str:
    return f"refused where `{rule.key}` is on: {rule.feature}"
