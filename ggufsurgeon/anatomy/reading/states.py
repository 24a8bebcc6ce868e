"""The residual stream of one text: in front of the first block and behind each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Batch, Integers
from ggufsurgeon.engine.taps import Activation
from ggufsurgeon.errors import NotFiniteError
from ggufsurgeon.routing.stage import INPUT, Stage

Vectors = npt.NDArray[np.float64]


def read_states(stage: Stage, tokens: Integers) -> list[Activation]:
    """The input of block 0, then the output of each block: n_blocks + 1 arrays [n_tokens, ...].

    One pass of the unmodified model, which ends before the output head. Raises NotFiniteError where
    a state is not made of finite numbers, RefusedError where llama.cpp's graph does not show it.
    """
    blocks = range(INPUT, stage.model.n_blocks)
    stage.clear()
    _, found = stage.decode(Batch.of(tokens), {}, blocks, needs_results=False)
    for block in blocks:
        if not np.isfinite(found[block]).all():
            place = "that feeds block 0" if block == INPUT else f"behind block {block}"
            raise NotFiniteError(
                str(stage.model.path), f"the residual stream {place} is not finite numbers"
            )
    return [found[block] for block in blocks]


def as_vectors(states: list[Activation]) -> Vectors:
    """The states as float64 [n_blocks + 1, n_tokens, n_values]; several streams are one vector."""
    return np.stack([state.reshape(len(state), -1) for state in states]).astype(np.float64)


def without_first(vectors: Vectors) -> Vectors:
    """The vectors of all tokens but the first, if there are others.

    The first token's state is often hundreds of times as long as all others ("Massive Activations
    in Large Language Models", arXiv 2402.17762), and would be all that a mean shows.
    """
    return vectors[:, 1:] if vectors.shape[1] > 1 else vectors
