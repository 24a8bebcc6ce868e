"""The residual stream of one text: before the first block and after each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Batch, Integers
from ggufsurgeon.engine.graph.taps import Activation
from ggufsurgeon.errors import NotFiniteError
from ggufsurgeon.routing.passes import INPUT
from ggufsurgeon.routing.stage import Stage

Vectors = npt.NDArray[np.float64]


def read_states(stage: Stage, tokens: Integers) -> list[Activation]:
    """The input of block 0, then the output of each block: n_blocks + 1 arrays [n_tokens, ...].

    One pass of the unmodified model, which ends before the output head. Raises NotFiniteError if
    a state is not finite, RefusedError if llama.cpp's graph has no node that holds it.
    """
    blocks = range(INPUT, stage.model.n_blocks)
    stage.clear()
    _, found = stage.decode(Batch.of(tokens), {}, blocks, needs_results=False)
    for block in blocks:
        if not np.isfinite(found[block]).all():
            place = "before block 0" if block == INPUT else f"after block {block}"
            raise NotFiniteError(
                str(stage.model.path), f"the residual stream {place} has values that are not finite"
            )
    return [found[block] for block in blocks]


def as_vectors(states: list[Activation]) -> Vectors:
    """The states as float64 [n_blocks + 1, n_tokens, n_values]; several streams are one vector."""
    return np.stack([state.reshape(len(state), -1) for state in states]).astype(np.float64)


def without_first(vectors: Vectors) -> Vectors:
    """The vectors of all tokens except the first, if there are others.

    The first token's state often has values hundreds of times as large as the others ("Massive
    Activations in Large Language Models", arXiv 2402.17762), and would dominate a mean.
    """
    return vectors[:, 1:] if vectors.shape[1] > 1 else vectors
