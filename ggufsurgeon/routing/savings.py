"""Nodes that routed passes need not compute, since what they make is overwritten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ggufsurgeon.aliasing.layout_check import check_layout
from ggufsurgeon.engine.context import Batch
from ggufsurgeon.engine.graph.graph_trace import GraphTrace, Node
from ggufsurgeon.engine.graph.taps import WHOLE, Overwrites, Rows
from ggufsurgeon.errors import AliasingUnavailableError

Shape = tuple[int, int, int]
"""Numbers of tokens, wanted tokens and sequences of a batch: they decide the nodes of its graph."""


class Savings:
    """What is known of the graphs of a context, by the shape of the batch.

    Nothing is left out before a whole graph of that shape has been computed, where rows of an
    input are not all overwritten, and with a llama.cpp whose nodes are not laid out as expected.
    """

    def __init__(self) -> None:
        self._traces: dict[Shape, GraphTrace] = {}
        self._left_out: dict[tuple[Shape, frozenset[str], frozenset[str]], Mapping[int, Node]] = {}

    def learn(self, batch: Batch, nodes: Sequence[int]) -> None:
        """Take in the addresses of the nodes of a graph, which llama.cpp still has in memory."""
        shape = _shape(batch)
        known = self._traces.get(shape)
        if (known is not None and known.addresses == nodes) or not _is_possible():
            return
        self._traces[shape] = GraphTrace(nodes)
        for key in [key for key in self._left_out if key[0] == shape]:
            del self._left_out[key]

    def left_out(
        self, batch: Batch, overwrites: Overwrites, read: Collection[str]
    ) -> Mapping[int, Node]:
        """The nodes that need not be computed, by their place in the graph."""
        shape = _shape(batch)
        trace = self._traces.get(shape)
        n_tokens = len(batch.tokens)
        if trace is None or not overwrites:
            return {}
        if not all(_covers(rows, n_tokens) for rows in overwrites.values()):
            return {}
        key = shape, frozenset(overwrites), frozenset(read)
        if key not in self._left_out:
            self._left_out[key] = trace.not_needed(
                {name.encode() for name in overwrites}, {name.encode() for name in read}
            )
        return self._left_out[key]


def _shape(batch: Batch) -> Shape:
    return len(batch.tokens), int(batch.wanted.sum()), batch.n_sequences


def _covers(rows: Sequence[Rows], n_tokens: int) -> bool:
    """Whether all rows of a node get new values; the parts do not overlap."""
    n_given = sum(
        int(part.tokens.stop - part.tokens.start) for part in rows if part.tokens != WHOLE
    )
    return n_given == n_tokens or any(part.tokens == WHOLE for part in rows)


def _is_possible() -> bool:
    try:
        check_layout()
    except AliasingUnavailableError:
        return False
    return True
