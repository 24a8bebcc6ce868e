"""The logit lens: what the model's own output head computes from the state after each block.

The state takes the place of the last block's output, so that llama.cpp's output norm, head and all
that follows it (soft caps, scales) give the logits: those of a model that ends after that block, to
the bit. What they mean is approximate: blocks in the middle of a model were not trained to be read
by the head ("interpreting GPT: the logit lens", nostalgebraist, 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Batch, Flags, Integers, Results
from ggufsurgeon.engine.graph.taps import Activation, Rows
from ggufsurgeon.errors import NotFiniteError
from ggufsurgeon.llama_perplexity.softmax import sums_of
from ggufsurgeon.routing.stage import Stage


class LensFigures(NamedTuple):
    """Ranks and probabilities, after each block, of the token that the whole model ranks first."""

    ranks: npt.NDArray[np.int64]
    """Its rank among all tokens, from 1, [n_positions, n_blocks]."""
    log_probs: npt.NDArray[np.float64]
    """Its log-probability in nats, [n_positions, n_blocks]."""


def lens_logits(stage: Stage, tokens: Integers, state: Activation, wanted: Flags) -> Results:
    """The logits of the wanted tokens, [n_wanted, n_vocab], if the last block's output is `state`.

    `state`, [n_tokens, ...], covers all tokens. The result is a view that the next decode
    overwrites.
    """
    stage.clear()
    rows = [Rows(slice(0, len(tokens)), state)]
    logits, _ = stage.decode(Batch.of(tokens, wanted), {stage.model.n_blocks: rows}, (), True)
    return logits


def read_lens(
    stage: Stage, tokens: Integers, states: list[Activation], wanted: Flags
) -> LensFigures:
    """The lens at the wanted tokens; `states` are those of `read_states`.

    Raises NotFiniteError if logits of the whole model are not finite numbers.
    """
    final = np.array(lens_logits(stage, tokens, states[-1], wanted))
    if not np.isfinite(final).all():
        raise NotFiniteError(str(stage.model.path), "its logits are not finite numbers")
    answers = final.argmax(axis=-1).astype(np.int32)
    figures = [
        _of_block(lens_logits(stage, tokens, state, wanted), answers) for state in states[1:-1]
    ]
    figures.append(_of_block(final, answers))
    ranks, log_probs = zip(*figures, strict=True)
    return LensFigures(np.stack(ranks, axis=-1), np.stack(log_probs, axis=-1))


def _of_block(
    logits: Results, answers: Integers
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    rows = logits.astype(np.float64)
    own = np.take_along_axis(rows, answers[:, None], axis=-1)
    ranks = 1 + (rows > own).sum(axis=-1)
    with np.errstate(invalid="ignore"):  # logits after an inner block may be infinite or NaN
        return ranks, -sums_of(rows).losses(rows, answers)
