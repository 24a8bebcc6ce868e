"""Logits to findings, as they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama.context import Integers
from ggufsurgeon.llama.threads import default_threads
from ggufsurgeon.measuring.base_rows import BaseRows, Logits, exp, highest_and_log_sum, parts
from ggufsurgeon.measuring.findings import Compared, Findings, Losses, joined
from ggufsurgeon.measuring.scoring import Chunks, Scored
from ggufsurgeon.measuring.softmax import negative_log_likelihoods, through_probabilities


class Piece(NamedTuple):
    """Some scored tokens of a chunk, and what the base says of them, if there is one."""

    scored: Scored
    base: BaseRows | None = None


class Names(NamedTuple):
    """Whose logits these are, for messages."""

    model: str
    base: str = ""


def tally(
    pieces: Iterator[Piece], chunks: Chunks, n_done: int, names: Names, n_threads: int | None
) -> Iterator[Findings]:
    """The findings of chunks.n_seq chunks at a time, from chunk `n_done` on.

    `pieces` are those of the same chunks. Raises MalformedFileError for logits that are no numbers.
    """
    n_chunks = len(chunks.tokens)
    with ThreadPoolExecutor(n_threads or default_threads()) as pool:
        for first in range(n_done, n_chunks, chunks.n_seq):
            n_group = min(chunks.n_seq, n_chunks - first)
            found: dict[tuple[int, int], Findings] = {}  # by chunk and place in it
            n_left = n_group * chunks.n_scored
            while n_left:
                piece = next(pieces)
                scored = piece.scored
                found[scored.chunk, scored.first] = _score(piece, names, pool)
                n_left -= len(scored.targets)
            group = joined([found[at] for at in sorted(found)])
            if chunks.wants_all:
                group = group._replace(losses=through_probabilities(group.losses))
            yield group.reshaped(n_group, chunks.n_scored)


def _score(piece: Piece, names: Names, pool: Executor) -> Findings:
    """All [n]."""
    (_, _, targets, logits), base = piece
    losses = _losses(logits, targets, names.model, pool)
    if base is None:
        return Findings(losses)
    compared = compare(logits, base, targets, pool)
    if base.is_quantised:
        return Findings(losses, None, compared)
    return Findings(losses, _losses(base.rows, targets, names.base, pool), compared)


def _losses(logits: Logits, targets: Integers, name: str, pool: Executor) -> Losses:
    losses = negative_log_likelihoods(logits, targets, pool)
    if not np.isfinite(losses).all():
        problem = "its logits are not finite numbers: weights or metadata are broken"
        raise MalformedFileError(name, problem)
    return losses


def compare(logits: Logits, base: BaseRows, targets: Integers, pool: Executor) -> Compared:
    """Logits [n, n_vocab] with the base's, and the tokens that follow; all results [n].

    In the type of the base's rows, in the order of the tool's operations
    (tools/perplexity/perplexity.cpp:175-250 in llama.cpp of 2026-10-01).
    """

    def compare_part(part: slice) -> Compared:
        return _compare(logits[part], base.log_probs(part), targets[part], base.floor)

    found = pool.map(compare_part, parts(*logits.shape))
    return Compared(*map(np.concatenate, zip(*found, strict=True)))


def _compare(logits: Logits, base: npt.NDArray[Any], targets: Integers, floor: float) -> Compared:
    highest, log_sum = highest_and_log_sum(logits)
    total = (highest.astype(base.dtype) + log_sum.astype(base.dtype))[:, np.newaxis]
    at = targets[:, np.newaxis]
    losses = total - np.take_along_axis(logits, at, axis=1)
    base_losses = -np.take_along_axis(base, at, axis=1)
    with np.errstate(invalid="ignore"):  # logits of minus infinity in both
        terms = np.where(base > floor, exp(base) * (base - logits + total), base.dtype.type(0))
    return Compared(
        losses[:, 0],
        base_losses[:, 0],
        terms.sum(axis=1, dtype=np.float64),
        logits.argmax(axis=1) == base.argmax(axis=1),
    )
