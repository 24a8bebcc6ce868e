"""Logits to findings, as they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.threads import default_threads
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows, dequantised
from ggufsurgeon.llama_perplexity.softmax import (
    Logits,
    Sums,
    exp,
    parts,
    sums_of,
)
from ggufsurgeon.scoring.chunks import Chunks, Scored
from ggufsurgeon.statistics.scores import Compared, Findings, Values, joined

ROWS_A_TASK, LOGITS_A_TASK = 16, 1 << 16
"""What a thread takes at a time: the larger of the two."""
THREADS_FROM = 1 << 20
"""Logits of a decode. Fewer are scored sooner by this thread alone: llama.cpp's threads keep the
other cores for about a millisecond after they are done."""
Place: TypeAlias = tuple[int, int]
"""A chunk, and a place among its scored positions."""


BasePart: TypeAlias = Callable[[slice], BaseRows]
"""Gives the base's rows for some of the scored tokens, in any thread."""


class Piece(NamedTuple):
    """Some scored tokens of a chunk, and what the base says of them, if there is one."""

    scored: Scored
    base: BasePart | None = None


class Names(NamedTuple):
    """Whose logits these are, for messages."""

    model: str
    base: str = ""


def tally(
    decodes: Iterator[list[Piece]], chunks: Chunks, n_done: int, names: Names, n_threads: int | None
) -> Iterator[Findings]:
    """The findings of chunks.n_seq chunks at a time, from chunk `n_done` on.

    `decodes` are of the same chunks. Raises MalformedFileError for logits that are no numbers.
    """
    n_chunks = len(chunks.tokens)
    with ThreadPoolExecutor(n_threads or default_threads()) as pool:
        for first in range(n_done, n_chunks, chunks.n_seq):
            n_group = min(chunks.n_seq, n_chunks - first)
            found: dict[Place, Findings] = {}
            n_left = n_group * chunks.n_scored
            while n_left:
                pieces = next(decodes)
                found |= _score(pieces, names, pool, single=chunks.wants_all)
                n_left -= sum(len(piece.scored.targets) for piece in pieces)
            group = joined([found[at] for at in sorted(found)])
            yield group.reshaped(n_group, chunks.n_scored)


def _score(
    pieces: Sequence[Piece], names: Names, pool: Executor, *, single: bool
) -> dict[Place, Findings]:
    """All [n], of runs of rows, by where they begin."""
    tasks = [(piece, rows) for piece in pieces for rows in _runs(piece)]
    is_much = sum(piece.scored.logits.size for piece in pieces) >= THREADS_FROM
    scored = (pool.map if is_much else map)(partial(_score_rows, single=single), tasks)
    found = {}
    for (piece, rows), findings in zip(tasks, scored, strict=True):
        for losses, name in ((findings.losses, names.model), (findings.base_losses, names.base)):
            if losses is not None and not _are_numbers(losses, may_be_infinite=single):
                problem = "its logits are not finite numbers: weights or metadata are broken"
                raise MalformedFileError(name, problem)
        found[piece.scored.chunk, piece.scored.first + rows.start] = findings
    return found


def _are_numbers(losses: Values, *, may_be_infinite: bool) -> bool:
    """Of float32 probabilities some are 0, and their losses infinite."""
    return not np.isnan(losses).any() if may_be_infinite else bool(np.isfinite(losses).all())


def _runs(piece: Piece) -> list[range]:
    n, n_vocab = piece.scored.logits.shape
    step = max(ROWS_A_TASK, LOGITS_A_TASK // n_vocab)
    return [range(first, min(first + step, n)) for first in range(0, n, step)]


def _score_rows(task: tuple[Piece, range], *, single: bool) -> Findings:
    """In this thread."""
    (scored, base), rows = task
    logits, targets = scored.logits, scored.targets
    blocks = parts(rows.start, rows.stop, logits.shape[1])
    return joined([score(logits[b], targets[b], base and base(b), single=single) for b in blocks])


def score(
    logits: Logits, targets: Integers, base: BaseRows | None, *, single: bool = False
) -> Findings:
    """Logits [n, n_vocab] of the tokens before `targets`, with the base's rows for the same.

    With `single`, by way of float32 probabilities.
    """
    sums = sums_of(logits)
    losses = (sums.single_losses if single else sums.losses)(logits, targets)
    if base is None:
        return Findings(losses)
    if base.is_quantised:
        clamped = dequantised(base.rows, base.n_vocab)
        return Findings(losses, None, compare(logits, sums, clamped, targets, base.floor))
    base_sums = sums_of(base.rows)
    log_probs = base_sums.log_probs(base.rows)
    compared = compare(logits, sums, log_probs, targets, base.floor)
    return Findings(losses, base_sums.losses(base.rows, targets), compared)


def compare(logits: Logits, sums: Sums, base: Values, targets: Integers, floor: float) -> Compared:
    """Logits with the log-probabilities of the base, [n, n_vocab]; all results [n].

    In the type of the base's, in the order of the tool's operations
    (tools/perplexity/perplexity.cpp:175-250 in llama.cpp of 2026-10-01).
    """
    highest, log_sum = (values.astype(base.dtype) for values in (sums.highest, sums.log_sum))
    total = (highest + log_sum)[:, np.newaxis]
    at = targets[:, np.newaxis]
    losses = total - np.take_along_axis(logits, at, axis=1)
    base_losses = -np.take_along_axis(base, at, axis=1)
    with np.errstate(invalid="ignore"):  # 0 times the infinity of logits that are infinite
        # Not np.where, which guesses a branch for each logit.
        terms = exp(base) * (base > floor) * (base - logits + total)
    terms[np.isnan(terms)] = 0
    return Compared(
        losses[:, 0],
        base_losses[:, 0],
        terms.sum(axis=1, dtype=np.float64),
        logits.argmax(axis=1) == base.argmax(axis=1),
    )
