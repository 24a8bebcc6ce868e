"""A loaded model with a context whose residual stream can be read and overwritten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ggufsurgeon.architectures.residual import ResidualNodes, residual_nodes
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.llama.activations import Activation, Overwrites, Rows, Taps
from ggufsurgeon.llama.context import Context, Flags, Integers, Logits, opened_context
from ggufsurgeon.llama.model import Model

INPUT = -1
"""Stands for what feeds block 0, where block k stands for its own output."""


class Stage:
    """Made by `opened_stage`. Blocks are counted as the main graph runs them."""

    def __init__(self, model: Model, nodes: ResidualNodes, context: Context, taps: Taps) -> None:
        self.model = model
        self._nodes = nodes
        self._context = context
        self._taps = taps

    def clear(self) -> None:
        """Forget all sequences."""
        self._context.clear()

    def decode(
        self,
        tokens: Integers,
        positions: Integers,
        sequences: Integers,
        wanted: Flags,
        entries: Mapping[int, Iterable[Rows]],
        outputs: Collection[int],
        needs_logits: bool,
    ) -> tuple[Logits, dict[int, Activation]]:
        """Run a batch with what feeds the blocks of `entries` overwritten.

        Returns the logits, and the states behind the blocks of `outputs`, shape [n_tokens, ...].
        When no logits are needed, nothing behind the last output is computed.
        """
        overwrites: Overwrites = {self._name(at - 1): list(rows) for at, rows in entries.items()}
        names = {block: self._name(block) for block in outputs}
        last = "" if needs_logits or not names else names[max(names)]
        wanted = np.ones_like(wanted) if self.model.n_blocks - 1 in names else wanted
        self._taps.prepare(wanted, frozenset(names.values()), overwrites, last)
        logits = self._context.decode(tokens, positions, sequences, wanted)
        found = self._taps.take()
        states = {block: found[name] for block, name in names.items()}
        for block, state in states.items():
            if len(state) != len(tokens):
                raise RefusedError(f"{names[block]} holds {len(state)} of {len(tokens)} tokens")
        return logits, states

    def sample(self, sampler: Any) -> int:
        """The next token, by the last logits of the last decode."""
        return self._context.sample(sampler)

    def _name(self, block: int) -> str:
        if block != INPUT:
            return f"{self._nodes.output}-{block}"
        if self._nodes.first_input_feeds_more:
            raise RefusedError(
                f"{self.model.path}: later blocks of {self.model.architecture} read what feeds "
                "block 0 too, so no other block can run in front of it without a file"
            )
        return self._nodes.first_input or self._taps.first_input or self._find_first_input()

    def _find_first_input(self) -> str:
        one = np.zeros(1, dtype=np.int32)
        self._taps.prepare(np.ones(1, dtype=np.bool_))
        self._context.decode(one, one, one, np.ones(1, dtype=np.bool_))
        self._taps.take()
        self._context.clear()
        if not self._taps.first_input:
            raise RefusedError(f"{self.model.path}: what feeds block 0 was not found in its graph")
        return self._taps.first_input


@contextmanager
def opened_stage(model: Model, n_ctx: int, n_batch: int, n_seq_max: int = 1) -> Iterator[Stage]:
    """A context of `n_ctx` tokens over all its sequences, decoding up to `n_batch` at once."""
    nodes = residual_nodes(model.architecture)
    taps = Taps(nodes.token_dim)
    with opened_context(model, n_ctx, n_batch, n_seq_max, taps) as context:
        yield Stage(model, nodes, context, taps)
