"""A loaded model with a context whose residual stream can be read and overwritten."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ggufsurgeon.architectures.residual import ResidualNodes, residual_nodes
from ggufsurgeon.engine.context import Batch, Context, Results, opened_context
from ggufsurgeon.engine.graph.block_inputs import BlockInputs
from ggufsurgeon.engine.graph.taps import WHOLE, Activation, Rows, Taps
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.routing.passes import INPUT
from ggufsurgeon.routing.savings import Savings

N_BATCH = 512
"""Tokens decoded at once, of all paths that share a batch."""


class Stage:
    """Made by `opened_stage`. Blocks are counted as the main graph runs them."""

    def __init__(self, model: Model, nodes: ResidualNodes, context: Context, taps: Taps) -> None:
        self.model = model
        self._nodes = nodes
        self._context = context
        self._taps = taps
        self._block_inputs: dict[tuple[int, int], BlockInputs] = {}
        """By the shape of a batch, since some names of nodes count the nodes before them."""
        self._savings = Savings()

    def clear(self) -> None:
        """Forget all sequences."""
        self._context.clear()

    def decode(
        self,
        batch: Batch,
        entries: Mapping[int, Sequence[Rows]],
        outputs: Collection[int],
        needs_results: bool,
    ) -> tuple[Results, dict[int, Activation]]:
        """Run a batch with what feeds the blocks of `entries` overwritten.

        Returns the results, and the states behind the blocks of `outputs`, shape [n_tokens, ...].
        When no results are needed, nothing behind the last output is computed. Nor is what only the
        overwritten inputs are made of, once a graph of the same shape has been seen: between two
        calls of `clear` the entries must be of the same blocks.
        """
        if self.model.n_blocks - 1 in outputs:  # it computes wanted tokens alone
            batch = batch._replace(wanted=np.ones_like(batch.wanted))
        elif not needs_results:  # some graphs abort where nothing is wanted
            batch = batch._replace(wanted=np.arange(len(batch.tokens)) == 0)
        if entries:  # the input is overwritten, so other vocabularies do no harm
            batch = batch._replace(tokens=np.minimum(batch.tokens, self.model.n_vocab - 1))
        overwrites = {self.node_name(at - 1, batch): rows for at, rows in entries.items()}
        overwrites |= self._kept(batch) if 0 in entries else {}
        names = {block: self.node_name(block, batch) for block in outputs}
        last = "" if needs_results or not names else names[max(names)]
        read = frozenset(names.values())
        left_out = self._savings.left_out(batch, overwrites, read)
        self._taps.prepare(batch.wanted, read, overwrites, last, left_out)
        try:
            results = self._context.decode(batch)
        finally:
            self._taps.restore()
        if not last:
            self._savings.learn(batch, self._taps.nodes)
        found = self._taps.take()
        results = results if needs_results else results[:0]
        return results, {block: self._whole(found[name], batch) for block, name in names.items()}

    def sample(self, sampler: Any) -> int:
        """The next token, by the last logits of the last decode."""
        return self._context.sample(sampler)

    def _whole(self, state: Activation, batch: Batch) -> Activation:
        if len(state) != len(batch.tokens):
            raise RefusedError(
                f"{self.model.path}: {self.model.architecture} drops tokens before its last block, "
                "so what leaves the others is not known"
            )
        return state

    def node_name(self, block: int, batch: Batch) -> str:
        """The node that holds the output of a block, or feeds block 0."""
        if block != INPUT and self._nodes.output:
            return f"{self._nodes.output}-{block}"
        if block == INPUT and self._nodes.first_input:
            return self._nodes.first_input
        shape = len(batch.tokens), batch.n_sequences
        if shape not in self._block_inputs:
            self._block_inputs[shape] = BlockInputs()
            self._observe(batch, self._block_inputs[shape])
        return self._block_inputs[shape].before(block + 1)

    def _kept(self, batch: Batch) -> dict[str, list[Rows]]:
        """The nodes computed from the input of block 0 where nothing is overwritten."""
        if not self._nodes.kept:
            return {}
        found = self._observe(batch, BlockInputs(), self._nodes.kept)
        return {name: [Rows(WHOLE, state)] for name, state in found.items()}

    def _observe(
        self, batch: Batch, block_inputs: BlockInputs, *nodes: str
    ) -> dict[str, Activation]:
        """Run a batch in a context of its own; the nodes read, of those that there are."""
        n = len(batch.tokens)
        taps = Taps(self._nodes.token_dim, block_inputs)
        taps.prepare(batch.wanted, nodes)
        batch = batch._replace(positions=batch.positions - batch.positions.min())
        n_seq, sharing = batch.n_sequences, batch.n_sharing is not None
        with opened_context(self.model, n * n_seq, n, n_seq, taps, sharing=sharing) as context:
            context.decode(batch)
        return taps.found


@contextmanager
def opened_stage(
    model: Model,
    n_ctx: int,
    n_batch: int,
    n_seq_max: int = 1,
    *,
    keeps_all_windows: bool = True,
    sharing: bool = False,
) -> Iterator[Stage]:
    """A context of `n_ctx` tokens over all its sequences, decoding up to `n_batch` at once."""
    nodes = residual_nodes(model.architecture)
    taps = Taps(nodes.token_dim)
    with opened_context(
        model,
        n_ctx,
        n_batch,
        n_seq_max,
        taps,
        sharing=sharing,
        keeps_all_windows=keeps_all_windows,
    ) as context:
        yield Stage(model, nodes, context, taps)
